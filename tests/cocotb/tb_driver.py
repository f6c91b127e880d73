"""The driver on the whole accelerator over AXI4-Lite: scenarios of a host, by the job file that the test wrote."""

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import cocotb
import numpy as np
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge

from moesaic.boards.driver import Driver
from moesaic.boards.errors import AcceleratorBusy, AcceleratorError, RunLost, RunTimeout
from moesaic.boards.runtime import Accelerator
from moesaic.compiler.image import ProgramImage
from moesaic.hw.spec.isa import INSTRUCTION_BYTES
from moesaic.sim.rtl_run import SimulatedBus

SLVERR = 2
WATCHDOG = 3000  # cycles
JOB = json.loads(Path(os.environ["MOESAIC_JOB"]).read_text())
PROGRAM = ProgramImage.load(JOB["program"])
IMAGES = np.load(JOB["images"])
LIMIT = JOB["limit"]  # cycles of a run


class Scenario:
    """A driver on the simulated accelerator, and a record of every good result for the test to compare."""

    def __init__(self, dut, **options: object) -> None:
        config = PROGRAM.config
        self.dut = dut
        self.bus = SimulatedBus(
            dut, base=PROGRAM.address, size=1 << 25, word_bytes=config.port_bits // 8, clock_mhz=config.clock_mhz
        )
        self.cycle = 1 / self.bus.hertz  # seconds
        options = {"timeout": LIMIT * self.cycle, "watchdog": WATCHDOG, **options}
        self.driver = Driver(self.bus, PROGRAM, **options)

    async def open(self) -> "Scenario":
        self.dut.memory.err_resp.value, self.dut.memory.dead_after.value = 0, -1
        await self.bus.reset()
        await self.driver.open()
        return self

    def keep(self, name: str, number: int, result) -> None:
        """Save a result, and check what a good run leaves."""
        assert result.counters["marks"] == len(PROGRAM.task(result.task)["marks"])
        assert result.counters["cycles"] > 0
        folder = Path("results")
        folder.mkdir(exist_ok=True)
        np.savez(
            folder / f"{name}-{number}.npz",
            task=result.task,
            image=number,
            result=np.frombuffer(result.result, np.uint8),
        )

    async def good(self, name: str, number: int = 0) -> None:
        """A run that must be correct."""
        self.keep(name, number, await self.driver.run(PROGRAM.tasks[number % len(PROGRAM.tasks)], IMAGES[number]))

    async def memory(self, **values: int) -> None:
        for key, value in values.items():
            getattr(self.dut.memory, key).value = value
        await RisingEdge(self.dut.aclk)

    async def fails(self, kind: type[Exception], **options: object) -> Exception:
        """A run that must end with that exception."""
        task = PROGRAM.tasks[0]
        try:
            await self.driver.run(task, IMAGES[0], **options)
        except kind as error:
            return error
        raise AssertionError(f"{kind.__name__} must be raised")

    async def during(self, cycles: int, action: Callable[[], Awaitable[object]]) -> None:
        async def later() -> None:
            await ClockCycles(self.dut.aclk, cycles)
            await action()

        cocotb.start_soon(later())


def error_of(error: Exception) -> tuple[str, str, int, int]:
    assert isinstance(error, AcceleratorError)
    return error.code.name, error.unit.name, error.index, error.address


@cocotb.test()
async def queue_of_images(dut) -> None:
    """Tasks alternating, interrupt-driven, two slots: the next image is written while the one before runs."""
    s = await Scenario(dut).open()
    interrupts, count = 0, len(IMAGES)
    waited = s.bus.wait_interrupt

    async def counted(seconds: float) -> bool:
        nonlocal interrupts
        raised = await waited(seconds)
        interrupts += raised
        return raised

    s.bus.wait_interrupt = counted
    places = set()
    for number in range(count):
        done = await s.driver.submit(PROGRAM.tasks[number % len(PROGRAM.tasks)], IMAGES[number])
        places.add(s.driver._flight.slot)
        if done is not None:
            s.keep("queue", number - 1, done)
    s.keep("queue", count - 1, await s.driver.collect())
    assert await s.driver.collect() is None
    assert interrupts == count and places == {0, 1}


@cocotb.test()
async def queue_with_one_slot(dut) -> None:
    s = await Scenario(dut, slots=1).open()
    for number in range(2):
        done = await s.driver.submit(PROGRAM.tasks[number % len(PROGRAM.tasks)], IMAGES[number])
        if done is not None:
            s.keep("sequential", number - 1, done)
    s.keep("sequential", 1, await s.driver.collect())


@cocotb.test()
async def bus_error(dut) -> None:
    s = await Scenario(dut).open()
    address = s.driver.program.region("weights.0").address + 1600
    await s.memory(err_addr=address, err_resp=SLVERR)
    error = await s.fails(AcceleratorError)
    code, unit, _, where = error_of(error)
    assert (code, unit, where) == ("READ_SLVERR", "LOAD", address), error
    await s.memory(err_resp=0)
    await s.good("after_bus_error")


@cocotb.test()
async def corrupt_instruction(dut) -> None:
    s = await Scenario(dut).open()
    index = 3
    address = s.driver.program.task(PROGRAM.tasks[0])["compute"]["address"] + index * INSTRUCTION_BYTES
    good = await s.bus.read_memory(address, INSTRUCTION_BYTES)
    await s.bus.write_memory(address, bytes([good[0] | 15]) + good[1:])
    assert error_of(await s.fails(AcceleratorError)) == ("BAD_OPCODE", "COMPUTE", index, 0)
    # A second attempt writes the program again, so that this one is good; and says what happened.
    await s.bus.write_memory(address, bytes([good[0] | 15]) + good[1:])
    result = await s.driver.run(PROGRAM.tasks[0], IMAGES[0], retries=1)
    assert len(result.failures) == 1 and result.failures[0].startswith("BAD_OPCODE")
    s.keep("after_corrupt_instruction", 0, result)


@cocotb.test()
async def soft_reset_in_mid_run(dut) -> None:
    s = await Scenario(dut).open()
    control = s.driver.table["CTRL"]
    await s.during(1500, lambda: s.bus.write(control.offset, control["soft_reset"].mask))
    error = await s.fails(RunLost)
    assert error.name == "SOFT_RESET", error
    await s.good("after_soft_reset")


@cocotb.test()
async def hardware_reset_in_mid_run(dut) -> None:
    s = await Scenario(dut).open()
    await s.during(1500, s.bus.reset)
    error = await s.fails(RunLost)
    assert error.name == "HARDWARE_RESET", error
    await s.good("after_hardware_reset", 1)
    await s.bus.reset()  # between two runs: nothing is lost but the registers
    await s.good("after_idle_reset", 1)


@cocotb.test()
async def abort_in_mid_run(dut) -> None:
    s = await Scenario(dut).open()
    control = s.driver.table["CTRL"]
    await s.during(1500, lambda: s.bus.write(control.offset, control["abort"].mask))
    assert error_of(await s.fails(AcceleratorError))[:2] == ("HOST_ABORT", "CONTROL")
    await s.good("after_abort")


@cocotb.test()
async def a_bus_that_is_silent(dut) -> None:
    """With the watchdog: its error. Without: the driver's time-out. Either way not for ever, and then as good
    as new.
    """
    s = await Scenario(dut).open()
    await s.memory(dead_port=0, dead_after=5)
    assert error_of(await s.fails(AcceleratorError))[:2] == ("WATCHDOG", "CONTROL")
    try:
        await s.driver.start(PROGRAM.tasks[0])
        raise AssertionError("a start must be refused while the bus owes responses")
    except AcceleratorBusy as error:
        assert "draining" in str(error)
    await s.memory(dead_after=-1)
    await s.good("after_watchdog")
    await s.memory(dead_after=5)
    error = await s.fails(RunTimeout, watchdog=0, timeout=5000 * s.cycle)
    assert not error.idle and "STATUS busy" in str(error), error
    await s.memory(dead_after=-1)
    await s.good("after_timeout", 1)


@cocotb.test()
async def retries_in_the_queue(dut) -> None:
    """A fault that passes costs an attempt, and no result."""
    s = await Scenario(dut, retries=2).open()
    assert await s.driver.submit(PROGRAM.tasks[0], IMAGES[0]) is None
    control = s.driver.table["CTRL"]
    await s.bus.write(control.offset, control["abort"].mask)
    first = await s.driver.submit(PROGRAM.tasks[1 % len(PROGRAM.tasks)], IMAGES[1])
    assert [text.split(":")[0] for text in first.failures] == ["HOST_ABORT"]
    s.keep("retried", 0, first)
    second = await s.driver.collect()
    assert not second.failures
    s.keep("retried", 1, second)


@cocotb.test()
async def start_while_busy(dut) -> None:
    """Nothing is written while a run lasts: it ends as if nothing had been tried, and no write is refused."""
    s = await Scenario(dut).open()
    await s.driver.write_image(IMAGES[0])
    await s.driver.start(PROGRAM.tasks[0])
    for _ in range(3):
        try:
            await s.driver.start(PROGRAM.tasks[-1])
            raise AssertionError("a start must be refused during a run")
        except AcceleratorBusy as error:
            assert "STATUS busy" in str(error)
    result = await s.driver.finish()
    assert result.counters["marks"] == len(PROGRAM.task(PROGRAM.tasks[0])["marks"])
    assert not await s.driver._is("start_refused")
    await s.good("after_busy", 1)


@cocotb.test()
async def ordinary_code(dut) -> None:
    """The class that users call on a board, without `await`, on the RTL: in a thread that the simulator waits for."""
    s = await Scenario(dut).open()

    async def awaited(coroutine):
        return await coroutine

    def script() -> list:
        with Accelerator(
            s.bus, PROGRAM, run=resume(awaited), timeout=LIMIT * s.cycle, watchdog=WATCHDOG
        ) as accelerator:
            first = accelerator.run(IMAGES[0].transpose(1, 2, 0), PROGRAM.tasks[0])
            return [first, *accelerator.stream((image, PROGRAM.tasks[0]) for image in IMAGES[:2])]

    for number, prediction in zip((0, 0, 1), await bridge(script)(), strict=True):
        folder = Path("results")
        folder.mkdir(exist_ok=True)
        np.savez(
            folder / f"ordinary-{len(list(folder.glob('ordinary*')))}.npz",
            task=prediction.task,
            image=number,
            tokens=prediction.tokens,
        )
