"""The C library on the whole accelerator over AXI4-Lite: its programs are on the other end of a socket."""

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cocotb
import numpy as np
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge

from moesaic.boards.errors import BusError
from moesaic.compiler.image import ProgramImage
from moesaic.sim.rtl_run import SimulatedBus

JOB = json.loads(Path(os.environ["MOESAIC_JOB"]).read_text())
PROGRAM = ProgramImage.load(JOB["program"])
IMAGES = np.load(JOB["images"])
SIZE = 1 << 25  # of the DDR model
HARDWARE = 0xFFFF_FFFF  # in place of an offset: the reset input
CARD = "/dev/standin0"  # what the names of a card's devices begin with
APART = 1 << 17  # from one of its memory channels to the next
PYTHON = f"""
import sys
import numpy as np
from moesaic.boards.runtime import Accelerator
program, images, to = sys.argv[1:]
with Accelerator.open_card(program, device="{CARD}", apart={APART}, interrupt=False, timeout=60) as accelerator:
    np.save(to, accelerator.run(np.load(images)[1], accelerator.tasks[0]).tokens)
"""
REQUEST, ANSWER = struct.Struct("=4Q"), struct.Struct("=3Q")


class Bench:
    """Answers the requests of `port_socket.c` with the simulated accelerator."""

    def __init__(self, dut) -> None:
        config = PROGRAM.config
        self.dut = dut
        self.bus = SimulatedBus(
            dut, base=PROGRAM.address, size=SIZE, word_bytes=config.port_bits // 8, clock_mhz=config.clock_mhz
        )

    async def later(self, cycles: int, offset: int, value: int) -> None:
        await ClockCycles(self.dut.aclk, cycles)
        if offset == HARDWARE:
            await self.bus.reset()
        else:
            await self.bus.write(offset, value)

    async def answer(self, what: str, first: int, second: int, data: bytes) -> tuple[int, bytes]:
        bus = self.bus
        match what:
            case "r":
                return await bus.read(first), b""
            case "w":
                await bus.write(first, second)
            case "M":
                await bus.write_memory(first, data)
            case "m":
                return 0, await bus.read_memory(first, second)
            case "i":
                return int(await bus.wait_interrupt(first / 1e9)), b""
            case "n":
                return round(bus.now() * 1e9), b""
            case "p":
                return round(bus.patience * 1e9), b""
            case "a":
                return PROGRAM.address, b""
            case "b":
                return SIZE, b""
            case "v":
                getattr(self.dut.memory, data.decode()).value = first - (first >> 63 << 64)
                await RisingEdge(self.dut.aclk)
            case "l":
                cocotb.start_soon(self.later(first, second >> 32, second & 0xFFFF_FFFF))
            case "R":
                await bus.reset()
            case _:
                raise ValueError(f"request must be one that port_socket.c makes, not {what!r}")
        return 0, b""

    def serve(self, connection: socket.socket) -> None:
        """In a thread that the simulator waits for, until the other side quits or has ended."""
        file = connection.makefile("rwb")
        answer = resume(self.answer)
        while head := file.read(REQUEST.size):
            what, first, second, size = REQUEST.unpack(head)
            error, value, back = 0, 0, b""
            if chr(what) != "q":
                try:
                    value, back = answer(chr(what), first, second, file.read(size))
                except BusError as refused:
                    error = refused.response
            file.write(ANSWER.pack(error, value, len(back)) + back)
            file.flush()
            if chr(what) == "q":
                return

    async def run(self, *command: object, env: Mapping[str, object] | None = None) -> None:
        """A program that gets the socket's number for each `{}` among its arguments and in its environment, and must
        find nothing wrong.
        """
        self.dut.memory.err_resp.value, self.dut.memory.dead_after.value = 0, -1
        await self.bus.reset()
        ours, theirs = socket.socketpair()
        number = str(theirs.fileno())
        words = [str(word).replace("{}", number) for word in command]
        more = {name: str(text).replace("{}", number) for name, text in (env or {}).items()}
        log = Path(f"{Path(words[0]).name}.log")
        child = started(words, theirs, log, more)
        with ours:
            await bridge(self.serve)(ours)
        assert child.wait(timeout=60) == 0, log.read_text()


def started(words: list[str], connection: socket.socket, log: Path, env: Mapping[str, str]) -> subprocess.Popen:
    """A program that has the only end of a connection, so that it closes when the program ends."""
    with connection, log.open("wb") as out:
        return subprocess.Popen(
            words, pass_fds=[connection.fileno()], stdout=out, stderr=out, env={**os.environ, **env}
        )


async def case(dut, name: str) -> None:
    """A case of cases.c; tokens that it has saved go to where the test compares them."""
    results = Path("results")
    results.mkdir(exist_ok=True)
    bench = Bench(dut)
    limit = round(JOB["limit"] / bench.bus.hertz * 1e9)
    await bench.run(
        Path(JOB["c"]) / "cases", name, "{}", JOB["program"], limit, round(1e9 / bench.bus.hertz), len(IMAGES)
    )
    for path in results.glob("*.i16"):
        what, number, task = path.stem.split("-")
        save(results / f"{what}-{number}-{task}.npz", task, int(number), np.fromfile(path, "<i2"))
        path.unlink()


def save(path: Path, task: str, image: int, tokens: np.ndarray) -> None:
    network = PROGRAM.network
    np.savez(path, task=task, image=image, tokens=tokens.reshape(network.tokens, network.dim))


def a_case(name: str) -> None:
    async def run(dut) -> None:
        await case(dut, name)

    run.__name__ = run.__qualname__ = name
    globals()[name] = cocotb.test(run)


for each in (
    "queue",
    "one_slot",
    "bus_error",
    "corrupt",
    "soft_reset",
    "hardware_reset",
    "abort",
    "silent",
    "busy",
    "refused",
    "batch",
):
    a_case(each)


async def example(dut, name: str, *command: object, env: Mapping[str, object] | None = None) -> None:
    """Images from files, tokens into one."""
    height, width = PROGRAM.network.image_size
    paths = []
    for number, image in enumerate(IMAGES[:2]):
        paths.append(Path(f"image{number}.ppm"))
        head = f"P6\n# an image\n{width} {height} 255\n".encode()
        paths[-1].write_bytes(head + image.transpose(1, 2, 0).tobytes())
    task = PROGRAM.tasks[-1]
    await Bench(dut).run(*command, "-t", task, "-o", "tokens.bin", JOB["program"], *paths, env=env)
    Path("results").mkdir(exist_ok=True)
    for number, tokens in enumerate(np.fromfile("tokens.bin", "<i2").reshape(2, -1)):
        save(Path("results") / f"{name}-{number}-{task}.npz", task, number, tokens)


@cocotb.test()
async def command(dut) -> None:
    """The example with sanitizers."""
    await example(dut, "command", Path(JOB["c"]) / "run_image", "-d", "{}")


@cocotb.test()
async def card(dut) -> None:
    """The example as its Makefile builds it, and Python, through a stand-in of the XDMA driver."""
    env = {
        "LD_PRELOAD": Path(JOB["c"]) / "xdma_standin.so",
        "XDMA_STANDIN_DEVICE": CARD,
        "XDMA_STANDIN_SOCKET": "{}",
    }
    await example(dut, "card", Path(JOB["c"]) / "c" / "run_image", "-d", f"xdma={CARD},channel={APART}", env=env)
    await Bench(dut).run(sys.executable, "-c", PYTHON, JOB["program"], JOB["images"], "python.npy", env=env)
    save(Path("results") / f"python-1-{PROGRAM.tasks[0]}.npz", PROGRAM.tasks[0], 1, np.load("python.npy"))
