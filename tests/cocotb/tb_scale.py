"""Scale against `golden.numerics`."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import rescale


@cocotb.test
async def matches_golden(dut):
    lanes = integer("LANES")
    rng = np.random.default_rng(2)
    edges = np.array([-32768, -32767, -1, 0, 1, 2, 255, 32767])
    mults, shifts = np.meshgrid([0, 1, 2, 255, 32768, 43690, 65535], [0, 1, 2, 15, 16, 17, 30, 31])
    mult = np.concatenate([mults.ravel(), rng.integers(0, 65536, 2000), rng.integers(-32768, 32768, 1000)])
    shift = np.concatenate([shifts.ravel(), rng.integers(8, 25, 3000)])
    values = rng.integers(-32768, 32768, (len(mult), lanes))
    values[: mults.size] = rng.choice(edges, (mults.size, lanes))
    mult = np.repeat(mult[:, None], lanes, axis=1)
    mult[-500:] = values[-500:]  # a square
    mult[-500:-400], values[-500:-400] = -32768, rng.choice(edges, (100, lanes))
    expected = rescale(values, mult, shift[:, None])
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        outputs={"o": (expected, 16)},
        inputs={"i": (values, 16), "i_mult": (mult, 17), "i_shift": (shift, 5)},
    )
