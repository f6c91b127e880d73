"""The register block of the whole accelerator, read and written field by field against the description.

The description comes from a file, not from the module that the hardware was made of, so that a description that is
wrong can be tried too.
"""

import json
import os
import random
from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from moesaic.boards.driver import Driver
from moesaic.boards.errors import AcceleratorError, BusError
from moesaic.compiler.image import ProgramImage
from moesaic.hw.spec.isa import INSTRUCTION_BYTES
from moesaic.hw.spec.registers import IRQS, MAP_BYTES, Access, ErrorCode, ErrorUnit, Field, Register, RegisterMap
from moesaic.sim.rtl_run import SimulatedBus

OKAY, SLVERR, DECERR = 0, 2, 3
JOB = json.loads(Path(os.environ["MOESAIC_JOB"]).read_text())
PROGRAM = ProgramImage.load(JOB["program"])
IMAGES = np.load(JOB["images"])
TASK = PROGRAM.tasks[0]


def described() -> RegisterMap:
    """The map of the job's description."""
    description = json.loads(Path(os.environ["MOESAIC_REGISTERS"]).read_text())
    registers = tuple(
        Register(
            **{**entry, "access": Access(entry["access"]), "fields": tuple(Field(**field) for field in entry["fields"])}
        )
        for entry in description["registers"]
    )
    return RegisterMap(description["ports"], registers)


TABLE = described()


class Registers:
    """Raw accesses, each with its response, and the values that the description expects."""

    def __init__(self, dut) -> None:
        self.dut = dut
        config = PROGRAM.config
        self.bus = SimulatedBus(
            dut, base=PROGRAM.address, size=1 << 25, word_bytes=config.port_bits // 8, clock_mhz=config.clock_mhz
        )
        self.driver = Driver(self.bus, PROGRAM, timeout=30_000 / self.bus.hertz, watchdog=3000, slots=1)
        self.rng = random.Random(7)

    async def start(self) -> "Registers":
        self.dut.memory.err_resp.value, self.dut.memory.dead_after.value = 0, -1
        await self.bus.reset()
        return self

    async def read(self, offset: int) -> tuple[int, int]:
        try:
            return await self.bus.read(offset), OKAY
        except BusError as error:
            return 0, error.response

    async def write(self, offset: int, value: int) -> int:
        try:
            await self.bus.write(offset, value)
        except BusError as error:
            return error.response
        return OKAY

    async def value(self, name: str) -> int:
        return (await self.read(TABLE[name].offset))[0]

    async def field(self, register: str, field: str) -> int:
        part = TABLE[register][field]
        return (await self.value(register) & part.mask) >> part.lsb

    async def flags(self, register: str) -> set[str]:
        word = await self.value(register)
        assert not word & ~TABLE[register].mask, f"{register}: bits without a meaning must read 0, not {word:#x}"
        return {field.name for field in TABLE[register].fields if word & field.mask}

    async def command(self, name: str) -> None:
        assert await self.write(TABLE["CTRL"].offset, TABLE["CTRL"][name].mask) == OKAY

    async def launch(self) -> None:
        """A run of the program, by the driver, whose knowledge of registers is not that of the description."""
        await self.driver.open()
        await self.driver.write_image(IMAGES[0])
        await self.driver.start(TASK)


def patterns(register: Register, rng: random.Random) -> list[int]:
    """All ones and zeros, each bit alone, each field alone, random words; also bits that have no meaning."""
    bits = [1 << bit for bit in range(32)]
    return [0xFFFF_FFFF, 0, *bits, *(f.mask for f in register.fields), *(rng.getrandbits(32) for _ in range(3)), 0]


@cocotb.test()
async def every_reset_value(dut) -> None:
    s = await Registers(dut).start()
    for register in TABLE:
        expected = 0 if register.access is Access.W1S else register.reset
        assert await s.read(register.offset) == (expected, OKAY), f"{register.name} after reset"


@cocotb.test()
async def every_writable_bit(dut) -> None:
    """RW registers hold the bits that have a meaning, and no write changes another register."""
    s = await Registers(dut).start()
    writable = [register for register in TABLE if register.access is Access.RW]
    held = {register.name: register.reset for register in writable}
    for register in writable:
        for word in patterns(register, s.rng):
            assert await s.write(register.offset, word) == OKAY, register.name
            held[register.name] = word & register.mask
            got = await s.value(register.name)
            assert got == held[register.name], f"{register.name} after {word:#010x}: {got:#010x}"
        word = s.rng.getrandbits(32)
        await s.write(register.offset, word)
        held[register.name] = word & register.mask
    for register in TABLE:
        expected = held.get(register.name, 0 if register.access is Access.W1S else register.reset)
        assert await s.read(register.offset) == (expected, OKAY), f"{register.name} after writes to all others"


@cocotb.test()
async def every_read_only_register_refuses(dut) -> None:
    s = await Registers(dut).start()
    for register in TABLE:
        if register.access is not Access.RO:
            continue
        for word in (0xFFFF_FFFF, 0):
            assert await s.write(register.offset, word) == SLVERR, register.name
        assert await s.read(register.offset) == (register.reset, OKAY), f"{register.name} after refused writes"


@cocotb.test()
async def every_address_without_a_register(dut) -> None:
    s = await Registers(dut).start()
    for offset in range(MAP_BYTES):
        known = offset in TABLE.by_offset
        if not known and (offset % 4 == 0 or offset - offset % 4 in TABLE.by_offset):
            assert await s.read(offset) == (0, SLVERR), f"read of {offset:#x}"
            assert await s.write(offset, 0xFFFF_FFFF) == SLVERR, f"write of {offset:#x}"
    for offset in (MAP_BYTES, MAP_BYTES + TABLE["CTRL"].offset, 2 * MAP_BYTES, 0xFFFC):
        assert await s.read(offset) == (0, DECERR), f"read of {offset:#x}"
        assert await s.write(offset, 0xFFFF_FFFF) == DECERR, f"write of {offset:#x}"
    for register in TABLE:
        expected = 0 if register.access is Access.W1S else register.reset
        assert await s.read(register.offset) == (expected, OKAY), f"{register.name} after refused accesses"


@cocotb.test()
async def locked_while_busy(dut) -> None:
    s = await Registers(dut).start()
    await s.launch()
    dut.memory.dead_after.value = 0  # nothing comes any more: the run lasts
    assert await s.flags("STATUS") == {"busy"}
    for register in TABLE:
        if register.access is not Access.RW:
            continue
        before = await s.value(register.name)
        response = await s.write(register.offset, before ^ register.mask)
        after = await s.value(register.name)
        if register.locked:
            assert (response, after) == (SLVERR, before), f"{register.name} must be locked"
        else:
            assert (response, after) == (OKAY, before ^ register.mask), f"{register.name} must not be locked"
            await s.write(register.offset, before)
    dut.memory.dead_after.value = -1
    await s.command("soft_reset")
    await ClockCycles(dut.aclk, 1000)
    assert await s.flags("STATUS") == set()


@cocotb.test()
async def every_bit_of_status_and_interrupts(dut) -> None:
    """Each bit of CTRL, STATUS, IRQ_ENABLE and IRQ_STATUS does what it says, and 1 clears only the bit that it is
    written to.
    """
    s = await Registers(dut).start()
    assert [field.name for field in TABLE["IRQ_STATUS"].fields] == list(IRQS)
    enable, status = TABLE["IRQ_ENABLE"], TABLE["IRQ_STATUS"]
    await s.launch()
    assert await s.value("CTRL") == 0
    await s.command("start")
    assert await s.flags("STATUS") == {"busy", "start_refused"}
    await s.driver.wait()
    assert await s.flags("STATUS") == {"done", "start_refused"} and await s.flags("IRQ_STATUS") == set()

    async def ends(name: str) -> None:
        """A run of which the event is that one."""
        await s.driver.start(TASK)
        if name == "error":
            await s.command("abort")
        for _ in range(3000):
            if await s.flags("IRQ_STATUS"):
                break
        await ClockCycles(dut.aclk, 500)

    for name in IRQS:
        await s.write(enable.offset, 0)
        await ends(name)
        assert await s.flags("STATUS") == {name} and await s.flags("IRQ_STATUS") == {name}, name
        assert not int(dut.irq.value), "no interrupt that is not enabled"
        await s.write(enable.offset, enable.mask & ~enable[name].mask)
        assert not int(dut.irq.value), "an interrupt that another event enables"
        await s.write(enable.offset, enable[name].mask)
        await RisingEdge(dut.aclk)
        assert int(dut.irq.value), name
        await s.write(status.offset, 0)
        await s.write(status.offset, status.mask & ~status[name].mask)
        assert await s.flags("IRQ_STATUS") == {name} and int(dut.irq.value), "cleared by a bit that is not its own"
        await s.write(status.offset, status[name].mask)
        await RisingEdge(dut.aclk)
        assert await s.flags("IRQ_STATUS") == set() and not int(dut.irq.value), name
    await s.command("soft_reset")
    await ClockCycles(dut.aclk, 100)
    assert await s.flags("STATUS") == set()


@cocotb.test()
async def every_field_of_an_error(dut) -> None:
    """Errors of every unit: code, unit, index and address are those of what was done wrong."""
    s = await Registers(dut).start()
    await s.driver.open()
    await s.driver.write_image(IMAGES[0])
    program = PROGRAM.task(TASK)
    seen = set()
    for stream, unit in (("load", ErrorUnit.LOAD), ("compute", ErrorUnit.COMPUTE), ("store", ErrorUnit.STORE)):
        index = program[stream]["count"] - 1
        address = program[stream]["address"] + index * INSTRUCTION_BYTES
        good = await s.bus.read_memory(address, INSTRUCTION_BYTES)
        await s.bus.write_memory(address, bytes([good[0] | 15]) + good[1:])
        await check_error(s, ErrorCode.BAD_OPCODE, unit, index, 0)
        await s.bus.write_memory(address, good)
        seen.add(unit)
    wild = (1 << 64) - 64
    await check_error(s, ErrorCode.ADDRESS_RANGE, ErrorUnit.FETCH, 1, wild, overrides={"compute_base": wild})
    s.dut.memory.err_addr.value = PROGRAM.region("weights.0").address
    s.dut.memory.err_resp.value = DECERR
    await check_error(s, ErrorCode.READ_DECERR, ErrorUnit.LOAD, None, PROGRAM.region("weights.0").address)
    s.dut.memory.err_resp.value = 0
    await check_error(s, ErrorCode.WATCHDOG, ErrorUnit.CONTROL, 0, 0, overrides={"load_count": 0})
    assert seen | {ErrorUnit.FETCH, ErrorUnit.CONTROL} == set(ErrorUnit)
    await s.driver.run(TASK)
    for register in ("ERROR_CODE", "ERROR_ADDR_LO", "ERROR_ADDR_HI", "ERROR_INSTRUCTION"):
        assert await s.value(register) == 0, f"{register} after a good run"


async def check_error(
    s: Registers, code: ErrorCode, unit: ErrorUnit, index: int | None, address: int, **options: object
) -> None:
    try:
        await s.driver.run(TASK, **options)
        raise AssertionError(f"{code.name} must be raised")
    except AcceleratorError:
        pass
    assert "error" in await s.flags("STATUS")
    word = await s.value("ERROR_INSTRUCTION")
    assert not word & ~TABLE["ERROR_INSTRUCTION"].mask
    got = (
        await s.value("ERROR_CODE"),
        await s.field("ERROR_INSTRUCTION", "unit"),
        await s.field("ERROR_INSTRUCTION", "index"),
        await s.value("ERROR_ADDR_LO") | await s.value("ERROR_ADDR_HI") << 32,
    )
    assert got == (code, unit, got[2] if index is None else index, address), f"{code.name}: {got}"


@cocotb.test()
async def every_counter(dut) -> None:
    """Both words of each counter; cleared by a start, kept after the run; equal to what the test bench knows."""
    s = await Registers(dut).start()
    dut.memory.bandwidth.value = 2  # bytes per cycle: the array starves too
    await s.launch()
    counters = await s.driver.wait()
    for name, count in counters.items():
        words = [name.upper()] if name.upper() in TABLE else [f"{name.upper()}_LO", f"{name.upper()}_HI"]
        got = sum([await s.value(word) << 32 * k for k, word in enumerate(words)])
        assert got == count, f"{name} after the run"
    region, program = PROGRAM.region("result"), PROGRAM.task(TASK)
    streams = [program[stream]["count"] for stream in ("load", "compute", "store")]
    assert counters["marks"] == len(program["marks"])
    assert counters["instructions_retired"] == sum(streams)
    assert counters["fetch_bytes"] == INSTRUCTION_BYTES * sum(streams)
    assert counters["store_bytes"] == region.bytes
    idle = ("busy", "starved", "loading", "blocked", "idle")
    assert 0 < sum(counters[f"array_{name}"] for name in idle) <= counters["cycles"]
    never = {"speculated_bytes_dropped", "load_blocked_space", "load_blocked_router", "loader_blocked", "array_loading"}
    assert all(count > 0 for name, count in counters.items() if name not in never), counters
    await s.driver.start(TASK, watchdog=0)
    assert await s.value("CYCLES_LO") < counters["cycles"] and await s.value("MARKS") == 0
    again = await s.driver.wait()
    assert again["marks"] == counters["marks"] and again["fetch_bytes"] == counters["fetch_bytes"]
