"""Reciprocal against `golden.numerics.reciprocal`: every mantissa, every exponent."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import reciprocal


@cocotb.test
async def matches_golden(dut):
    bits = integer("IN_BITS")
    rng = np.random.default_rng(4)
    powers = 1 << np.arange(bits)
    around = np.concatenate([powers, powers - 1, powers + 1, [(1 << bits) - 1]])
    mixed = rng.integers(1, 1 << bits, 3000) >> rng.integers(0, bits - 1, 3000)
    x = np.concatenate([around, mixed, np.arange(1, 1 << min(16, bits))])
    x = x[(x > 0) & (x < 1 << bits)]
    r, e = reciprocal(x)
    await check_pipeline(
        dut, latency=integer("LATENCY"), inputs={"i": (x, bits)}, outputs={"o_r": (r, 16), "o_e": (e, 5)}
    )
