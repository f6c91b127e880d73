"""A stand-in of PYNQ's public API, strict where a board is unforgiving, with the functional simulator as the
accelerator.

Names and behaviour follow PYNQ's documentation and sources (3.0): `Overlay` with `ip_dict` and `interrupt_pins`,
`MMIO`, `allocate` giving an array with `physical_address`, `flush`, `invalidate` and `freebuffer`, `Interrupt` with a
coroutine `wait`. What the host writes reaches the accelerator only after `flush`; what the accelerator writes reaches
the host only after `invalidate`. Of `pynq.pmbus` it has `get_rails`, and `DataRecorder` with `record`, `mark`, `stop`
and `frame` (no pandas: columns by name are all that it has).
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from moesaic.boards.board import REGISTERS_BYTES, load_board
from moesaic.boards.project.design import ACCELERATOR, INTERRUPTS
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.device import FunctionalDevice

__all__ = ["DDR", "REGISTERS", "Board", "make_module", "make_pmbus"]

PAGE = 4096
PORTS = load_board("zcu102").ports
REGISTERS = PORTS.registers_base  # where the block design has put the accelerator
DDR = 0x3000_0000  # where contiguous memory begins: not where programs are compiled to lie


class Board:
    """The hardware behind the API: one accelerator and its DDR.

    Members
    -------
    device : FunctionalDevice
    dram : uint8 array
        What the accelerator sees; buffers are the processor's cached view of it.
    flushed, invalidated : int
        Bytes.
    """

    def __init__(self, config: AcceleratorConfig, *, memory: int = 1 << 22, interrupts: bool = True) -> None:
        self.device = FunctionalDevice(config)
        self.dram = np.full(memory, 0xA5, np.uint8)  # what was there before
        self.device.memory, self.device.address = self.dram, DDR
        self.interrupts = interrupts
        self.free, self.used = DDR, 0
        self.flushed = self.invalidated = self.interrupts_taken = 0
        self.downloads: list[Path] = []
        self.marked = False  # by a recorder of power


class Buffer(np.ndarray):
    """`pynq.buffer.PynqBuffer`: slices know their own physical address."""

    board: Board
    device_address: int | None

    def __array_finalize__(self, obj: Any) -> None:
        self.device_address = None
        if isinstance(obj, Buffer) and obj.device_address is not None:
            self.board = obj.board
            self.device_address = obj.device_address + self.virtual_address - obj.virtual_address

    @property
    def virtual_address(self) -> int:
        return self.__array_interface__["data"][0]

    @property
    def physical_address(self) -> int | None:
        return self.device_address

    def _dram(self) -> np.ndarray:
        if self.device_address is None:
            raise RuntimeError("this array is not in memory that was allocated for the accelerator")
        if not self.flags.c_contiguous:
            raise RuntimeError("only contiguous parts can be flushed or invalidated")
        first = self.device_address - DDR
        return self.board.dram[first : first + self.nbytes]

    def flush(self) -> None:
        self._dram()[:] = np.asarray(self).view(np.uint8).ravel()
        self.board.flushed += self.nbytes

    def invalidate(self) -> None:
        np.asarray(self).view(np.uint8).ravel()[:] = self._dram()
        self.board.invalidated += self.nbytes

    def freebuffer(self) -> None:
        if self.device_address is None or getattr(self, "freed", False):
            raise RuntimeError("a buffer must be freed once, and as a whole")
        self.freed = True
        self.board.used -= self.nbytes


def make_pmbus(board: Board, watts: Mapping[str, tuple[float, float] | None]) -> ModuleType:
    """A module `pynq.pmbus`.

    Parameters
    ----------
    board : Board
        Its sensors.
    watts : mapping
        Power of each rail before a mark and after it; None for a rail without a power sensor.
    """

    class Sensor:
        def __init__(self, name: str, figures: tuple[float, float]) -> None:
            self.name, self.figures = name, figures

        @property
        def value(self) -> float:
            return self.figures[board.marked]

    class Rail:
        def __init__(self, name: str, figures: tuple[float, float] | None) -> None:
            self.name, self.voltage, self.current = name, None, None
            self.power = None if figures is None else Sensor(f"{name}_power", figures)

    class DataRecorder:
        def __init__(self, *sensors: Sensor) -> None:
            self._sensors, self._rows, self._index = sensors, [], -1
            self._thread: threading.Thread | None = None

        def record(self, interval: float) -> "DataRecorder":
            if self._thread:
                raise RuntimeError("DataRecorder is already recording")
            self._interval, self._done = interval, False
            self._index += 1
            self._thread = threading.Thread(target=self._read)
            self._thread.start()
            return self

        def _read(self) -> None:
            while not self._done:
                board.marked = self._index > 0  # read once for a row: what it says does not depend on when it is read
                self._rows.append([int(board.marked), *(sensor.value for sensor in self._sensors)])
                time.sleep(self._interval)

        def mark(self) -> None:
            self._index += 1

        def stop(self) -> None:
            self._done = True
            self._thread.join()
            self._thread = None

        @property
        def frame(self) -> dict[str, list[float]]:
            names = ["Mark", *(sensor.name for sensor in self._sensors)]
            return {name: [row[k] for row in self._rows] for k, name in enumerate(names)}

    module = ModuleType("pynq.pmbus")
    module.get_rails = lambda config_file=None: {name: Rail(name, figures) for name, figures in watts.items()}
    module.DataRecorder = DataRecorder
    return module


def make_module(board: Board) -> ModuleType:
    """A module `pynq` for that board; put it into `sys.modules`."""
    current: list[Any] = []  # the overlay that is loaded

    class Overlay:
        def __init__(
            self, bitfile_name: str, dtbo: str | None = None, download: bool = True, ignore_version: bool = False
        ) -> None:
            path = Path(bitfile_name)
            if not path.is_file() or not path.with_suffix(".hwh").is_file():
                raise OSError(f"Bitstream file {bitfile_name} does not exist.")
            self.bitfile_name = bitfile_name
            interrupts = {"irq": {"controller": INTERRUPTS, "index": 0, "fullpath": f"{ACCELERATOR}/irq"}}
            self.ip_dict = {
                ACCELERATOR: {
                    "phys_addr": REGISTERS,
                    "addr_range": REGISTERS_BYTES,
                    "type": "xilinx.com:module_ref:accelerator:1.0",
                    "state": None,
                    "interrupts": interrupts if board.interrupts else {},
                    "parameters": {},
                },
                INTERRUPTS: {
                    "phys_addr": PORTS.interrupt_base,
                    "addr_range": REGISTERS_BYTES,
                    "type": "xilinx.com:ip:axi_intc:4.1",
                },
            }
            self.interrupt_pins = {f"{ACCELERATOR}/irq": interrupts["irq"]} if board.interrupts else {}
            if download:
                board.downloads.append(path)
            current[:] = [self]

    class MMIO:
        def __init__(self, base_addr: int, length: int = 4, device: object = None) -> None:
            if base_addr != REGISTERS or length != REGISTERS_BYTES:
                raise ValueError(f"nothing is mapped at {base_addr:#x} ({length:#x} bytes): the board would stop here")
            self.base_addr, self.length = base_addr, length

        def _check(self, offset: int) -> None:
            if type(offset) is not int:
                raise TypeError(f"offset must be an int, not {type(offset).__name__}")
            if offset < 0 or offset >= self.length:
                raise ValueError("Offset out of range.")
            if offset % 4:
                raise MemoryError("Unaligned access: offset must be multiple of 4.")

        def read(self, offset: int = 0) -> int:
            self._check(offset)
            return board.device.read(offset)

        def write(self, offset: int, data: int) -> None:
            self._check(offset)
            if type(data) is not int:  # as PYNQ: a numpy integer is refused
                raise ValueError("Data type must be int or bytes.")
            if not 0 <= data < 1 << 32:
                raise OverflowError("data must fit 32 bits")
            board.device.write(offset, data)

    class Interrupt:
        def __init__(self, pinname: str) -> None:
            if not current or pinname not in current[0].interrupt_pins:
                raise ValueError(f"No Pin of name {pinname} found")
            self.loop = asyncio.get_running_loop()  # PYNQ binds its file to this loop

        async def wait(self) -> None:
            assert asyncio.get_running_loop() is self.loop
            while True:
                board.device.work()
                if board.device.irq:
                    board.interrupts_taken += 1
                    return
                await asyncio.sleep(0.001)

    def allocate(shape: Any, dtype: Any = "u4", target: object = None, **kwargs: object) -> Buffer:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        whole = -(-size // PAGE) * PAGE
        if board.free + whole > DDR + len(board.dram):
            raise RuntimeError("Failed to allocate Memory!")
        buffer = np.zeros(shape, dtype).view(Buffer)
        buffer.board, buffer.device_address = board, board.free
        board.free += whole
        board.used += buffer.nbytes
        return buffer

    module = ModuleType("pynq")
    module.__version__ = "4.0.0"
    module.__path__ = []  # a package: `pynq.pmbus` is a module of its own
    for thing in (Overlay, MMIO, Interrupt, allocate):
        setattr(module, thing.__name__, thing)
    return module
