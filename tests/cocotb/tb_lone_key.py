"""LoneKey against `golden.numerics.softmax_block`, for every score."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import softmax_block


@cocotb.test
async def matches_golden(dut):
    t = np.random.default_rng(3).permutation(np.arange(-32768, 32768))
    codes, maximum, level = softmax_block(t[:, None], None, bits=integer("BITS"))
    kept = codes[:, 0] | (maximum & 511) << 8
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        inputs={"t": (t, 16)},
        outputs={"o": (kept, 17), "o_level": (level, 11)},
        before={"o": integer("EARLIER")},
        valid=False,
    )
