"""An accelerator as its host sees it, with the functional simulator inside: registers, interrupt and memory, without
time.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.boards.errors import BusError
from moesaic.boards.runtime import Accelerator, load_program_folder
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.registers import COUNTERS, MAP_BYTES, Access, ErrorCode, ErrorUnit, register_map
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.machine import ProgramError

__all__ = ["FunctionalDevice", "FunctionalTransport", "open_simulated"]

SLVERR, DECERR = 2, 3
STREAMS = ("load", "compute", "store")


class FunctionalDevice:
    """Registers of `registers.register_map` over a memory that host and accelerator share.

    A run happens as a whole when its time has come: after `accesses` register accesses, or when :meth:`work` is called.
    Until then STATUS is busy and locked registers refuse writes. Counters that depend on time stay 0. Errors of the
    program are reported as the hardware does, as far as the functional simulator tells them apart.

    Parameters
    ----------
    config : AcceleratorConfig
    accesses : int
        Register accesses that a run lasts.

    Members
    -------
    memory, address
        What the accelerator reaches: bytes uint8 [size], and the address of the first.
    hang : bool
        Runs do not end by themselves.
    """

    def __init__(self, config: AcceleratorConfig, *, accesses: int = 50) -> None:
        self.config, self.accesses = config, accesses
        self.table = register_map(config.ports, config_hash=int(config.hash[-8:], 16))
        self.memory, self.address = np.zeros(0, np.uint8), 0
        self.hang = False
        self.words = {register.name: register.reset for register in self.table}
        self._remaining: int | None = None  # accesses until the run in progress ends

    @property
    def irq(self) -> bool:
        """Level of the interrupt."""
        return bool(self.words["IRQ_STATUS"] & self.words["IRQ_ENABLE"])

    def _pass(self) -> None:
        if self._remaining is not None and not self.hang:
            self._remaining -= 1
            if self._remaining <= 0:
                self.work()

    def read(self, offset: int) -> int:
        """A register; `BusError` as the hardware answers."""
        self._pass()
        register = self.table.by_offset.get(offset)
        if register is None:
            raise BusError(f"read of {offset:#x}", SLVERR if offset < MAP_BYTES else DECERR)
        return 0 if register.access is Access.W1S else self.words[register.name]

    def write(self, offset: int, value: int) -> None:
        """Write a register; `BusError` as the hardware answers."""
        self._pass()
        register = self.table.by_offset.get(offset)
        if register is None:
            raise BusError(f"write of {offset:#x}", SLVERR if offset < MAP_BYTES else DECERR)
        if register.access is Access.RO or (register.locked and self._remaining is not None):
            raise BusError(f"write of {register.name}", SLVERR)
        value &= register.mask
        if register.access is Access.RW:
            self.words[register.name] = value
        elif register.access is Access.W1C:
            self.words[register.name] &= ~value
        else:
            self._command(value)

    def _command(self, value: int) -> None:
        control = self.table["CTRL"]
        if value & control["soft_reset"].mask:
            self._remaining = None
            self._clear_errors()
            self._status()
        elif value & control["abort"].mask:
            if self._remaining is not None:
                self._fail(ErrorCode.HOST_ABORT, ErrorUnit.CONTROL, 0)
        elif value & control["start"].mask:
            if self._remaining is not None:
                self.words["STATUS"] |= self.table["STATUS"]["start_refused"].mask
                return
            self._remaining = self.accesses
            self._clear_errors()
            for counter in COUNTERS:
                self._set(counter.name.lower(), 0)
            self._status("busy")

    def _status(self, *flags: str) -> None:
        self.words["STATUS"] = sum(self.table["STATUS"][flag].mask for flag in flags)

    def _set(self, value: str, number: int) -> None:
        for k, register in enumerate(self.table.values[value]):
            self.words[register.name] = number >> 32 * k & 0xFFFF_FFFF

    def _clear_errors(self) -> None:
        for value in ("error_code", "error_addr", "error_instruction"):
            self._set(value, 0)

    def _value(self, value: str) -> int:
        return sum(self.words[register.name] << 32 * k for k, register in enumerate(self.table.values[value]))

    def _fail(self, code: ErrorCode, unit: ErrorUnit, index: int) -> None:
        self._remaining = None
        layout = self.table["ERROR_INSTRUCTION"]
        self._set("error_code", code)
        self._set("error_instruction", index << layout["index"].lsb | unit << layout["unit"].lsb)
        self._status("error")
        self.words["IRQ_STATUS"] |= self.table["IRQ_STATUS"]["error"].mask

    def work(self) -> None:
        """Do the run in progress, if there is one."""
        if self._remaining is None or self.hang:
            return
        values = {name: self._value(name) for name, words in self.table.values.items() if words[0].access is Access.RW}
        simulator = FunctionalSimulator(self.config)
        simulator.address = values["window_base"]
        first = simulator.address - self.address
        inside = 0 <= first and first + values["window_bytes"] <= len(self.memory)
        simulator.memory = self.memory[first : first + values["window_bytes"]] if inside else self.memory[:0]
        try:
            run = simulator.execute(values)
        except ProgramError as error:
            self._fail(_code(error), ErrorUnit[error.stream.upper()], error.index)
            return
        except ValueError:  # an instruction stream that begins outside the window
            self._fail(ErrorCode.ADDRESS_RANGE, ErrorUnit.FETCH, 0)
            return
        for counter in COUNTERS:
            self._set(counter.name.lower(), run.counters.get(counter.name, 0))
        self._set("marks", len(run.marks))
        self._remaining = None
        self._status("done")
        self.words["IRQ_STATUS"] |= self.table["IRQ_STATUS"]["done"].mask


def _code(error: ProgramError) -> ErrorCode:
    """The hardware's name for what the functional simulator says."""
    for words, code in (
        ("in the window", ErrorCode.ADDRESS_RANGE),
        ("in the result", ErrorCode.RESULT_RANGE),
        ("opcode", ErrorCode.BAD_OPCODE),
        ("deadlock", ErrorCode.WATCHDOG),
        ("left over", ErrorCode.WATCHDOG),
        ("hazard", ErrorCode.HAZARD),
        ("address must be", ErrorCode.MEMORY_RANGE),
    ):
        if words in error.reason:
            return code
    return ErrorCode.BAD_FIELD


class FunctionalTransport:
    """The driver's transport to a `FunctionalDevice`.

    Parameters
    ----------
    config : AcceleratorConfig
        What the device is, whatever the program was compiled for.
    """

    patience = 0.01

    def __init__(self, config: AcceleratorConfig) -> None:
        self.device = FunctionalDevice(config)

    async def read(self, offset: int) -> int:
        """A 32-bit register."""
        return self.device.read(offset)

    async def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""
        self.device.write(offset, value)

    async def allocate(self, size: int, wanted: int) -> int:
        """Memory of the device, where it is wanted."""
        self.device.memory, self.device.address = np.zeros(size, np.uint8), wanted
        return wanted

    async def write_memory(self, address: int, data: bytes) -> None:
        """Write into the device's memory."""
        first = address - self.device.address
        self.device.memory[first : first + len(data)] = np.frombuffer(data, np.uint8)

    async def read_memory(self, address: int, size: int) -> bytes:
        """Read from the device's memory."""
        first = address - self.device.address
        return self.device.memory[first : first + size].tobytes()

    async def wait_interrupt(self, seconds: float) -> bool:
        """Do the run; True if the interrupt is raised then."""
        self.device.work()
        if not self.device.irq:
            await asyncio.sleep(seconds)
        return self.device.irq

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def close(self) -> None:
        """Forget the memory."""
        self.device.memory = np.zeros(0, np.uint8)


def open_simulated(program: str | Path, **options: Any) -> Accelerator:
    """What `Accelerator.open` gives on a board, with the functional simulator in the board's place."""
    image, heads = load_program_folder(program)
    return Accelerator(FunctionalTransport(image.config), image, heads, **options)
