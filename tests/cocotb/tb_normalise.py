"""Normalise against the lanes of `golden.numerics.layernorm`."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import round_shift, saturate
from moesaic.hw.spec.tables import NORM_BITS


@cocotb.test
async def matches_golden(dut):
    lanes, count = integer("LANES"), 4000
    rng = np.random.default_rng(7)
    x = rng.integers(-32768, 32768, (count, lanes)) >> rng.integers(0, 16, (count, 1))
    x[:200] = rng.choice([-32768, -1, 0, 1, 32767], (200, lanes))
    offset = rng.integers(-1 << 35, 1 << 35, count) >> rng.integers(0, 36, count)
    offset[:100] = rng.choice([-1 << 35, -1, 0, 1, 1 << 35], 100)
    mult = rng.integers(0, 1 << 20, count)
    mult[:100] = rng.choice([0, 1, (1 << 20) - 1], 100)
    product = x * mult[:, None] + offset[:, None]
    size = np.log2(np.maximum(1, np.abs(product).max(axis=1))).astype(int)
    shift = np.clip(size - (NORM_BITS - 1) + rng.integers(-2, 6, count), 0, 62)
    shift[:400] = rng.integers(0, 63, 400)
    expected = saturate(round_shift(product, shift[:, None]), NORM_BITS)
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        outputs={"o": (expected, NORM_BITS)},
        inputs={"i": (x, 16), "i_mult": (mult, 20), "i_offset": (offset, 37), "i_shift": (shift, 6)},
    )
