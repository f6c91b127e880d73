"""A card behind a stand-in of AMD's XDMA driver: a program in a process of its own opens devices that are not there."""

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from moesaic.boards.errors import BusError
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.device import FunctionalDevice

__all__ = ["DEVICE", "Card", "build_standin", "run_beside"]

DEVICE = "/dev/standin0"  # what the names of the devices begin with
REQUEST, ANSWER = struct.Struct("=4Q"), struct.Struct("=3Q")
ONES = 0xFFFF_FFFF


def build_standin(folder: Path) -> Path:
    """The library to load before the C library."""
    path, source = folder / "xdma_standin.so", Path(__file__).parent / "c" / "xdma_standin.c"
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-maybe-uninitialized", "-fPIC", "-shared"]
    subprocess.run(["gcc", *flags, source, "-ldl", "-o", path], check=True)
    return path


class Card:
    """The functional simulator as the accelerator on a card, and its memory.

    Parameters
    ----------
    config : AcceleratorConfig
    base, size : int
        The memory that is there.

    Members
    -------
    short : int
        Bytes that the next transfer of more than so many leaves out; 0: none.
    gone_after : int
        Register accesses after which nothing answers.
    events : int
        That were raised.
    """

    def __init__(self, config: AcceleratorConfig, *, base: int, size: int) -> None:
        self.device = FunctionalDevice(config)
        self.device.memory, self.device.address = np.zeros(size, np.uint8), base
        self.short, self.gone_after, self.events = 0, 1 << 60, 0

    def _part(self, address: int, size: int) -> np.ndarray:
        first = address - self.device.address
        if first < 0 or first + size > len(self.device.memory):
            raise BusError("transfer", 3)
        return self.device.memory[first : first + size]

    def _lost(self, size: int) -> int:
        if not self.short or size <= self.short:
            return 0
        lost, self.short = self.short, 0
        return lost

    def answer(self, what: str, first: int, second: int, data: bytes) -> tuple[int, bytes]:
        """To a request of the stand-in."""
        if what in "rw":
            self.gone_after -= 1
            if self.gone_after < 0:
                return ONES, b""
        match what:
            case "r":
                return self.device.read(first), b""
            case "w":
                self.device.write(first, second)
            case "M":
                kept = len(data) - (lost := self._lost(len(data)))
                self._part(first, kept)[:] = np.frombuffer(data[:kept], np.uint8)
                return lost, b""
            case "m":
                return 0, self._part(first, second - self._lost(second)).tobytes()
        return 0, b""

    def serve(self, connection: socket.socket, events: socket.socket) -> None:
        """Until the other side has ended; an event for each time that the interrupt is raised."""
        file, raised = connection.makefile("rwb"), False
        while head := file.read(REQUEST.size):
            what, first, second, size = REQUEST.unpack(head)
            error, value, back = 0, 0, b""
            try:
                value, back = self.answer(chr(what), first, second, file.read(size))
            except BusError as refused:
                error = refused.response
            file.write(ANSWER.pack(error, value, len(back)) + back)
            file.flush()
            self.device.work()
            if self.device.irq and not raised:
                self.events += 1
                events.sendall((1).to_bytes(4, "little"))
            raised = self.device.irq


def run_beside(
    card: Card, standin: Path, *command: object, env: Mapping[str, str] | None = None, status: int = 0
) -> str:
    """What a program says that runs on the card's host: its output, or its complaint if it ends with another status."""
    ours, theirs = socket.socketpair()
    raise_here, wait_there = socket.socketpair()
    environment = {
        **os.environ,
        "LD_PRELOAD": str(standin),
        "XDMA_STANDIN_DEVICE": DEVICE,
        "XDMA_STANDIN_SOCKET": str(theirs.fileno()),
        "XDMA_STANDIN_EVENTS": str(wait_there.fileno()),
        **(env or {}),
    }
    words = [str(word) for word in command]
    with ours, raise_here:
        with theirs, wait_there:
            passed = [theirs.fileno(), wait_there.fileno()]
            child = subprocess.Popen(
                words, env=environment, pass_fds=passed, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        server = threading.Thread(target=card.serve, args=(ours, raise_here))
        server.start()
        out, said = child.communicate(timeout=60)
        server.join(timeout=10)
    assert child.returncode == status, said
    return out if status == 0 else said
