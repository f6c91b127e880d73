"""ExtraKey against numpy: fills and exchanges in any cycle, a vector or a probability per cycle, exact latency."""

import json
import os

import cocotb
import numpy as np
from bench import Bench
from cocotb.handle import SimHandleBase
from rigid import pack

from moesaic.hw.engine.array import array_latency
from moesaic.hw.engine.extra import extra_products_layout, extra_score_bits
from moesaic.hw.spec.presets import PRESETS

CONFIG = PRESETS["micro8"].replace(**json.loads(os.environ["CHANGES"]))
ROWS, LANES, BITS = CONFIG.rows, CONFIG.lanes, CONFIG.streamed_bits
PRODUCT, SCORE = extra_products_layout(CONFIG).elem_shape.width, extra_score_bits(CONFIG)
LATENCY = array_latency(LANES)


class Rig:
    """Drives noise wherever nothing counts, and compares what comes `LATENCY` cycles later."""

    def __init__(self, dut: SimHandleBase) -> None:
        self.bench, self.rng = Bench(dut), np.random.default_rng(1)
        self.shadow = self.active = np.zeros(LANES, np.int64)
        self.known = 0  # places of the active operand that mean something: none, rows, lanes
        self.filled = 0
        self.flight: list[tuple[np.ndarray, int | None]] = [(np.zeros(ROWS, np.int64), None)] * LATENCY

    async def start(self) -> None:
        names = ("x", "swap", "probability", "attend", "used", "fill__load", "fill__values", "fill__key")
        await self.bench.start(**dict.fromkeys((*names, "fill__column"), 0))

    def extreme(self, low: int, high: int, count: int) -> np.ndarray:
        """Random numbers, often at an end of their range."""
        values = self.rng.integers(low, high + 1, count)
        return np.where(self.rng.random(count) < 0.3, self.rng.choice([low, high], count), values)

    async def cycle(self) -> None:
        rng, bench = self.rng, self.bench
        load, swap, values, used = (bool(rng.random() < chance) for chance in (0.15, 0.2, 0.5, 0.7))
        x = self.extreme(-255, 255, LANES)
        probability = int(self.extreme(0, (1 << CONFIG.probability_width) - 1, 1)[0])
        key, column = self.extreme(-128, 127, LANES), self.extreme(-128, 127, ROWS)
        if swap:
            self.active, self.known = self.shadow, self.filled
        attend = bool(rng.random() < 0.5) if self.known == LANES else True
        used = used and self.known > 0
        for name, value in (("x", pack(x, BITS)), ("swap", swap), ("probability", probability), ("attend", attend)):
            bench.set(name, int(value))
        for name, value in (("used", used), ("fill__load", load), ("fill__values", values)):
            bench.set(name, int(value))
        bench.set("fill__key", pack(key, 8))
        bench.set("fill__column", pack(column, 8))
        products = self.active[:ROWS] * probability if used and attend else np.zeros(ROWS, np.int64)
        self.flight.append((products, None if attend else int(self.active @ x)))
        if load:
            self.shadow = np.concatenate([column, np.zeros(LANES - ROWS, np.int64)]) if values else key
            self.filled = ROWS if values and ROWS < LANES else LANES
        products, score = self.flight.pop(0)
        assert bench.get("products") == pack(products, PRODUCT), bench.cycle
        assert score is None or bench.get("score") == pack(score, SCORE), bench.cycle
        await bench.step()


@cocotb.test()
async def matches_numpy(dut: SimHandleBase) -> None:
    rig = Rig(dut)
    await rig.start()
    for _ in range(5000):
        await rig.cycle()
