"""Instruction fetch from a memory whose content is a function of the address, under stalls, errors and aborts."""

import os
import random
from collections import deque

import cocotb
from bench import Bench, Sink

from moesaic.hw.bus.axi import Axi4ReadSignature
from moesaic.hw.control.errors import ErrorReport
from moesaic.hw.spec.registers import ErrorCode, ErrorUnit

ADDR_BITS, DEPTH = 32, 8
SEED = int(os.environ.get("COCOTB_RANDOM_SEED", "1"))
AR = Axi4ReadSignature(addr_bits=ADDR_BITS, data_bits=128).members["ar"].signature.members["payload"].shape
WINDOW = (0x1_0000, 0x10_0000)  # base, bytes
BASES = (0x1_0000, 0x5_0FE0, 0x8_0A60)  # the second begins 32 bytes before a 4 KiB boundary


def beat(address: int) -> int:
    """The 16 bytes of memory at an address."""
    return random.Random(address).getrandbits(128)


def instruction(address: int) -> int:
    return beat(address) | beat(address + 16) << 128


class Memory:
    """AXI4 read slave: in order, ``latency`` cycles from address to first beat, at most one beat per cycle."""

    def __init__(self, bench: Bench, *, rng: random.Random, stall: float, latency: int) -> None:
        self.bench, self.rng, self.stall, self.latency = bench, rng, stall, latency
        self.owed: deque[tuple[int, int, int]] = deque()  # earliest cycle, address, last
        self.bad: dict[int, int] = {}  # address to response
        self.bursts: list[tuple[int, int]] = []
        self.dead = False
        self.ready = self.valid = False
        bench.add(self)

    def drive(self) -> None:
        self.ready = self.rng.random() >= self.stall
        self.bench.set("axi__ar__ready", int(self.ready))
        if not self.valid and self.owed and not self.dead:
            self.valid = self.owed[0][0] <= self.bench.cycle and self.rng.random() >= self.stall
        self.bench.set("axi__r__valid", int(self.valid))
        if self.valid:
            _, address, last = self.owed[0]
            self.bench.set("axi__r__payload", beat(address) | self.bad.get(address, 0) << 128 | last << 130)

    def observe(self) -> None:
        if self.valid and self.bench.get("axi__r__ready"):
            self.owed.popleft()
            self.valid = False
        if self.ready and self.bench.get("axi__ar__valid"):
            ar = AR.from_bits(self.bench.get("axi__ar__payload"))
            beats = ar.len + 1
            self.bursts.append((ar.addr, beats))
            assert WINDOW[0] <= ar.addr and ar.addr + 16 * beats <= sum(WINDOW), f"0x{ar.addr:x} is outside the window"
            assert ar.addr // 4096 == (ar.addr + 16 * beats - 1) // 4096
            for k in range(beats):
                self.owed.append((self.bench.cycle + self.latency + k, ar.addr + 16 * k, int(k == beats - 1)))


class Fetch:
    """The unit with its memory, three consumers and the reports it made."""

    def __init__(
        self, dut, *, stall: float = 0.0, latency: int = 1, chance: tuple[float, ...] = (1.0, 1.0, 1.0)
    ) -> None:
        self.rng = random.Random(SEED)
        self.bench = Bench(dut)
        self.memory = Memory(self.bench, rng=self.rng, stall=stall, latency=latency)
        self.sinks = [Sink(self.bench, f"o__{k}", rng=self.rng, chance=p) for k, p in enumerate(chance)]
        self.reports: list[tuple[int, int, int, int]] = []
        self.bench.observers.append(self.observe)

    def observe(self) -> None:
        report = ErrorReport.from_bits(self.bench.get("report"))
        if report.valid:
            self.reports.append((report.code, report.address, report.unit, report.index))

    async def start(self) -> None:
        await self.bench.start(
            run=0,
            abort=0,
            clear=0,
            axi__ar__ready=0,
            axi__r__valid=0,
            axi__r__payload=0,
            window_base=WINDOW[0],
            window_bytes=WINDOW[1],
            **{f"{name}__{k}": 0 for name in ("base", "count") for k in range(3)},
        )

    async def begin(self, counts: tuple[int, ...], bases: tuple[int, ...] = BASES) -> None:
        """As the supervisor does: clear while abort, then run."""
        for k in range(3):
            self.bench.set(f"base__{k}", bases[k])
            self.bench.set(f"count__{k}", counts[k])
        self.bench.set("abort", 1)
        await self.bench.step(2)
        self.bench.set("clear", 1)
        await self.bench.step(2)
        # Until the clear, queues may still offer what they held.
        for sink in self.sinks:
            sink.got.clear()
        self.reports.clear()
        self.memory.bursts.clear()
        self.bench.set("clear", 0)
        self.bench.set("abort", 0)
        self.bench.set("run", 1)

    async def halt(self) -> None:
        """As the supervisor does after an error."""
        self.bench.set("run", 0)
        self.bench.set("abort", 1)
        await self.bench.step()
        kept = self.bench.get("bytes_read")
        await self.bench.until(lambda: bool(self.bench.get("idle")), 2000)
        assert self.bench.get("bytes_read") == kept, "what returns after an abort is discarded"

    def exhausted(self) -> int:
        return self.bench.get("exhausted")

    def check(self, counts: tuple[int, ...], bases: tuple[int, ...] = BASES, *, complete: bool = True) -> None:
        for k, sink in enumerate(self.sinks):
            got = [payload for _, payload in sink.got]
            assert got == [instruction(bases[k] + 32 * n) for n in range(len(got))], f"stream {k}"
            assert len(got) == counts[k] if complete else len(got) <= counts[k], f"stream {k}: {len(got)}"

    async def whole_run(self, counts: tuple[int, ...]) -> None:
        await self.begin(counts)
        await self.bench.until(lambda: self.exhausted() == 7, 400 + 60 * sum(counts))
        await self.bench.step(30)
        assert not self.reports and self.bench.get("idle") and self.exhausted() == 7
        assert self.bench.get("bytes_read") == 32 * sum(counts)
        self.check(counts)
        self.bench.set("run", 0)


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5], slow=[False, True])
async def every_count(dut, stall: float, slow: bool) -> None:
    fetch = Fetch(dut, stall=stall, latency=5, chance=(0.3, 1.0, 0.6) if slow else (1.0, 1.0, 1.0))
    await fetch.start()
    for counts in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, 3), (DEPTH, DEPTH // 2, DEPTH + 1), (33, 0, 57)):
        await fetch.whole_run(counts)


@cocotb.test()
async def a_thousand_instructions(dut) -> None:
    fetch = Fetch(dut, stall=0.2, latency=20, chance=(0.9, 0.2, 0.9))
    await fetch.start()
    await fetch.whole_run((313, 1000, 77))


@cocotb.test()
async def a_full_queue_holds_up_nobody(dut) -> None:
    for stuck in range(3):
        fetch = Fetch(dut, latency=10, chance=tuple(float(k != stuck) for k in range(3)))
        await fetch.start()
        counts = (60, 61, 62)
        await fetch.begin(counts)
        await fetch.bench.until(lambda fetch=fetch, stuck=stuck: fetch.exhausted() == 7 & ~(1 << stuck), 2000)
        await fetch.bench.step(50)
        assert [len(sink.got) for sink in fetch.sinks] == [0 if k == stuck else counts[k] for k in range(3)]
        fetch.sinks[stuck].chance = 1.0
        await fetch.bench.until(lambda fetch=fetch: fetch.exhausted() == 7, 2000)
        fetch.check(counts)


@cocotb.test()
async def one_beat_per_cycle(dut) -> None:
    """Three long streams keep the port busy in every cycle between the first and the last beat."""
    fetch = Fetch(dut, latency=1)
    await fetch.start()
    bases = (0x1_0000, 0x2_0000, 0x3_0000)
    await fetch.begin((80, 80, 80), bases)
    begin = fetch.bench.cycle
    await fetch.bench.until(lambda: sum(len(sink.got) for sink in fetch.sinks) == 240, 2000)
    arrivals = sorted(cycle for sink in fetch.sinks for cycle, _ in sink.got)
    first = arrivals[0] - begin
    assert first <= 18, f"first instruction after {first} cycles"
    # Two beats are one instruction; a request of four instructions is eight beats and takes eight cycles to make.
    assert arrivals[-1] - arrivals[0] <= 2 * 239 + 8, f"240 instructions in {arrivals[-1] - arrivals[0]} cycles"
    assert len(fetch.memory.bursts) == 60


@cocotb.test()
@cocotb.parametrize(response=[2, 3])
async def error_responses_are_reported_and_the_next_run_is_right(dut, response: int) -> None:
    fetch = Fetch(dut, stall=0.2, latency=12)
    await fetch.start()
    for stream, position in ((0, 0), (1, 5), (2, 39)):
        address = BASES[stream] + 16 * position
        fetch.memory.bad = {address: response}
        counts = (20, 20, 20)
        await fetch.begin(counts)
        await fetch.bench.until(lambda: bool(fetch.reports), 2000)
        await fetch.halt()
        code = ErrorCode.FETCH_SLVERR if response == 2 else ErrorCode.FETCH_DECERR
        assert fetch.reports[0] == (code, address, ErrorUnit.FETCH, stream)
        fetch.memory.bad = {}
        await fetch.whole_run(counts)


@cocotb.test()
async def wild_addresses_are_refused(dut) -> None:
    fetch = Fetch(dut, latency=4)
    await fetch.start()
    low, high = WINDOW[0], sum(WINDOW)
    for stream in range(3):
        for base, count, first_bad in (
            (low - 32, 3, low - 32),
            (high - 64, 3, None),
            (high, 1, high),
            (0, 1, 0),
            (1 << 32 | BASES[0], 1, None),
            ((1 << 64) - 32, 2, None),
            (low + 8, 1, None),
            (high - 32 * 6, 7, high - 32 * 2),
        ):
            bases, counts = list(BASES), [0, 0, 0]
            bases[stream], counts[stream] = base, count
            await fetch.begin(tuple(counts), tuple(bases))
            await fetch.bench.until(lambda: bool(fetch.reports), 300)
            await fetch.bench.step(40)
            want = base if first_bad is None else first_bad
            assert fetch.reports == [(ErrorCode.ADDRESS_RANGE, want, ErrorUnit.FETCH, stream)], f"0x{base:x}"
            await fetch.halt()
    await fetch.begin((2, 0, 0), (high - 64, 0, 0))  # the last bytes of the window are inside
    await fetch.bench.until(lambda: fetch.exhausted() == 7, 300)
    assert not fetch.reports
    await fetch.halt()


@cocotb.test()
async def abort_at_any_time(dut) -> None:
    fetch = Fetch(dut, stall=0.3, latency=15, chance=(0.7, 0.7, 0.7))
    await fetch.start()
    for _ in range(40):
        counts = tuple(fetch.rng.randrange(60) for _ in range(3))
        await fetch.begin(counts)
        await fetch.bench.step(fetch.rng.randrange(1, 120))
        fetch.check(counts, complete=False)
        await fetch.halt()
        assert not fetch.memory.owed
        fetch.check(counts, complete=False)
        await fetch.whole_run(tuple(fetch.rng.randrange(10) for _ in range(3)))


@cocotb.test()
async def a_dead_slave_leaves_it_busy_until_it_answers(dut) -> None:
    fetch = Fetch(dut, latency=3)
    await fetch.start()
    fetch.memory.dead = True
    await fetch.begin((9, 9, 9))
    await fetch.bench.step(60)
    fetch.bench.set("run", 0)
    fetch.bench.set("abort", 1)
    await fetch.bench.step(200)
    assert not fetch.bench.get("idle") and not any(sink.got for sink in fetch.sinks)
    fetch.memory.dead = False
    await fetch.halt()
    await fetch.whole_run((5, 6, 7))
