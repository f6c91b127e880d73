"""Trials of an accelerator: what a host does, step by step, and what it looks at, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.compiler.image import ProgramImage
from moesaic.flow.verify.runs import PLAIN
from moesaic.hw.spec.registers import Access, ErrorCode, register_map
from moesaic.sim.rtl import RtlRun

__all__ = ["Script", "Step", "Trial", "runs_trial"]

Step = tuple[Any, ...]
MARK = bytes.fromhex("5a")
BRIEF = ("IRQ_STATUS", "ERROR_CODE", "ERROR_ADDR_LO", "ERROR_ADDR_HI", "ERROR_INSTRUCTION", "CYCLES_LO")
SETTLED = 400  # cycles that a run ended by a soft reset is given


@dataclass(frozen=True)
class Trial:
    """Steps whose answers must be those of the right hardware.

    Parameters
    ----------
    name : str
    steps : tuple of Step
        `("memory", {variable: value})` sets the DDR model, `("poke", address, hex)` writes into it.
        `("write", offset, value[, strobes[, order[, cycles]]])` and `("read", offset[, cycles])` access a register;
        order: which of address and data comes first; cycles: until the response is taken.
        `("overlap", offset, value)` does both twice at once. `("wait", cycles)`;
        `("irq",)` waits for the interrupt, `("pin",)` looks at it; `("idle",)`: until STATUS is not busy.
        `("dump", address, bytes)` looks at the DDR, `("bus",)` at what the ports moved and the rules they broke;
        `("expect", offset, value, equal)`: a register, of which it is known whether it has the value; `("reset",)`;
        `("counters", value)` sets every counter of cycles, words or bytes, to the upper bits of a value of 64;
        `("counters", value, "numbers")` every counter of instructions, to the value; `("counters", value, "watchdog")`
        takes so many cycles from those that the watchdog has left.
    """

    name: str
    steps: tuple[Step, ...]


class Script:
    """Runs of one program, one after the other, as the steps of a trial. What a register holds is not written again.

    Parameters
    ----------
    program : ProgramImage
    """

    def __init__(self, program: ProgramImage) -> None:
        self.program, self.table = program, register_map(program.config.ports)
        self.steps: list[Step] = []
        self._held: dict[str, int] = {}

    def set(self, name: str, value: int) -> None:
        """Writes of a value, low word first."""
        for place, word in enumerate(self.table.values[name]):
            self.steps.append(("write", word.offset, value >> 32 * place & 0xFFFF_FFFF))

    def command(self, *names: str) -> None:
        """A write to CTRL."""
        self.set("ctrl", sum(self.table["CTRL"][name].mask for name in names))

    def read(self, *names: str) -> None:
        """Reads of registers."""
        self.steps += [("read", self.table[name].offset) for name in names]

    def poke(self, address: int, data: bytes) -> None:
        """A write into the DDR."""
        self.steps.append(("poke", address, data.hex()))

    def configure(self, run: RtlRun) -> None:
        """All that comes before the command to start."""
        result = self.program.region("result")
        self.poke(result.address, MARK * (result.bytes // len(MARK)))  # or an earlier result would do
        for address, data in run.patches:
            self.poke(address, data)
        self.steps.append(("memory", {**PLAIN, **run.memory}))
        values = {**self.program.registers(run.task), "watchdog": run.watchdog, "irq_enable": 3, **run.overrides}
        for name, value in values.items():
            if self._held.get(name) != value:
                self.set(name, value)
                self._held[name] = value
        self.set("irq_status", self.table["IRQ_STATUS"].mask)

    def ended(self, run: RtlRun, *, brief: bool = False) -> None:
        """What is done and looked at when the interrupt has come. `brief`: without counters and memory."""
        self.read("STATUS")
        self.steps += [("memory", dict(run.memory_after)), ("idle",)]
        names = [r.name for r in self.table if r.access in (Access.RO, Access.W1C) and not r.constant]
        self.read(*(BRIEF if brief else names))
        if not brief:
            self.steps += [("pin",), ("dump", self.program.address, len(self.program.memory)), ("bus",)]
        self.restore(run)

    def restore(self, run: RtlRun) -> None:
        """What a run's patches have overwritten."""
        for address, data in reversed(run.patches):
            low = address - self.program.address
            self.poke(address, self.program.memory[low : low + len(data)])

    def judged(self, code: ErrorCode, wanted: bool) -> None:
        """The little that is looked at when a run must have ended with this error, or with any other ending."""
        self.steps.append(("idle",))
        self.steps.append(("expect", self.table["ERROR_CODE"].offset, code.value, wanted))
        self.read("STATUS", "ERROR_ADDR_LO", "CYCLES_LO")

    def reset(self) -> None:
        """A reset; registers must be written again."""
        self.steps.append(("reset",))
        self._held.clear()

    def run(self, run: RtlRun, *, brief: bool = False) -> None:
        """A whole run."""
        self.configure(run)
        self.command("start")
        if run.command:
            self.steps.append(("wait", run.command_after))
            self.command(run.command)
        self.steps.append(("wait", SETTLED) if run.command == "soft_reset" else ("irq",))
        self.ended(run, brief=brief)

    def trial(self, name: str) -> Trial:
        """All steps so far."""
        return Trial(name, tuple(self.steps))


def runs_trial(name: str, program: ProgramImage, runs: Sequence[RtlRun], *, brief: bool = False) -> Trial:
    """A trial of several runs. `brief`: counters and memory are looked at only behind the last."""
    script = Script(program)
    for place, run in enumerate(runs):
        script.run(run, brief=brief and place < len(runs) - 1)
    return script.trial(name)
