"""AxiWriter against a Python memory: any stall, any length, errors, aborts, a slave that never answers."""

import random

import cocotb
from axi_slaves import Pace, WriteSlave
from bench import Bench, Source
from cocotb.handle import SimHandleBase

ADDR_BITS, DATA_BITS, MAX_BURST, MAX_OUTSTANDING = 16, 32, 16, 4  # as in test_axi_writer.py
STEP = DATA_BITS // 8
LENGTHS = [1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 257]


class Rig:
    """The writer with its slave."""

    def __init__(self, dut: SimHandleBase, *, pace: Pace | None = None, give: float = 1.0, seed: int = 0) -> None:
        rng = self.rng = random.Random(seed)
        self.bench = Bench(dut)
        self.cmd = Source(self.bench, "cmd", rng=rng, chance=0.5)
        self.input = Source(self.bench, "i", rng=rng, chance=give)
        self.slave = WriteSlave(
            self.bench, "axi", addr_bits=ADDR_BITS, data_bits=DATA_BITS, max_burst=MAX_BURST, rng=rng, pace=pace
        )
        self.errors: list[tuple[int, int]] = []
        self.beats: list[int] = []  # cycles of the transfers on W
        self.bench.add(self)

    def drive(self) -> None:
        return

    def observe(self) -> None:
        if self.bench.get("error"):
            self.errors.append((self.bench.get("error_addr"), self.bench.get("error_resp")))
        if self.slave.w_ready and self.bench.get("axi__w__valid"):
            self.beats.append(self.bench.cycle)

    async def start(self) -> None:
        await self.bench.start(
            cmd__valid=0,
            cmd__payload=0,
            i__valid=0,
            i__payload=0,
            abort=0,
            clear=0,
            axi__aw__ready=0,
            axi__w__ready=0,
            axi__b__valid=0,
            axi__b__payload=0,
        )

    def send(self, addr: int, beats: int) -> dict[int, int]:
        """Queue a command and its data; returns what it must leave in memory."""
        self.cmd.items.append(addr | beats << ADDR_BITS)
        written = {addr + STEP * k: self.rng.getrandbits(DATA_BITS) for k in range(beats)}
        self.input.items.extend(written.values())
        return written

    def done(self) -> bool:
        return not self.cmd.items and bool(self.bench.get("idle"))

    def drop(self) -> None:
        """Reset what feeds the writer."""
        for source in (self.cmd, self.input):
            source.items.clear()
            source.valid = False


def near_page(rng: random.Random, beats: int) -> int:
    edge = rng.randrange(4096, (1 << ADDR_BITS) - 4096 - STEP * beats, 4096)
    return edge + STEP * rng.randrange(-40, 40)


@cocotb.test()
@cocotb.parametrize(aw=[1.0, 0.3], w=[1.0, 0.4], b=[1.0, 0.1], give=[1.0, 0.4])
async def transfers(dut: SimHandleBase, aw: float, w: float, b: float, give: float) -> None:
    rig = Rig(dut, pace=Pace(address=aw, data=w, response=b, latency=5), give=give, seed=hash((aw, w, b, give)))
    await rig.start()
    expected: dict[int, int] = {}
    total = 0
    lengths = LENGTHS + [rig.rng.randrange(1, 200) for _ in range(4)]
    rig.rng.shuffle(lengths)
    for beats in lengths:
        expected |= rig.send(near_page(rig.rng, beats), beats)
        total += beats
    await rig.bench.until(rig.done, limit=200 + 40 * total)
    assert rig.slave.memory == expected
    assert sum(beats for _, beats in rig.slave.bursts) == rig.bench.get("beats_done") == total
    assert rig.slave.most_outstanding <= MAX_OUTSTANDING
    assert not rig.errors and not rig.slave.blank and not rig.slave.answers


@cocotb.test()
@cocotb.parametrize(order=["address", "wvalid", "data"], chance=[1.0, 0.4], outstanding=[1, 20])
async def a_slave_may_wait_for_either_channel(dut: SimHandleBase, order: str, chance: float, outstanding: int) -> None:
    pace = Pace(address=chance, data=chance, response=chance, latency=outstanding, order=order)
    rig = Rig(dut, pace=pace, give=chance, seed=hash((order, chance)))
    await rig.start()
    expected: dict[int, int] = {}
    for beats in LENGTHS:
        expected |= rig.send(near_page(rig.rng, beats), beats)
    await rig.bench.until(rig.done, limit=40 * sum(LENGTHS))
    assert rig.slave.memory == expected and not rig.slave.early
    rig.send(0x1F00, 300)
    await rig.bench.step(50)
    rig.drop()
    rig.bench.set("abort", 1)
    await rig.bench.until(lambda: bool(rig.bench.get("idle")), limit=1000)
    assert not rig.slave.filling and not rig.slave.early and not rig.slave.answers


@cocotb.test()
async def one_beat_per_cycle(dut: SimHandleBase) -> None:
    rig = Rig(dut, pace=Pace(latency=20))
    await rig.start()
    expected = rig.send(0x1000, 512) | rig.send(0x4010, 300)
    await rig.bench.until(rig.done, limit=2000)
    assert rig.slave.memory == expected
    assert rig.beats[-1] - rig.beats[0] == len(expected) - 1


@cocotb.test()
@cocotb.parametrize(resp=[1, 2, 3], index=[0, 9, 10, 26, 99])
async def error_responses(dut: SimHandleBase, resp: int, index: int) -> None:
    addr, beats = 0x2FD8, 100  # 10 beats to the page's end, then bursts of 16
    rig = Rig(dut, pace=Pace(data=0.7, latency=3, errors={addr + STEP * index: resp}))
    await rig.start()
    expected = rig.send(addr, beats)
    await rig.bench.until(rig.done, limit=4000)
    assert rig.slave.memory == expected
    burst = max(begin for begin, _ in rig.slave.bursts if begin <= addr + STEP * index)
    assert rig.errors == [(burst, max(resp, 2))], "EXOKAY, where nothing is exclusive, is an error of the slave"


@cocotb.test()
@cocotb.parametrize(stall=[False, True])
async def abort_anywhere(dut: SimHandleBase, stall: bool) -> None:
    pace = Pace(address=0.4, data=0.4, response=0.2, latency=9) if stall else Pace(latency=9)
    rig = Rig(dut, pace=pace, give=0.5 if stall else 1.0, seed=3)
    await rig.start()
    blank = 0
    for wait in range(1, 120, 3):
        offered = rig.send(0x1F00, 300)
        await rig.bench.step(wait)
        asked, pending = len(rig.slave.bursts), rig.bench.get("axi__aw__valid")
        rig.drop()
        rig.bench.set("abort", 1)
        if wait % 2:  # a pulse is enough
            await rig.bench.step()
            rig.bench.set("abort", 0)
        await rig.bench.until(lambda: bool(rig.bench.get("idle")), limit=4000)
        rig.bench.set("abort", 0)
        assert len(rig.slave.bursts) <= asked + pending, "no burst after the abort"
        assert not rig.slave.filling and not rig.slave.answers, "all bursts are complete and answered"
        assert rig.slave.memory.items() <= offered.items(), "what was written is right"
        assert rig.bench.get("beats_done") == len(rig.slave.memory)
        blank += rig.slave.blank
        rig.slave.memory, rig.slave.blank = {}, 0
        rig.bench.set("clear", 1)
        await rig.bench.step()
        rig.bench.set("clear", 0)
        expected = rig.send(0x3FF0, 100)
        await rig.bench.until(rig.done, limit=8000)
        assert rig.slave.memory == expected and not rig.slave.blank
        rig.slave.memory = {}
        rig.bench.set("clear", 1)
        await rig.bench.step()
        rig.bench.set("clear", 0)
    assert blank > 20, "the trials left bursts to complete"
    assert not rig.errors


@cocotb.test()
@cocotb.parametrize(dead=["address", "data", "response"])
async def slave_never_answers(dut: SimHandleBase, dead: str) -> None:
    rig = Rig(dut, pace=Pace(**{dead: 0.0}))
    await rig.start()
    rig.send(0x1000, 200)
    await rig.bench.step(300)
    assert not rig.bench.get("idle") and len(rig.slave.bursts) <= MAX_OUTSTANDING
    rig.drop()
    rig.bench.set("abort", 1)
    await rig.bench.step(300)
    assert not rig.bench.get("idle")
    assert rig.bench.get("axi__aw__valid") == (dead == "address"), "an address on offer stays, no other follows"
    setattr(rig.slave.pace, dead, 1.0)  # late, but not never
    await rig.bench.until(lambda: bool(rig.bench.get("idle")), limit=300)


@cocotb.test()
async def data_may_come_first_or_late(dut: SimHandleBase) -> None:
    rig = Rig(dut)
    await rig.start()
    rig.input.items.extend([1, 2, 3])
    await rig.bench.step(20)
    assert not rig.input.sent and rig.bench.get("idle")
    rig.cmd.items.append(0x1000 | 5 << ADDR_BITS)
    await rig.bench.step(50)
    assert not rig.bench.get("idle") and rig.input.sent == 3
    rig.input.items.extend([4, 5])
    await rig.bench.until(rig.done, limit=50)
    assert rig.slave.memory == {0x1000 + STEP * k: k + 1 for k in range(5)}
