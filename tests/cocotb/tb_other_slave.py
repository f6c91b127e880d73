"""The accelerator on the AXI4 memory of cocotbext-axi, with pauses on every channel, by the test's job file.

That memory knows nothing of the project's own model (sim/ddr.sv). It answers one burst after the other.
"""

import itertools
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiRam, AxiRamRead, AxiReadBus

from moesaic.boards.driver import Driver
from moesaic.compiler.image import ProgramImage
from moesaic.sim.rtl_run import SimulatedBus

JOB = json.loads(Path(os.environ["MOESAIC_JOB"]).read_text())
PROGRAM = ProgramImage.load(JOB["program"])
IMAGE = np.load(JOB["image"])
SIZE = 1 << 16  # bytes of the memory
HELD = 64  # cycles that a channel may wait for another
CHANNELS = ("ar", "r", "aw", "w", "b", "instructions ar", "instructions r")


class Memory:
    """One memory behind both ports, and the channels that it can pause."""

    def __init__(self, dut) -> None:
        self.dut = dut
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.ram = AxiRam(AxiBus.from_prefix(dut, "m_axi_w0"), dut.aclk, size=SIZE, **reset)
        instructions = AxiReadBus.from_prefix(dut, "m_axi_c")
        self.instructions = AxiRamRead(instructions, dut.aclk, size=SIZE, mem=self.ram.mem, **reset)
        read, write = self.ram.read_if, self.ram.write_if
        channels = (
            *(read.ar_channel, read.r_channel),
            *(write.aw_channel, write.w_channel, write.b_channel),
            *(self.instructions.ar_channel, self.instructions.r_channel),
        )
        self.channels = dict(zip(CHANNELS, channels, strict=True))

    def pause(self, name: str, when: Iterator[bool]) -> None:
        """Pause a channel in the cycles in which `when` says so."""
        self.channels[name].set_pause_generator(when)

    def run_on(self) -> None:
        """No more pauses."""
        for channel in self.channels.values():
            channel.clear_pause_generator()
            channel.pause = False


class Bus(SimulatedBus):
    """The driver's transport, with that memory."""

    def __init__(self, dut, memory: Memory) -> None:
        config = PROGRAM.config
        super().__init__(
            dut, base=PROGRAM.address, size=SIZE, word_bytes=config.port_bits // 8, clock_mhz=config.clock_mhz
        )
        self.ram = memory.ram

    async def write_memory(self, address: int, data: bytes) -> None:
        self.ram.write(address % SIZE, data)
        await RisingEdge(self.dut.aclk)

    async def read_memory(self, address: int, size: int) -> bytes:
        return bytes(self.ram.read(address % SIZE, size))


def random_pauses(memory: Memory, rng: random.Random) -> None:
    """On every channel 0 to 95 percent of the cycles."""

    def pauses(percent: int, seed: int) -> Iterator[bool]:
        mine = random.Random(seed)
        return (mine.randrange(100) < percent for _ in itertools.count())

    for name in CHANNELS:
        memory.pause(name, pauses(rng.choice((0, 50, 80, 95, rng.randrange(96))), rng.randrange(1 << 30)))


def shared_port(memory: Memory, rng: random.Random) -> None:
    """Both masters behind one port: the data of one stand while the other's pass, for some cycles in turn."""
    turns = random.Random(rng.randrange(1 << 30))
    owners: list[bool] = []

    def stands(who: bool) -> Iterator[bool]:
        for cycle in itertools.count():
            while len(owners) <= cycle:
                owners.extend([not owners[-1] if owners else False] * turns.randrange(1, 24))
            yield owners[cycle] != who

    memory.pause("r", stands(who=False))
    memory.pause("instructions r", stands(who=True))


def _behind(held: object, other: object) -> Iterator[bool]:
    """A channel that has something waits until the other one has too, or for some cycles."""
    waited = 0
    while True:
        waited = waited + 1 if int(held.value) and not int(other.value) else 0
        yield 0 < waited < HELD


def reads_behind_writes(memory: Memory, rng: random.Random) -> None:
    """Read data are withheld until a write address is there."""
    dut = memory.dut
    memory.pause("ar", _behind(dut.m_axi_w0_arvalid, dut.m_axi_w0_awvalid))
    memory.pause("r", _behind(dut.m_axi_w0_rready, dut.m_axi_w0_awvalid))


def writes_behind_reads(memory: Memory, rng: random.Random) -> None:
    """Write addresses, data and responses are withheld until a read address is there."""
    dut = memory.dut
    memory.pause("aw", _behind(dut.m_axi_w0_awvalid, dut.m_axi_w0_arvalid))
    memory.pause("w", _behind(dut.m_axi_w0_wvalid, dut.m_axi_w0_arvalid))
    memory.pause("b", _behind(dut.m_axi_w0_bready, dut.m_axi_w0_arvalid))


def data_before_addresses(memory: Memory, rng: random.Random) -> None:
    """Write addresses are taken long after their data, or the reverse."""
    dut = memory.dut
    if rng.randrange(2):
        memory.pause("aw", (not int(dut.m_axi_w0_wvalid.value) for _ in itertools.count()))
    else:
        memory.pause("w", _behind(dut.m_axi_w0_wvalid, dut.m_axi_w0_bready))


MANNERS: dict[str, Callable[[Memory, random.Random], None]] = {
    "random pauses": random_pauses,
    "a shared port": shared_port,
    "reads behind writes": reads_behind_writes,
    "writes behind reads": writes_behind_reads,
    "data before addresses": data_before_addresses,
}


@cocotb.test()
async def runs(dut) -> None:
    """Each run of the job, [manner, seed], on one accelerator; writes every result and the cycles."""
    assert [*MANNERS] == JOB["manners"]
    memory = Memory(dut)
    bus = Bus(dut, memory)
    memory.ram.write(0, PROGRAM.memory)
    await bus.reset()
    driver = Driver(bus, PROGRAM, slots=1)
    await driver.open(load=False)
    await driver.write_image(IMAGE)
    cycles = []
    for number, (manner, seed) in enumerate(JOB["runs"]):
        await driver.transport.write_memory(PROGRAM.region("result").address, bytes(PROGRAM.region("result").bytes))
        if manner:
            MANNERS[manner](memory, random.Random(seed))
        result = await driver.run(PROGRAM.tasks[0], timeout=JOB["limit"] / bus.hertz, watchdog=JOB["limit"])
        memory.run_on()
        np.save(f"result_{number}.npy", np.frombuffer(result.result, np.uint8))
        cycles.append(result.counters["cycles"])
        Path("cycles.json").write_text(json.dumps(cycles))
