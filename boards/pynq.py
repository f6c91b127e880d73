"""The driver's transport on a board that runs PYNQ: registers, memory and interrupt of an overlay."""

import asyncio
import importlib
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CELL", "PynqTransport"]

CELL = "accelerator_0"  # name of the accelerator in the block design
IRQ = "irq"  # its interrupt pin
POLL_S = 0.0005  # between two looks at STATUS without an interrupt


class PynqTransport:
    """Registers through MMIO, memory from `pynq.allocate`, the interrupt through PYNQ's asyncio events or by polling.

    PYNQ (2.7 to 4.0) is imported when this is made, not before. Its interrupts need an AXI interrupt controller in the
    block design; if the overlay names none, or `interrupt` is False, STATUS is polled.

    Parameters
    ----------
    bitfile : path
        The `.bit` file, with its `.hwh` beside it.
    cell : str
        Name of the accelerator in the block design.
    interrupt : bool
        Use the interrupt if there is one.
    download : bool
        Load the bitstream; False if it is there already.

    Members
    -------
    interrupt_driven : bool
        Whether the interrupt is used.

    Raises
    ------
    RuntimeError
        If PYNQ is not installed, or the overlay has no such cell.
    FileNotFoundError
        If one of the two files is not there.
    """

    def __init__(self, bitfile: str | Path, *, cell: str = CELL, interrupt: bool = True, download: bool = True) -> None:
        path = Path(bitfile)
        for needed in (path, path.with_suffix(".hwh")):
            if not needed.is_file():
                raise FileNotFoundError(
                    f"bitfile must be a .bit file with its .hwh beside it, not {str(path)!r}: "
                    f"there is no {str(needed)!r}"
                )
        try:
            self.pynq: Any = importlib.import_module("pynq")
        except ImportError as error:
            raise RuntimeError(f"PYNQ must be installed to use a board, but it cannot be imported: {error}") from error
        self.overlay: Any = self.pynq.Overlay(str(path.absolute()), download=download)
        if cell not in self.overlay.ip_dict:
            raise RuntimeError(f"cell must be one of {', '.join(self.overlay.ip_dict)}, not {cell!r}")
        entry = self.overlay.ip_dict[cell]
        self.mmio: Any = self.pynq.MMIO(entry["phys_addr"], entry["addr_range"])
        self.pin = f"{cell}/{IRQ}"
        self.interrupt_driven = interrupt and self.pin in self.overlay.interrupt_pins
        self.patience = 0.05 if self.interrupt_driven else POLL_S
        self.buffer: Any = None
        self.address = 0
        self._event: Any = None
        self._waiting: asyncio.Task[None] | None = None

    async def read(self, offset: int) -> int:
        """A 32-bit register."""
        return int(self.mmio.read(offset))

    async def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""
        self.mmio.write(offset, int(value))

    async def allocate(self, size: int, wanted: int) -> int:
        """Physically contiguous memory, wherever PYNQ finds it; `MemoryError` if there is not enough."""
        if self.buffer is not None:
            self.buffer.freebuffer()
        try:
            self.buffer = self.pynq.allocate(shape=(size,), dtype=np.uint8)
        except (RuntimeError, MemoryError) as error:
            raise MemoryError(
                f"contiguous memory (CMA) must have {size:,} bytes free for the program: {error}"
            ) from error
        self.address = int(self.buffer.physical_address)
        return self.address

    def _part(self, address: int, size: int) -> Any:
        first = address - self.address
        if self.buffer is None or first < 0 or first + size > len(self.buffer):
            raise ValueError(f"bytes {address:#x} to {address + size - 1:#x} must lie in the memory that was allocated")
        return self.buffer[first : first + size]

    async def write_memory(self, address: int, data: bytes) -> None:
        """Copy, and flush the processor's cache."""
        part = self._part(address, len(data))
        part[:] = np.frombuffer(data, np.uint8)
        part.flush()

    async def read_memory(self, address: int, size: int) -> bytes:
        """Drop what the processor's cache holds, and copy."""
        part = self._part(address, size)
        part.invalidate()
        return np.asarray(part).tobytes()

    async def wait_interrupt(self, seconds: float) -> bool:
        """The interrupt within that time; without interrupts, a short sleep and False."""
        if not self.interrupt_driven:
            await asyncio.sleep(min(seconds, POLL_S))
            return False
        if self._waiting is None:
            if self._event is None:
                self._event = self.pynq.Interrupt(self.pin)  # binds itself to the running loop
            self._waiting = asyncio.ensure_future(self._event.wait())
        done, _ = await asyncio.wait({self._waiting}, timeout=seconds)
        if not done:  # goes on waiting, for the next call
            return False
        self._waiting = None
        for task in done:
            task.result()
        return True

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def close(self) -> None:
        """Give back the memory; the bitstream stays."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self.buffer is not None:
            self.buffer.freebuffer()
            self.buffer = None
