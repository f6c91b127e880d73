"""AxiReader against a Python memory: any stall, any length, errors, aborts, a slave that never answers."""

import os
import random

import cocotb
from axi_slaves import Pace, ReadSlave, word_at
from bench import Bench, Sink, Source
from cocotb.handle import SimHandleBase

ADDR_BITS, DATA_BITS, MAX_BURST, MAX_OUTSTANDING, CREDITS = 16, 32, 16, 8, 256  # as in test_axi_reader.py
STEP = DATA_BITS // 8
STRICT = os.environ.get("STRICT", "1") == "1"  # the slave's rules are asserted
LENGTHS = [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 257]


class Consumer:
    """Gives credits back for beats that it took, some time later."""

    def __init__(self, bench: Bench, sink: Sink, rng: random.Random, chance: float) -> None:
        self.bench, self.sink, self.rng, self.chance = bench, sink, rng, chance
        self.released = self.now = 0
        bench.add(self)

    def drive(self) -> None:
        held = len(self.sink.got) - self.released
        self.now = self.rng.randint(0, held) if self.rng.random() < self.chance else 0
        self.released += self.now
        self.bench.set("release", self.now)

    def observe(self) -> None:
        return


class Rig:
    """The reader with its slave and its consumer."""

    def __init__(
        self,
        dut: SimHandleBase,
        *,
        pace: Pace | None = None,
        take: float = 1.0,
        give: float = 1.0,
        free: float = 1.0,
        seed: int = 0,
    ) -> None:
        rng = self.rng = random.Random(seed)
        self.bench = Bench(dut)
        self.cmd = Source(self.bench, "cmd", rng=rng, chance=give)
        self.slave = ReadSlave(
            self.bench, "axi", addr_bits=ADDR_BITS, data_bits=DATA_BITS, max_burst=MAX_BURST, rng=rng, pace=pace
        )
        self.sink = Sink(self.bench, "o", rng=rng, chance=take)
        self.consumer = Consumer(self.bench, self.sink, rng, free)
        self.errors: list[tuple[int, int]] = []
        self.bench.add(self)

    def drive(self) -> None:
        return

    def observe(self) -> None:
        if self.bench.get("error"):
            self.errors.append((self.bench.get("error_addr"), self.bench.get("error_resp")))

    async def start(self) -> None:
        await self.bench.start(
            cmd__valid=0,
            cmd__payload=0,
            o__ready=0,
            release=0,
            abort=0,
            clear=0,
            axi__ar__ready=0,
            axi__r__valid=0,
            axi__r__payload=0,
        )

    def send(self, addr: int, beats: int) -> list[int]:
        """Queue a command; returns the data it must give."""
        self.cmd.items.append(addr | beats << ADDR_BITS)
        return [word_at(addr + STEP * k, DATA_BITS) for k in range(beats)]

    def done(self) -> bool:
        return not self.cmd.items and bool(self.bench.get("idle"))

    def data(self) -> list[int]:
        return [payload for _, payload in self.sink.got]

    async def clear(self) -> None:
        self.bench.set("clear", 1)
        await self.bench.step()
        self.bench.set("clear", 0)
        self.sink.got.clear()
        self.consumer.released = 0


def near_page(rng: random.Random, beats: int) -> int:
    """An address a few beats around a multiple of 4 KiB, the transfer still inside the memory."""
    edge = rng.randrange(4096, (1 << ADDR_BITS) - 4096 - STEP * beats, 4096)
    return edge + STEP * rng.randrange(-40, 40)


@cocotb.test()
@cocotb.parametrize(ar=[1.0, 0.3], r=[1.0, 0.4], take=[1.0, 0.4], free=[1.0, 0.1])
async def transfers(dut: SimHandleBase, ar: float, r: float, take: float, free: float) -> None:
    rig = Rig(dut, pace=Pace(address=ar, data=r, latency=7), take=take, free=free, give=0.5, seed=hash((ar, r, take)))
    await rig.start()
    expected, lengths = [], LENGTHS + [rig.rng.randrange(1, 200) for _ in range(4)]
    rig.rng.shuffle(lengths)
    for beats in lengths:
        expected += rig.send(near_page(rig.rng, beats), beats)
    await rig.bench.until(rig.done, limit=200 + 60 * len(expected))
    assert rig.data() == expected
    assert sum(beats for _, beats in rig.slave.bursts) == len(expected)
    assert rig.bench.get("beats_done") == len(expected)
    assert rig.slave.most_outstanding <= MAX_OUTSTANDING
    assert not rig.errors


@cocotb.test()
async def one_beat_per_cycle_at_100_cycles_of_latency(dut: SimHandleBase) -> None:
    rig = Rig(dut, pace=Pace(latency=100))
    await rig.start()
    expected = rig.send(0x1000, 1024) + rig.send(0x4000, 512) + rig.send(0x8010, 300)
    begin = rig.bench.cycle
    await rig.bench.until(rig.done, limit=4000)
    assert rig.data() == expected
    cycles = [cycle for cycle, _ in rig.sink.got]
    assert cycles[0] - begin == 3 + 100, "command to ARVALID is 3 cycles, then the latency of the memory"
    assert cycles[-1] - cycles[0] == len(expected) - 1


@cocotb.test()
@cocotb.parametrize(resp=[1, 2, 3], index=[0, 1, 9, 10, 25, 26, 99])
async def error_responses(dut: SimHandleBase, resp: int, index: int) -> None:
    addr, beats = 0x2FD8, 100  # 10 beats to the page's end, then bursts of 16
    rig = Rig(dut, pace=Pace(data=0.7, latency=3, errors={addr + STEP * index: resp}), take=0.7)
    await rig.start()
    expected = rig.send(addr, beats)
    await rig.bench.until(rig.done, limit=4000)
    assert rig.data() == expected, "data flow all the same"
    assert rig.errors == [(addr + STEP * index, max(resp, 2))], "EXOKAY, where nothing is exclusive, is an error"


@cocotb.test()
@cocotb.parametrize(stall=[False, True])
async def abort_anywhere(dut: SimHandleBase, stall: bool) -> None:
    pace = Pace(address=0.4, data=0.4, latency=9) if stall else Pace(latency=9)
    rig = Rig(dut, pace=pace, take=0.5 if stall else 1.0, seed=3)
    await rig.start()
    for wait in range(0, 120, 3):
        rig.send(0x1F00, 300)
        rig.send(0x5000, 10)
        await rig.bench.step(wait)
        rig.cmd.items.clear()
        rig.cmd.valid = False
        asked, pending = len(rig.slave.bursts), rig.bench.get("axi__ar__valid")
        rig.bench.set("abort", 1)
        taken = len(rig.sink.got)
        if wait % 2:  # a pulse is enough
            await rig.bench.step()
            rig.bench.set("abort", 0)
        await rig.bench.until(lambda: bool(rig.bench.get("idle")), limit=2000)
        rig.bench.set("abort", 0)
        assert len(rig.slave.bursts) <= asked + pending, "no burst after the abort"
        assert not rig.slave.waiting, "all data owed were taken"
        assert len(rig.sink.got) == taken, "and none delivered"
        await rig.clear()
        assert rig.bench.get("beats_done") == 0
        expected = rig.send(0x3FF0, 260)  # more than the credits: all of them are back
        await rig.bench.until(rig.done, limit=8000)
        assert rig.data() == expected
        await rig.clear()
    assert not rig.errors


@cocotb.test()
async def slave_never_answers(dut: SimHandleBase) -> None:
    rig = Rig(dut, pace=Pace(data=0.0))
    await rig.start()
    rig.send(0x1000, 1000)
    await rig.bench.step(500)
    assert not rig.bench.get("idle") and len(rig.slave.bursts) == MAX_OUTSTANDING
    rig.bench.set("abort", 1)
    await rig.bench.step(500)
    assert not rig.bench.get("idle") and not rig.bench.get("axi__ar__valid")
    rig.slave.pace.data = 1.0  # late, but not never
    await rig.bench.until(lambda: bool(rig.bench.get("idle")), limit=200)
    assert not rig.sink.got


@cocotb.test()
async def slave_never_accepts(dut: SimHandleBase) -> None:
    rig = Rig(dut, pace=Pace(address=0.0))
    await rig.start()
    rig.send(0x1000, 8)
    await rig.bench.step(100)
    rig.bench.set("abort", 1)
    await rig.bench.step(100)
    assert rig.bench.get("axi__ar__valid") and not rig.bench.get("idle"), "an address on offer stays"
    rig.slave.pace.address = 1.0
    await rig.bench.until(lambda: bool(rig.bench.get("idle")), limit=100)
    assert rig.slave.bursts == [(0x1000, 8)] and not rig.sink.got


@cocotb.test()
async def no_credit_no_burst(dut: SimHandleBase) -> None:
    rig = Rig(dut, free=0.0)
    await rig.start()
    rig.send(0x1000, 1000)
    await rig.bench.step(600)
    assert sum(beats for _, beats in rig.slave.bursts) == CREDITS == len(rig.sink.got)
    rig.consumer.chance = 1.0
    await rig.bench.until(rig.done, limit=2000)
    assert len(rig.sink.got) == 1000


@cocotb.test(skip=STRICT)
@cocotb.parametrize(shift=[1, 5])
async def misplaced_last_is_reported(dut: SimHandleBase, shift: int) -> None:
    rig = Rig(dut, pace=Pace(last_shift=shift, latency=5), take=0.6)
    await rig.start()
    expected = rig.send(0x1000, 64)
    await rig.bench.until(rig.done, limit=1000)
    assert rig.data() == expected
    wrong = [k for k in range(64) if k % 16 in (15 - shift, 15)]
    assert rig.errors == [(0x1000 + STEP * k, 2) for k in wrong]
