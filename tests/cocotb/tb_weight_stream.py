"""WeightStream against Python memories: slow ports, skipped words, errors, aborts, exact throughput."""

import json
import os
import random

import cocotb
from axi_slaves import Pace, ReadSlave, word_at
from bench import Bench, Sink, Source
from cocotb.handle import SimHandleBase

from moesaic.hw.memory.weight_stream import MOST_LEAD

SIZES = json.loads(os.environ["SIZES"])
PORTS, ADDR_BITS, PORT_BITS = SIZES["ports"], SIZES["addr_bits"], SIZES["port_bits"]
DEPTH, WORD_BYTES = SIZES["depth_words"], SIZES["word_bytes"]
STEP = PORT_BITS // 8
STRIPES = WORD_BYTES // (STEP * PORTS)
HEAD = 2  # words that wait behind the queue


class Rig:
    """The stream with a memory behind each port."""

    def __init__(
        self,
        dut: SimHandleBase,
        *,
        paces: list[Pace] | None = None,
        take: float = 1.0,
        give: float = 1.0,
        seed: int = 0,
    ) -> None:
        rng = self.rng = random.Random(seed)
        self.bench = Bench(dut)
        self.cmd = Source(self.bench, "cmd", rng=rng, chance=give)
        self.skip = Source(self.bench, "skip", rng=rng)
        self.slaves = [
            ReadSlave(
                self.bench,
                f"axi__{p}",
                addr_bits=ADDR_BITS,
                data_bits=PORT_BITS,
                max_burst=SIZES["max_burst"],
                rng=rng,
                pace=paces[p] if paces else Pace(),
                salt=p,
            )
            for p in range(PORTS)
        ]
        self.sink = Sink(self.bench, "o", rng=rng, chance=take)
        self.errors: list[tuple[int, int, int]] = []
        self.bench.add(self)

    def drive(self) -> None:
        return

    def observe(self) -> None:
        get = self.bench.get
        if get("error"):
            port = get("error_port") if PORTS > 1 else 0
            self.errors.append((port, get("error_addr"), get("error_resp")))
        if self.skip.valid:
            assert not get("o__valid"), "nothing is offered while words are skipped"
        assert get("level") <= DEPTH

    async def start(self) -> None:
        ports = {f"axi__{p}__{name}": 0 for p in range(PORTS) for name in ("ar__ready", "r__valid", "r__payload")}
        await self.bench.start(
            cmd__valid=0, cmd__payload=0, skip__valid=0, skip__payload=0, o__ready=0, abort=0, clear=0, **ports
        )

    def send(self, words: int, align: int = STEP) -> list[int]:
        """Queue a transfer from a place of its own in each memory; returns its words."""
        beats = words * STRIPES
        bases = [align * self.rng.randrange(((1 << ADDR_BITS) - STEP * beats) // align) for _ in range(PORTS)]
        command = beats << ADDR_BITS * PORTS
        for p, base in enumerate(bases):
            command |= base << ADDR_BITS * p
        self.cmd.items.append(command)
        result = []
        for w in range(words):
            word = 0
            for s in range(STRIPES):
                for p, base in enumerate(bases):
                    beat = word_at(base + STEP * (w * STRIPES + s), PORT_BITS, p)
                    word |= beat << PORT_BITS * (s * PORTS + p)
            result.append(word)
        return result

    def words(self) -> list[int]:
        return [payload for _, payload in self.sink.got]

    def idle(self) -> bool:
        return not self.cmd.items and bool(self.bench.get("idle"))

    async def receive(self, count: int, limit: int) -> None:
        await self.bench.until(lambda: len(self.sink.got) >= count, limit)

    async def clear(self) -> None:
        self.bench.set("clear", 1)
        await self.bench.step()
        self.bench.set("clear", 0)
        self.sink.got.clear()


@cocotb.test()
@cocotb.parametrize(slow=["none", "all", "last"], take=[1.0, 0.3])
async def transfers(dut: SimHandleBase, slow: str, take: float) -> None:
    fast, lazy = Pace(latency=3), Pace(address=0.3, data=0.25, latency=30)
    paces = [lazy if slow == "all" or (slow == "last" and p == PORTS - 1) else fast for p in range(PORTS)]
    rig = Rig(dut, paces=paces, take=take, give=0.5, seed=len(slow))
    await rig.start()
    expected: list[int] = []
    for words in [1, 2, 3, 7, 64, 65, 130, *(rig.rng.randrange(1, 40) for _ in range(4))]:
        expected += rig.send(words)
    await rig.receive(len(expected), limit=500 + 30 * len(expected) * STRIPES)
    await rig.bench.until(rig.idle, limit=10)
    assert rig.words() == expected
    assert rig.bench.get("level") == 0
    assert rig.bench.get("bytes_read") == len(expected) * WORD_BYTES and not rig.bench.get("bytes_skipped")
    assert not rig.errors


@cocotb.test()
async def one_stripe_per_cycle(dut: SimHandleBase) -> None:
    rig = Rig(dut, paces=[Pace(latency=30)] * PORTS)
    await rig.start()
    expected = rig.send(100, align=4096) + rig.send(100, align=4096)
    begin = rig.bench.cycle
    await rig.receive(len(expected), limit=2000)
    assert rig.words() == expected
    first = begin + 3 + 30 + STRIPES - 1 + 4  # command to ARVALID, the memory, the word's other stripes, the queue
    assert [cycle for cycle, _ in rig.sink.got] == [first + STRIPES * k for k in range(len(expected))]


@cocotb.test()
async def prefetch_runs_ahead_until_it_is_full(dut: SimHandleBase) -> None:
    rig = Rig(dut, take=0.0)
    await rig.start()
    expected = rig.send(3 * DEPTH, align=4096)
    await rig.bench.until(lambda: rig.bench.get("level") == DEPTH - HEAD, limit=100 + 3 * DEPTH * STRIPES)
    await rig.bench.step(50)
    for slave in rig.slaves:
        assert (
            DEPTH * STRIPES <= sum(beats for _, beats in slave.bursts) <= (DEPTH + HEAD) * STRIPES and not slave.waiting
        )
    rig.sink.chance = 1.0
    await rig.receive(DEPTH, limit=DEPTH + 1)  # a word per cycle from the queue
    await rig.receive(len(expected), limit=100 + 6 * DEPTH * STRIPES)
    assert rig.words() == expected


@cocotb.test()
async def a_dead_port_leaves_others_two_bursts(dut: SimHandleBase) -> None:
    paces = [Pace(data=0.0 if p == 0 else 1.0) for p in range(PORTS)]
    rig = Rig(dut, paces=paces)
    await rig.start()
    expected = rig.send(2 * DEPTH, align=4096)
    await rig.bench.step(100 + 3 * DEPTH * STRIPES)
    assert not rig.sink.got and not rig.bench.get("idle")
    dead, *others = rig.slaves
    assert len(dead.bursts) == SIZES["max_outstanding"]
    most = min(len(dead.bursts) + MOST_LEAD, DEPTH * STRIPES // SIZES["max_burst"])
    assert all(len(slave.bursts) == most and not slave.waiting for slave in others)  # what they asked for, they have
    rig.slaves[0].pace.data = 1.0
    await rig.receive(len(expected), limit=100 + 4 * DEPTH * STRIPES)
    assert rig.words() == expected


@cocotb.test()
@cocotb.parametrize(lazy=[False, True])
async def skipped_words(dut: SimHandleBase, lazy: bool) -> None:
    pace = Pace(address=0.4, data=0.4, latency=9) if lazy else Pace()
    rig = Rig(dut, paces=[pace] * PORTS, take=0.6 if lazy else 1.0, seed=5)
    await rig.start()
    got: list[int] = []
    skipped = 0
    for keep, drop in [(0, 1), (1, 0), (5, 3 * DEPTH), (2, DEPTH), (DEPTH + 3, 7), (1, 1), (4, 2 * DEPTH + 1)]:
        expected = rig.send(keep)[:keep] if keep else []
        if drop:
            rig.send(drop)
        rig.sink.got.clear()
        await rig.receive(keep, limit=200 + 20 * keep * STRIPES)
        assert rig.words() == expected
        got += expected
        rig.skip.items.append(drop)
        if drop % 2:
            await rig.bench.step(DEPTH // 2)  # some of them are queued already
        await rig.bench.until(lambda: not rig.skip.items, limit=300 + 20 * drop * STRIPES)
        skipped += drop
    await rig.bench.until(rig.idle, limit=10)
    await rig.bench.step(5)
    assert rig.bench.get("level") == 0
    assert rig.bench.get("bytes_skipped") == skipped * WORD_BYTES
    assert rig.bench.get("bytes_read") == (skipped + len(got)) * WORD_BYTES


@cocotb.test()
async def the_last_word_behind_a_skip(dut: SimHandleBase) -> None:
    rig = Rig(dut, take=0.0)
    await rig.start()
    expected = rig.send(2)
    await rig.bench.step(20 + 2 * STRIPES)  # both are in the buffer
    rig.skip.items.append(1)
    await rig.bench.step()
    rig.sink.chance = 1.0  # ready before it is offered
    await rig.receive(1, limit=20)
    assert rig.words() == expected[1:]


@cocotb.test()
async def queued_words_go_at_once(dut: SimHandleBase) -> None:
    rig = Rig(dut, take=0.0)
    await rig.start()
    words = rig.send(DEPTH, align=4096)
    await rig.bench.until(lambda: rig.bench.get("level") == DEPTH - HEAD, limit=100 + 3 * DEPTH * STRIPES)
    rig.skip.items.append(DEPTH - 1)
    begin = rig.bench.cycle
    await rig.bench.until(lambda: not rig.skip.items, limit=10)
    assert rig.bench.cycle - begin <= 6 + HEAD
    rig.sink.chance = 1.0
    await rig.receive(1, limit=5)
    assert rig.words() == words[-1:]


@cocotb.test()
@cocotb.parametrize(port=[0, PORTS - 1], resp=[2, 3])
async def error_responses(dut: SimHandleBase, port: int, resp: int) -> None:
    rig = Rig(dut)
    await rig.start()
    expected = rig.send(40)
    base = rig.cmd.items[0] >> ADDR_BITS * port & ((1 << ADDR_BITS) - 1)
    addresses = [base + STEP * k for k in (0, 17, 39)]
    rig.slaves[port].pace = Pace(errors={addr: resp for addr in addresses})
    await rig.receive(len(expected), limit=1000)
    assert rig.words() == expected
    assert rig.errors == [(port, addr, resp) for addr in addresses]


@cocotb.test()
async def abort_anywhere(dut: SimHandleBase) -> None:
    paces = [Pace(address=0.5, data=0.3 + 0.1 * p, latency=3 + 5 * p) for p in range(PORTS)]
    rig = Rig(dut, paces=paces, take=0.5, seed=2)
    await rig.start()
    for wait in range(0, 150, 9):
        rig.send(70)
        rig.send(70)
        if wait % 3 == 0:
            rig.skip.items.append(50)
        await rig.bench.step(wait)
        for source in (rig.cmd, rig.skip):
            source.items.clear()
            source.valid = False
        rig.bench.set("abort", 1)
        await rig.bench.step()
        await rig.bench.until(lambda: bool(rig.bench.get("idle")), limit=2000)
        assert not any(slave.waiting for slave in rig.slaves)
        rig.bench.set("abort", 0)
        await rig.clear()
        assert rig.bench.get("level") == 0 and not rig.bench.get("bytes_read")
        expected = rig.send(DEPTH + 20)
        await rig.receive(len(expected), limit=4000)
        assert rig.words() == expected
        await rig.bench.step(3)
        await rig.clear()
    assert not rig.errors
