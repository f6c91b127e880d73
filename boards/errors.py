"""What can go wrong between a host and an accelerator, each with a name."""

from collections.abc import Mapping

from moesaic.errors import FailedRun
from moesaic.hw.spec.registers import ErrorCode, ErrorUnit

__all__ = [
    "AcceleratorBusy",
    "AcceleratorError",
    "BusError",
    "DeviceError",
    "RunIncomplete",
    "RunLost",
    "RunTimeout",
    "WrongAccelerator",
]


class BusError(FailedRun):
    """A register access was answered with an error; `response` is AXI's (2 SLVERR, 3 DECERR)."""

    def __init__(self, what: str, response: int) -> None:
        self.response = response
        super().__init__(f"{what} was answered with {({2: 'SLVERR', 3: 'DECERR'}).get(response, response)}")


class DeviceError(BusError):
    """A card's device refused an access, moved too few bytes, or no longer answers."""

    def __init__(self, message: str) -> None:
        self.response = 3
        FailedRun.__init__(self, message)


class WrongAccelerator(FailedRun):
    """What answers is not an accelerator, or not the one that the program was compiled for."""


class AcceleratorBusy(FailedRun):
    """A start cannot be taken; nothing was changed."""


class AcceleratorError(FailedRun):
    """A run ended with an error; names code, unit, instruction and address, and of a program with several items those
    that it was about, `items` in words.
    """

    def __init__(
        self, code: ErrorCode, unit: ErrorUnit, index: int, address: int, *, draining: bool, items: str = ""
    ) -> None:
        self.code, self.unit, self.index, self.address, self.draining = code, unit, index, address, draining
        self.items = items
        where = f"{unit.name.lower()} unit, instruction {index}" + (f", address {address:#x}" if address else "")
        where += f", of {items}" if items else ""
        owed = "; the bus still owes responses" if draining else ""
        super().__init__(f"{code.name}: {code.doc} ({where}{owed})")


class RunIncomplete(FailedRun):
    """A run ended without an error, but did not do all that its program does; what lies in the result region is not
    its result.

    Parameters
    ----------
    counts : mapping of str to (int, int)
        Counters that are not the program's: what they must be, what they are.
    """

    def __init__(self, counts: Mapping[str, tuple[int, int]]) -> None:
        self.counts = dict(counts)
        text = ", ".join(f"{name} must be {wanted:,}, not {got:,}" for name, (wanted, got) in self.counts.items())
        super().__init__(
            f"INCOMPLETE: {text}; the run ended, but it was not the program's, and its result was not read: "
            "load the program again (`retries` does)"
        )


class RunLost(FailedRun):
    """A run that was started is no longer there: the accelerator was reset meanwhile.

    Parameters
    ----------
    name : str
        `SOFT_RESET` if the configuration registers kept their values, `HARDWARE_RESET` if they lost them.
    status : str
        The status registers as text.
    """

    def __init__(self, name: str, status: str) -> None:
        self.name, self.status = name, status
        by = "CTRL.soft_reset" if name == "SOFT_RESET" else "its reset input, or the bitstream was loaded again"
        super().__init__(f"{name}: the accelerator was reset during the run, by {by} ({status})")


class RunTimeout(FailedRun, TimeoutError):
    """A run did not end in time; it was ended by a soft reset.

    Parameters
    ----------
    seconds : float
        The limit.
    status : str
        The status registers as text, before the reset.
    idle : bool
        Whether the reset made the accelerator idle.
    """

    def __init__(self, seconds: float, status: str, *, idle: bool) -> None:
        self.seconds, self.status, self.idle = seconds, status, idle
        after = "a soft reset made it idle" if idle else "and it is not idle after a soft reset: the bus owes responses"
        super().__init__(f"TIMEOUT: no end of the run within {seconds:g} s ({status}); {after}")
