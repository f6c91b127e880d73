"""The host's side: one driver for the board and for the simulated accelerator."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from moesaic.compiler.image import ProgramImage
from moesaic.hw.spec.registers import COUNTERS, ID_VALUE, ErrorCode, ErrorUnit, register_map

__all__ = ["AcceleratorError", "Driver", "RunResult", "Transport"]


class Transport(Protocol):
    """How a driver reaches registers and memory; coroutines, so that a simulated clock can run meanwhile."""

    async def read(self, offset: int) -> int:
        """A 32-bit register."""

    async def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register; a refused write raises."""

    async def write_memory(self, address: int, data: bytes) -> None:
        """Write into the DDR window."""

    async def read_memory(self, address: int, size: int) -> bytes:
        """Read from the DDR window."""

    async def wait_interrupt(self) -> None:
        """Return when the interrupt is raised; raise TimeoutError if it does not come."""


class AcceleratorError(RuntimeError):
    """A run ended with an error; names code, unit, instruction and address."""

    def __init__(self, code: ErrorCode, unit: ErrorUnit, index: int, address: int, *, draining: bool) -> None:
        self.code, self.unit, self.index, self.address, self.draining = code, unit, index, address, draining
        where = f"{unit.name.lower()} unit, instruction {index}" + (f", address {address:#x}" if address else "")
        owed = "; the bus still owes responses" if draining else ""
        super().__init__(f"{code.name}: {code.doc} ({where}{owed})")


@dataclass(frozen=True)
class RunResult:
    """What a run left: result bytes and counters by name."""

    result: bytes
    counters: Mapping[str, int]


class Driver:
    """Loads a program image, runs images, reads counters, reports errors by name.

    Parameters
    ----------
    transport : Transport
    program : ProgramImage

    Raises
    ------
    RuntimeError
        From :meth:`open`, if what answers is not an accelerator, or not the one the program was compiled for.
    """

    def __init__(self, transport: Transport, program: ProgramImage) -> None:
        self.transport, self.program = transport, program
        self.table = register_map(program.config.ports)

    async def _get(self, value: str) -> int:
        words = self.table.values[value]
        return sum([await self.transport.read(word.offset) << 32 * k for k, word in enumerate(words)])

    async def _set(self, value: str, number: int) -> None:
        for k, word in enumerate(self.table.values[value]):
            await self.transport.write(word.offset, number >> 32 * k & 0xFFFF_FFFF)

    async def open(self, *, load: bool = True) -> None:
        """Check who answers, and write the program into the window (unless it is there already)."""
        identity = await self._get("id")
        if identity != ID_VALUE:
            raise RuntimeError(f"ID must be {ID_VALUE:#010x}, not {identity:#010x}: no accelerator answers here")
        expected, found = int(self.program.config.hash[-8:], 16), await self._get("config_hash")
        if found != expected:
            raise RuntimeError(f"CONFIG_HASH must be {expected:#010x} ({self.program.config.name}), not {found:#010x}: "
                               "the program was compiled for another accelerator")
        if load:
            await self.transport.write_memory(self.program.address, self.program.memory)
        await self._set("irq_enable", 3)

    async def start(self, task: str, *, watchdog: int = 1_000_000, overrides: Mapping[str, int] | None = None) -> None:
        """Program the registers for a task and start."""
        values = {**self.program.registers(task), "watchdog": watchdog, **(overrides or {})}
        for name, value in values.items():
            await self._set(name, value)
        await self._set("irq_status", 3)
        await self._set("ctrl", self.table["CTRL"]["start"].mask)

    async def finish(self) -> RunResult:
        """Wait for the interrupt; result and counters, or AcceleratorError."""
        await self.transport.wait_interrupt()
        status, layout = await self._get("status"), self.table["STATUS"]
        await self._set("irq_status", 3)
        if status & layout["error"].mask:
            instruction, fields = await self._get("error_instruction"), self.table["ERROR_INSTRUCTION"]
            raise AcceleratorError(
                ErrorCode(await self._get("error_code")),
                ErrorUnit((instruction & fields["unit"].mask) >> fields["unit"].lsb),
                instruction & fields["index"].mask, await self._get("error_addr"), draining=bool(status & layout["draining"].mask))
        region = self.program.region("result")
        result = await self.transport.read_memory(region.address, region.bytes)
        return RunResult(result, {c.name.lower(): await self._get(c.name.lower()) for c in COUNTERS})

    async def run(self, task: str, **options: Any) -> RunResult:
        """`start` and `finish`."""
        await self.start(task, **options)
        return await self.finish()

    async def soft_reset(self) -> None:
        """Abort, drain, clear; returns when idle."""
        await self._set("ctrl", self.table["CTRL"]["soft_reset"].mask)
        for _ in range(10_000):
            if not await self._get("status") & self.table["STATUS"]["busy"].mask:
                return
        raise TimeoutError("the accelerator did not become idle after a soft reset: the bus still owes responses")
