"""An accelerator's memories that say how long an instruction has to wait, in place of asking whether it does."""

from collections.abc import Callable
from typing import NoReturn

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.machine import Array, Machine, Tracked

__all__ = ["FED", "LOADED", "ProbedMachine"]

LOADED, FED = 1 << 40, 1 << 41  # in place of the youngest instruction that is known to have retired


class _Probed(Tracked):
    """A memory that notes who wrote, or read, what an instruction needs; nobody may read what nobody wrote.

    Parameters
    ----------
    of : Tracked
    needs : dict of int to int
        By `LOADED` and `FED`: the youngest instruction that must have retired.
    """

    def __init__(self, of: Tracked, needs: dict[int, int]) -> None:
        super().__init__(of.name, of.words)
        self.needs = needs

    def read(self, addresses: Array, index: int, retired: int, fail: Callable[[str], NoReturn]) -> Array:
        self.check_range(addresses, fail)
        if addresses.size:
            if int(self.writer[addresses].min()) < 0:
                fail(f"reads {self.name} words that nobody wrote")
            self.needs[retired] = max(self.needs[retired], int(self.writer[addresses].max()))
        self.reader[addresses] = index
        return self.words[addresses]

    def write_early(
        self,
        addresses: Array,
        values: Array,
        index: int,
        retired: int,
        fail: Callable[[str], NoReturn],
        *,
        after_reads: bool,
    ) -> None:
        self.check_range(addresses, fail)
        last = int(self.writer[addresses].max())
        if not after_reads:
            last = max(last, int(self.reader[addresses].max()))
        self.needs[retired] = max(self.needs[retired], last)
        self.write(addresses, values, index, fail)


class ProbedMachine(Machine):
    """A `Machine` without 16-bit operands or joint memories, to be asked for the waits of one instruction after the
    other.

    Parameters
    ----------
    config : AcceleratorConfig
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.needs = {LOADED: -1, FED: -1}
        for name in ("activation", "kv", "residual", "state", "sums", "queues"):
            setattr(self, name, _Probed(getattr(self, name), self.needs))

    def forget(self) -> None:
        """Before the next instruction."""
        self.needs |= {LOADED: -1, FED: -1}
