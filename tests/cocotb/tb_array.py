"""Array against numpy: every way to fill a block, exchanges in any cycle, one vector per cycle, exact latency; sums of
either half of the lanes for some vectors, of all lanes for those between them.
"""

import json
import os
import random

import cocotb
import numpy as np
from bench import Bench
from cocotb.handle import SimHandleBase
from rigid import pack

from moesaic.hw.engine.array import LANE_BITS, array_latency, sum_bits

SIZES = json.loads(os.environ["SIZES"])
ROWS, LANES, LOAD_ROWS, NARROW = SIZES["rows"], SIZES["lanes"], SIZES["load_rows"], SIZES.get("narrow", True)
HALVES, HALF = SIZES.get("halves", False), LANES // 2
IDLE = {"fill__word_load": 0, "fill__key_load": 0, "fill__key_valid": 0, "fill__lane_load": 0, "fill__clear": 0}


class Model:
    """Shadow and active blocks, and the sums on their way."""

    def __init__(self, dut: SimHandleBase, seed: int) -> None:
        self.bench, self.rng = Bench(dut), np.random.default_rng(seed)
        self.shadow = self.rng.integers(-128, 128, (ROWS, LANES))
        self.active = self.shadow.copy()
        self.flight: list[tuple[np.ndarray, np.ndarray] | None] = [None] * array_latency(LANES)
        self.vectors = 0

    async def start(self) -> None:
        fill = {"fill__word": 0, "fill__narrow": 0, "fill__key": 0, "fill__lane": 0, "fill__column": 0}
        await self.bench.start(x=0, x_valid=0, swap=0, **fill, **IDLE, **({"split": 0} if HALVES else {}))
        for row in range(ROWS):  # reset leaves the blocks as they are
            await self.cycle(fill=("key", row, self.rng.integers(-128, 128, LANES)))
        await self.cycle(x=np.zeros(LANES, np.int64), swap=True)

    def numbers(self, count: int, low: int, high: int) -> np.ndarray:
        """Random, now and then only extremes."""
        if self.rng.random() < 0.2:
            return self.rng.choice([low, high - 1, 0], count)
        return self.rng.integers(low, high, count)

    async def cycle(self, *, x: np.ndarray | None = None, swap: bool = False, fill: tuple | None = None) -> None:
        """One cycle: a vector, an exchange, something for the shadow block."""
        bench = self.bench
        assert x is not None or not swap
        bench.set("x_valid", int(x is not None))
        bench.set("x", pack(self.numbers(LANES, -255, 256) if x is None else x, LANE_BITS))
        bench.set("swap", int(swap))
        split = HALVES and bool(self.rng.integers(2))
        if HALVES:
            bench.set("split", int(split))
        for name in IDLE:
            bench.set(name, 0)
        bench.set("fill__word", random.getrandbits(8 * LANES * LOAD_ROWS))
        bench.set("fill__narrow", random.getrandbits(1))
        following = self.shadow.copy()
        if fill is not None:
            kind, place, values = fill
            if kind == "word":
                bench.set("fill__word_load", 1 << place)
                bench.set("fill__word", pack(values.ravel(), 8))
                bench.set("fill__narrow", 0)
                following[place * LOAD_ROWS : (place + 1) * LOAD_ROWS] = values
            elif kind == "narrow":
                bench.set("fill__word_load", 3 << 2 * place)
                bench.set("fill__word", pack((values[:LOAD_ROWS] % 16 + 16 * (values[LOAD_ROWS:] % 16)).ravel(), 8))
                bench.set("fill__narrow", 1)
                following[2 * place * LOAD_ROWS : 2 * (place + 1) * LOAD_ROWS] = values
            elif kind == "key":
                bench.set("fill__key_load", 1 << place)
                bench.set("fill__key_valid", 1)
                bench.set("fill__key", pack(values, 8))
                following[place] = values
            elif kind == "lane":
                bench.set("fill__lane_load", 1)
                bench.set("fill__lane", place)
                bench.set("fill__column", pack(values, 8))
                following[:, place] = values
            else:
                bench.set("fill__clear", 1)
                following[:] = 0
        self.shadow = following
        if swap:  # what is filled in the same cycle is part of the block
            self.active = self.shadow
        self.flight.append(None if x is None else self.products(x, split))
        due = self.flight.pop(0)
        if due is not None:
            sums, upper = due
            assert bench.get("sums") == pack(sums, sum_bits(LANES)), (bench.cycle, sums.tolist())
            assert not HALVES or bench.get("upper") == pack(upper, sum_bits(LANES)), (bench.cycle, upper.tolist())
            self.vectors += 1
        await bench.step()

    def products(self, x: np.ndarray, split: bool) -> tuple[np.ndarray, np.ndarray]:
        """Sums of all lanes, or of the lower ones if they are `split`; sums of the upper lanes."""
        lower, upper = self.active[:, :HALF] @ x[:HALF], self.active[:, HALF:] @ x[HALF:]
        return (lower if split else lower + upper), upper

    def anything(self) -> tuple | None:
        """Something to fill, or nothing."""
        kind = self.rng.choice(["word", "narrow", "key", "lane", "lane", "clear", "none", "none"])
        if kind == "narrow" and NARROW:
            values = self.numbers(LANES * 2 * LOAD_ROWS, -8, 8).reshape(2 * LOAD_ROWS, LANES)
            return kind, int(self.rng.integers(ROWS // LOAD_ROWS // 2)), values
        kind = "word" if kind == "narrow" else kind
        if kind == "word":
            values = self.numbers(LANES * LOAD_ROWS, -128, 128).reshape(LOAD_ROWS, LANES)
            return kind, int(self.rng.integers(ROWS // LOAD_ROWS)), values
        if kind == "key":
            return kind, int(self.rng.integers(ROWS)), self.numbers(LANES, -128, 128)
        if kind == "lane":
            return kind, int(self.rng.integers(LANES)), self.numbers(ROWS, -128, 128)
        return None if kind == "none" else (kind, 0, None)


@cocotb.test()
@cocotb.parametrize(chance=[0.5, 1.0])
async def matches_numpy(dut: SimHandleBase, chance: float) -> None:
    model = Model(dut, int(chance * 10))
    await model.start()
    for _ in range(3000):
        busy = model.rng.random() < chance
        await model.cycle(
            x=model.numbers(LANES, -255, 256) if busy else None,
            swap=busy and model.rng.random() < 0.3,
            fill=model.anything(),
        )
    assert model.vectors > 1000


@cocotb.test()
async def extremes(dut: SimHandleBase) -> None:
    """The largest sums of either sign."""
    model = Model(dut, 3)
    await model.start()
    for weight in (-128, 127):
        for row in range(ROWS):
            await model.cycle(fill=("key", row, np.full(LANES, weight)))
        for value in (-255, 255):
            await model.cycle(x=np.full(LANES, value), swap=value == -255)
    for _ in range(array_latency(LANES)):
        await model.cycle()


@cocotb.test()
async def blocks_follow_each_other(dut: SimHandleBase) -> None:
    """Filled by words while the last one is used: rows / load_rows vectors per block lose no cycle."""
    model = Model(dut, 4)
    await model.start()
    words, begin = ROWS // LOAD_ROWS, model.vectors
    for step in range(20 * words):
        values = model.rng.integers(-128, 128, (LOAD_ROWS, LANES))
        await model.cycle(
            x=model.rng.integers(-128, 128, LANES), swap=step % words == words - 1, fill=("word", step % words, values)
        )
    for _ in range(array_latency(LANES)):
        await model.cycle()
    assert model.vectors - begin == 20 * words + 1
