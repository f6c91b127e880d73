"""SumUpdate against sums of squares in numpy."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer


@cocotb.test
async def matches_sums(dut):
    lanes, count = integer("LANES"), 4000
    rng = np.random.default_rng(8)
    new, old = (rng.integers(-32768, 32768, (count, lanes)) >> rng.integers(0, 16, (count, 1)) for _ in range(2))
    for x in (new, old):
        x[:600] = rng.choice([-32768, -32767, -1, 0, 1, 32767], (600, lanes))
    new[600:604], old[600:604] = [[-32768], [0], [32767], [-32768]], [[0], [-32768], [-32768], [32767]]
    mask, fresh = rng.integers(0, 2, (count, lanes)), rng.integers(0, 2, count)
    mask[300:1000] = 1
    fresh[600:602] = 0
    before = np.where(fresh[:, None] == 1, 0, old)
    total = ((new - before) * mask).sum(axis=1)
    squares = ((new**2 - before**2) * mask).sum(axis=1)
    growth = (lanes - 1).bit_length()
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        outputs={"o_total": (total, 17 + growth), "o_squares": (squares, 32 + growth)},
        inputs={"i_new": (new, 16), "i_old": (old, 16), "i_mask": (mask, 1), "i_fresh": (fresh, 1)},
    )
