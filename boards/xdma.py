"""The driver's transport to a PCI Express card: registers, memory and interrupt through AMD's XDMA driver for Linux."""

import asyncio
import contextlib
import io
import mmap
import os
import time
from pathlib import Path

from moesaic.boards.errors import DeviceError
from moesaic.hw.spec.registers import register_map

__all__ = ["CHANNEL_BYTES", "DEVICE", "XdmaTransport"]

DEVICE = "/dev/xdma0"
CHANNEL_BYTES = 1 << 28  # of HBM behind one port of an Alveo U280 (`memory.channel_bytes` of its file)
POLL_S = 0.0005  # between two looks at STATUS without an interrupt
_EVENT_BYTES = 4  # of a read of the event device: no other length is taken
_PART = 1 << 22  # bytes of one transfer: the driver pins that much of the host's memory
_PAGE = mmap.PAGESIZE
_ONES = 0xFFFF_FFFF  # what a host reads where no device answers
_ID = register_map(1)["ID"].offset


class XdmaTransport:
    """Registers through ``DEVICE_user``, HBM through ``_h2c_0`` and ``_c2h_0``, the interrupt through ``_events_0``.

    Behaviour of the devices as in the driver's sources (`cdev_ctrl.c`, `cdev_sgdma.c`, `cdev_events.c` of
    Xilinx/dma_ip_drivers): a register is four bytes at its offset; a transfer goes to the address that is the file's
    position, and the host's buffer must be aligned as that address is; an event is four bytes, and polled for.

    Parameters
    ----------
    device : path
        What the names of the devices begin with.
    registers : int
        Where the registers begin in the BAR of AXI4-Lite.
    memory_bytes : int
        Of HBM, from address 0 on; all of it is the accelerator's.
    interrupt : bool
        Use the interrupt; else STATUS is polled.

    Raises
    ------
    FileNotFoundError, PermissionError
        If a device is not there, or not ours to use; the message says what to do.
    """

    def __init__(
        self,
        device: str | Path = DEVICE,
        *,
        registers: int = 0,
        memory_bytes: int = 1 << 33,
        interrupt: bool = True,
    ) -> None:
        self.device, self.registers, self.memory_bytes = str(device), registers, memory_bytes
        self.interrupt_driven = interrupt
        self.patience = 0.05 if interrupt else POLL_S
        self._files = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self._files.close)
            self._user = self._opened("user", os.O_RDWR)
            # Unbuffered files: they read into a buffer of ours, and `pread` of Python would bring one of its own.
            self._to_card = io.FileIO(self._opened("h2c_0", os.O_WRONLY), "wb", closefd=False)
            self._from_card = io.FileIO(self._opened("c2h_0", os.O_RDONLY), "rb", closefd=False)
            self._events = self._opened("events_0", os.O_RDONLY | os.O_NONBLOCK) if interrupt else -1
            undo.pop_all()
        self._buffer = mmap.mmap(-1, _PART + _PAGE)  # whole pages: its first byte is aligned as any address can ask for

    def _opened(self, name: str, flags: int) -> int:
        path = f"{self.device}_{name}"
        try:
            file = os.open(path, flags | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{path!r} must be there: load AMD's XDMA driver (xdma.ko), and see that "
                "`lspci -d 10ee:` shows the card"
            ) from error
        except PermissionError as error:
            raise PermissionError(
                f"{path!r} must be open to this user: run as root, or give the device a group by a udev rule"
            ) from error
        self._files.callback(os.close, file)
        return file

    def _register(self, offset: int) -> int:
        try:
            data = os.pread(self._user, 4, self.registers + offset)
        except OSError as error:
            raise DeviceError(f"register {offset:#x} could not be read: {os.strerror(error.errno or 0)}") from error
        if len(data) != 4:
            raise DeviceError(f"register {offset:#x} must be read as 4 bytes, not {len(data)}")
        return int.from_bytes(data, "little")

    async def read(self, offset: int) -> int:
        """A 32-bit register; `DeviceError` where nothing answers any more."""
        value = self._register(offset)
        if value == _ONES and self._register(_ID) == _ONES:
            raise DeviceError(
                f"{self.device} answers with ones only: the card was reset or its bitstream replaced; "
                "remove and rescan the PCI device, or boot again"
            )
        return value

    async def write(self, offset: int, value: int) -> None:
        """Write a 32-bit register."""
        try:
            done = os.pwrite(self._user, int(value).to_bytes(4, "little"), self.registers + offset)
        except OSError as error:
            raise DeviceError(f"register {offset:#x} could not be written: {os.strerror(error.errno or 0)}") from error
        if done != 4:
            raise DeviceError(f"register {offset:#x} must be written as 4 bytes, not {done}")

    async def allocate(self, size: int, wanted: int) -> int:
        """HBM where it is wanted: no operating system lives there; `MemoryError` if the card has less."""
        if wanted + size > self.memory_bytes:
            raise MemoryError(
                f"the card's memory must have {size:,} bytes from {wanted:#x} on for the program, "
                f"but ends at {self.memory_bytes:#x}"
            )
        return wanted

    def _transfer(self, file: io.FileIO, address: int, size: int, what: str) -> memoryview:
        """One transfer between the card and the buffer; the part of the buffer that it was about."""
        first = address % _PAGE
        part = memoryview(self._buffer)[first : first + size]
        try:
            file.seek(address)
            done = file.write(part) if file is self._to_card else file.readinto(part)
        except OSError as error:
            part.release()
            raise DeviceError(
                f"{what} of {size:,} bytes at {address:#x} failed: {os.strerror(error.errno or 0)}; `dmesg` says more"
            ) from error
        if done != size:
            part.release()
            raise DeviceError(f"{what} at {address:#x} must move {size:,} bytes, not {done or 0:,}")
        return part

    async def write_memory(self, address: int, data: bytes) -> None:
        """Host to card; `DeviceError` if not all of it got there."""
        for start in range(0, len(data), _PART):
            piece = data[start : start + _PART]
            first = (address + start) % _PAGE
            self._buffer[first : first + len(piece)] = piece
            self._transfer(self._to_card, address + start, len(piece), "write").release()

    async def read_memory(self, address: int, size: int) -> bytes:
        """Card to host; `DeviceError` if not all of it came."""
        parts = []
        for start in range(0, size, _PART):
            with self._transfer(self._from_card, address + start, min(_PART, size - start), "read") as part:
                parts.append(bytes(part))
        return b"".join(parts)

    async def wait_interrupt(self, seconds: float) -> bool:
        """The interrupt within that time; without interrupts, a short sleep and False."""
        if not self.interrupt_driven:
            await asyncio.sleep(min(seconds, POLL_S))
            return False
        loop = asyncio.get_running_loop()
        raised = asyncio.Event()
        loop.add_reader(self._events, raised.set)
        waiting = asyncio.ensure_future(raised.wait())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
        finally:
            loop.remove_reader(self._events)
            waiting.cancel()
        return bool(done) and len(os.read(self._events, _EVENT_BYTES)) == _EVENT_BYTES

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    async def close(self) -> None:
        """Close the devices; the bitstream stays."""
        self._files.close()
