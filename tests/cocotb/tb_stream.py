"""Stream blocks: everything arrives once, in order, at full rate when nobody stalls."""

import os
import random

import cocotb
from bench import Bench, Sink, Source
from cocotb.handle import SimHandleBase

BITS = 8
LATENCY = int(os.environ["LATENCY"])
CAPACITY = int(os.environ["CAPACITY"])  # payloads that are accepted while the output stalls
QUEUE = os.environ["QUEUE"] == "1"


async def rig(dut: SimHandleBase, *, send: float, take: float, seed: int = 0) -> tuple[Bench, Source, Sink]:
    bench = Bench(dut)
    rng = random.Random(seed)
    source, sink = Source(bench, "i", rng=rng, chance=send), Sink(bench, "o", rng=rng, chance=take)
    inputs = {"i__valid": 0, "i__payload": 0, "o__ready": 0}
    await bench.start(**inputs, **({"clear": 0} if QUEUE else {}))
    return bench, source, sink


@cocotb.test()
@cocotb.parametrize(send=[1.0, 0.4], take=[1.0, 0.4])
async def order(dut: SimHandleBase, send: float, take: float) -> None:
    bench, source, sink = await rig(dut, send=send, take=take, seed=7)
    items = [0, 255, 0, *(random.Random(1).randrange(256) for _ in range(300))]
    source.items.extend(items)
    await bench.until(lambda: len(sink.got) == len(items), limit=100 + 20 * len(items))
    await bench.step(10)
    assert [payload for _, payload in sink.got] == items


@cocotb.test()
async def one_per_cycle(dut: SimHandleBase) -> None:
    bench, source, sink = await rig(dut, send=1.0, take=1.0)
    source.items.extend(range(100))
    begin = bench.cycle
    await bench.until(lambda: len(sink.got) == 100, limit=200)
    step = 2 if QUEUE and CAPACITY == 1 else 1
    assert [cycle for cycle, _ in sink.got] == [begin + LATENCY + step * k for k in range(100)]


@cocotb.test()
async def capacity(dut: SimHandleBase) -> None:
    bench, source, sink = await rig(dut, send=1.0, take=0.0)
    source.items.extend(range(100))
    await bench.step(CAPACITY + 10)
    assert source.sent == CAPACITY
    if QUEUE:
        assert bench.get("level") == CAPACITY
    sink.chance = 1.0
    await bench.until(lambda: len(sink.got) == 100, limit=300)
    assert [payload for _, payload in sink.got] == list(range(100))


@cocotb.test(skip=not QUEUE)
async def clear_forgets(dut: SimHandleBase) -> None:
    bench, source, sink = await rig(dut, send=1.0, take=0.3, seed=4)
    for trial in range(30):
        source.items.extend(range(40))
        await bench.step(trial)
        source.items.clear()
        source.valid = False
        bench.set("clear", 1)
        await bench.step()
        bench.set("clear", 0)
        sink.got.clear()
        source.items.extend(range(100, 120))
        await bench.until(lambda: len(sink.got) == 20, limit=300)
        assert [payload for _, payload in sink.got] == list(range(100, 120)) and not bench.get("level")
