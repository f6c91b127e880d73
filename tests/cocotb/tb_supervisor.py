"""Supervisor: every way into and out of a run, and random traffic against a model of what the host was promised."""

import os
import random

import cocotb
from bench import Bench

from moesaic.hw.control.errors import ErrorReport
from moesaic.hw.spec.registers import ErrorCode, ErrorUnit

SOURCES, CLEAR_CYCLES = 3, 2
SEED = int(os.environ.get("COCOTB_RANDOM_SEED", "1"))
NAMES = (
    "run",
    "abort",
    "clear",
    "started",
    "counting",
    "busy",
    "done",
    "error",
    "draining",
    "start_refused",
    "irq_status",
    "irq",
)
INPUTS = {
    "start": 0,
    "abort_request": 0,
    "soft_reset": 0,
    "watchdog": 0,
    "finished": 0,
    "progress": 0,
    "bus_idle": 1,
    "irq_enable": 3,
    "irq_clear": 0,
} | {f"errors__{k}": 0 for k in range(SOURCES)}
DONE_IRQ, ERROR_IRQ = 1, 2


def failure(code: int, address: int = 0, unit: int = 0, index: int = 0) -> int:
    return ErrorReport.const({"valid": 1, "code": code, "address": address, "unit": unit, "index": index}).as_bits()


class Driver:
    def __init__(self, dut) -> None:
        self.bench = Bench(dut)
        self.seen: dict[str, int] = {}
        self.bench.observers.append(self.observe)

    def observe(self) -> None:
        self.seen = {name: self.bench.get(name) for name in NAMES}
        assert not (self.seen["clear"] and not self.bench.last["bus_idle"]), "clear while the bus is busy"
        assert not (self.seen["run"] and self.seen["error"]), "run with an error"
        assert not (self.seen["run"] and (self.seen["abort"] or self.seen["clear"])), "run while stopping"

    async def begin(self, **inputs: int) -> None:
        await self.bench.start(**(INPUTS | inputs))
        await self.bench.step()

    async def step(self, count: int = 1, **inputs: int) -> dict[str, int]:
        """Pass cycles with the inputs, which stay; outputs are those of the last cycle."""
        for name, value in inputs.items():
            self.bench.set(name, value)
        await self.bench.step(count)
        return self.seen

    async def pulse(self, **inputs: int) -> dict[str, int]:
        """The inputs for one cycle; outputs are those of the next."""
        await self.step(**inputs)
        return await self.step(**dict.fromkeys(inputs, 0))

    async def to_run(self) -> None:
        seen = await self.pulse(start=1)
        assert seen["busy"] and not seen["run"] and seen["abort"]
        cleared = 0
        for _ in range(CLEAR_CYCLES + 1):
            cleared += self.seen["clear"]
            assert not self.seen["run"]
            await self.step()
        assert self.seen["run"] and self.seen["busy"] and not self.seen["clear"], self.seen
        assert cleared == CLEAR_CYCLES

    def report(self) -> tuple[int, int, int, int, int]:
        view = ErrorReport.from_bits(self.bench.get("report"))
        return view.valid, view.code, view.address, view.unit, view.index


@cocotb.test()
async def start_run_drain_done(dut) -> None:
    d = Driver(dut)
    await d.begin()
    assert not any(d.seen.values())
    for _ in range(3):
        await d.to_run()
        assert not d.seen["done"]
        await d.step(5, bus_idle=0)
        seen = await d.pulse(finished=1)
        assert seen["draining"] and not seen["run"] and not seen["abort"] and seen["busy"] and not seen["done"]
        seen = await d.step(10)
        assert seen["draining"] and not seen["irq"]
        await d.step(bus_idle=1)
        seen = await d.step()
        assert seen["done"] and not seen["busy"] and seen["irq"] and not seen["abort"]
        assert seen["irq_status"] == DONE_IRQ
        seen = await d.pulse(irq_clear=DONE_IRQ)
        assert seen["done"] and not seen["irq"] and seen["irq_status"] == 0


@cocotb.test()
async def errors_are_latched_and_the_next_run_is_clean(dut) -> None:
    d = Driver(dut)
    await d.begin()
    for source in range(SOURCES):
        await d.to_run()
        await d.step(bus_idle=0)
        inputs = {
            f"errors__{k}": failure(1 + k, 0x1234_5678_9ABC_0000 + k, 2 + k, 100 + k) for k in range(source, SOURCES)
        }
        seen = await d.pulse(**inputs)
        assert seen["error"] and seen["draining"] and seen["abort"] and not seen["run"]
        seen = await d.step()
        assert seen["irq"] and seen["irq_status"] == ERROR_IRQ, "in the next cycle, not after the drain"
        want = (1, 1 + source, 0x1234_5678_9ABC_0000 + source, 2 + source, 100 + source)
        assert d.report() == want
        await d.pulse(errors__0=failure(9, 9, 9, 9), finished=1)
        assert d.report() == want, "the first error is kept"
        await d.step(bus_idle=1)
        seen = await d.step()
        assert seen["error"] and not seen["busy"] and not seen["draining"] and seen["abort"] and not seen["done"]
        await d.step(5)
        assert d.report() == want and d.seen["error"]
        await d.pulse(irq_clear=3)
    await d.to_run()
    assert d.report() == (0, 0, 0, 0, 0)


@cocotb.test()
async def error_while_a_successful_run_drains(dut) -> None:
    d = Driver(dut)
    await d.begin()
    await d.to_run()
    await d.step(bus_idle=0)
    await d.pulse(finished=1)
    await d.step(3)
    # The response that makes the bus idle is the one that fails.
    seen = await d.pulse(errors__1=failure(ErrorCode.WRITE_SLVERR, 64, ErrorUnit.STORE, 3), bus_idle=1)
    assert seen["error"] and seen["draining"] and not seen["done"]
    await d.step(2, bus_idle=1)
    assert d.seen["error"] and not d.seen["busy"] and d.seen["irq_status"] == ERROR_IRQ
    assert d.report() == (1, ErrorCode.WRITE_SLVERR, 64, ErrorUnit.STORE, 3)


@cocotb.test()
@cocotb.parametrize(cycles=[1, 2, 37])
async def watchdog_counts_cycles_without_progress(dut, cycles: int) -> None:
    d = Driver(dut)
    await d.begin(watchdog=cycles, progress=1)
    await d.to_run()
    await d.step(bus_idle=0, progress=1)
    for _ in range(3):  # progress at the last moment
        await d.step(cycles - 1, progress=0)
        await d.step(progress=1)
    seen = await d.step(cycles, progress=0)
    assert seen["run"]
    await d.step()
    seen = await d.step()
    assert seen["error"] and not seen["run"]
    assert d.report() == (1, ErrorCode.WATCHDOG, 0, ErrorUnit.CONTROL, 0)


@cocotb.test()
async def watchdog_can_be_off(dut) -> None:
    d = Driver(dut)
    await d.begin(watchdog=0)
    await d.to_run()
    await d.step(300)
    assert d.seen["run"]


@cocotb.test()
async def a_slave_that_never_answers(dut) -> None:
    d = Driver(dut)
    await d.begin(watchdog=20)
    await d.to_run()
    await d.step(40, bus_idle=0)
    assert d.seen["error"] and d.seen["draining"] and d.seen["irq"] and d.seen["busy"] and not d.seen["start_refused"]
    await d.pulse(start=1)
    seen = await d.step()
    assert seen["start_refused"] and seen["draining"] and d.report()[1] == ErrorCode.WATCHDOG
    await d.pulse(soft_reset=1)
    seen = await d.step(100)
    assert seen["error"] and seen["draining"] and not seen["clear"]
    await d.step(CLEAR_CYCLES + 3, bus_idle=1)  # it answers after all
    assert not any(d.seen[name] for name in ("busy", "error", "done", "draining", "start_refused")), d.seen
    assert d.report() == (0, 0, 0, 0, 0)
    await d.to_run()


@cocotb.test()
async def a_dead_slave_during_the_final_drain(dut) -> None:
    d = Driver(dut)
    await d.begin(watchdog=10)
    await d.to_run()
    await d.step(bus_idle=0, progress=1)
    await d.pulse(finished=1)
    await d.step(15, progress=0)
    assert d.seen["error"] and d.seen["draining"] and d.seen["abort"] and d.report()[1] == ErrorCode.WATCHDOG


@cocotb.test()
async def host_abort(dut) -> None:
    d = Driver(dut)
    await d.begin()
    seen = await d.pulse(abort_request=1)
    assert not seen["busy"] and not seen["error"], "ignored when nothing runs"
    await d.to_run()
    seen = await d.pulse(abort_request=1, errors__2=failure(5, 6, 7, 8))
    assert d.report() == (1, 5, 6, 7, 8), "a unit's error wins"
    await d.step(2)
    await d.to_run()
    await d.pulse(abort_request=1)
    await d.step(2)
    assert d.seen["error"] and not d.seen["busy"]
    assert d.report() == (1, ErrorCode.HOST_ABORT, 0, ErrorUnit.CONTROL, 0)


@cocotb.test()
@cocotb.parametrize(when=["idle", "clearing", "running", "draining", "failed", "done"])
async def soft_reset_from_every_state(dut, when: str) -> None:
    d = Driver(dut)
    await d.begin()
    if when == "clearing":  # abort is asserted: the bus stays idle
        await d.pulse(start=1)
        await d.pulse(soft_reset=1)
        await d.step(CLEAR_CYCLES + 1)
        assert not any(d.seen[name] for name in ("busy", "run", "abort", "clear"))
        await d.to_run()
        return
    if when != "idle":
        await d.to_run()
        if when in ("draining", "done"):
            await d.step(bus_idle=0)
            await d.pulse(finished=1)
            await d.step(3, bus_idle=int(when == "done"))
        elif when == "failed":
            await d.pulse(errors__0=failure(4))
            await d.step(3)
            assert d.seen["error"] and not d.seen["busy"]
    await d.step(bus_idle=0)
    await d.pulse(soft_reset=1)
    seen = await d.step(10)
    assert seen["abort"] and seen["busy"] and not seen["clear"] and not seen["run"], when
    clears = 0
    await d.step(bus_idle=1)
    for _ in range(CLEAR_CYCLES + 4):
        clears += d.seen["clear"]
        await d.step()
    assert clears >= 1 and not any(d.seen[n] for n in ("busy", "error", "done", "draining", "abort", "run")), d.seen
    await d.to_run()


@cocotb.test()
async def refused_starts(dut) -> None:
    d = Driver(dut)
    await d.begin(bus_idle=0)
    await d.pulse(start=1)
    seen = await d.step()
    assert seen["start_refused"] and not seen["busy"], "the bus is not idle"
    await d.step(bus_idle=1)
    await d.to_run()
    assert not d.seen["start_refused"], "cleared by an accepted start"
    await d.pulse(start=1)
    seen = await d.step()
    assert seen["start_refused"] and seen["run"] and not seen["error"]
    await d.pulse(finished=1)
    await d.step(3)
    assert d.seen["done"] and d.seen["start_refused"]


@cocotb.test()
async def interrupts_follow_their_enables(dut) -> None:
    d = Driver(dut)
    await d.begin(irq_enable=0)
    await d.to_run()
    await d.pulse(errors__0=failure(1))
    await d.step(3)
    assert d.seen["irq_status"] == ERROR_IRQ and not d.seen["irq"]
    await d.step(2, irq_enable=DONE_IRQ)
    assert not d.seen["irq"]
    await d.step(2, irq_enable=ERROR_IRQ)
    assert d.seen["irq"]
    await d.pulse(irq_clear=DONE_IRQ)
    assert d.seen["irq"] and d.seen["irq_status"] == ERROR_IRQ
    await d.pulse(irq_clear=ERROR_IRQ)
    assert not d.seen["irq"]
    # An event in the cycle in which its bit is cleared is not lost.
    await d.to_run()
    await d.step(errors__0=failure(1))
    await d.step(errors__0=0, irq_clear=3)
    await d.step(irq_clear=0)
    assert d.seen["irq_status"] == ERROR_IRQ and d.seen["irq"]


@cocotb.test()
async def random_life(dut) -> None:
    """Hosts and units that do anything: each start that is accepted runs, each run ends, nothing hangs."""
    rng = random.Random(SEED)
    d = Driver(dut)
    await d.begin(watchdog=60)
    outcomes = {"done": 0, "error": 0, "reset": 0, "refused": 0}
    for _ in range(150):
        await d.step(1, bus_idle=1, progress=1, finished=0)
        if d.seen["busy"]:
            await d.step(CLEAR_CYCLES + 5)
        assert not d.seen["busy"], d.seen
        await d.to_run()
        owed, wants_reset, wait = rng.randrange(30), rng.random() < 0.2, rng.randrange(20)
        events = [rng.choice(("finish", "error", "abort", "nothing")) for _ in range(2)]
        expected = None  # code of the first error
        await d.step(wait, bus_idle=0, progress=1)
        for event in events:
            before = dict(d.seen)
            if event == "finish":
                await d.pulse(finished=1)
            elif event == "error":
                source, code = rng.randrange(SOURCES), rng.randrange(1, 10)
                expected = expected or code
                await d.pulse(**{f"errors__{source}": failure(code)})
            elif event == "abort":
                expected = expected or ErrorCode.HOST_ABORT
                await d.pulse(abort_request=1)
            else:
                await d.step(3)
                assert d.seen["run"] == before["run"]
            if rng.random() < 0.2:
                await d.pulse(start=1)
                await d.step()
                assert d.seen["start_refused"]
                outcomes["refused"] += 1
        if d.seen["run"]:
            await d.pulse(finished=1)
        if wants_reset:
            await d.pulse(soft_reset=1)
        await d.step(owed)
        assert d.seen["draining"] and d.seen["busy"]
        await d.step(CLEAR_CYCLES + 4, bus_idle=1)
        assert not d.seen["busy"]
        if wants_reset:
            assert not d.seen["error"] and not d.seen["done"]
            outcomes["reset"] += 1
        elif expected:
            assert d.seen["error"] and d.report()[1] == expected
            outcomes["error"] += 1
        else:
            assert d.seen["done"] and not d.seen["error"]
            outcomes["done"] += 1
    assert all(count >= 10 for count in outcomes.values()), outcomes
