"""ProbabilityShift against `golden.numerics.probability`: every probability with every lag."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import probability


@cocotb.test
async def every_pair(dut):
    lanes, groups = integer("LANES"), integer("GROUPS")
    size = lanes // groups
    lags = np.concatenate([np.arange(20), [31, 32, 255, 256, 257, 511]])
    p = np.resize(np.arange(256), (256 // size, size))
    lag, block = (a.ravel() for a in np.meshgrid(lags, np.arange(len(p)), indexing="ij"))
    order = np.random.default_rng(10).permutation(len(lag) // groups * groups).reshape(-1, groups)
    values, lag = p[block[order]], lag[order]
    expected = probability(values, lag[:, :, None])
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        inputs={"i": (values.reshape(-1, lanes), 8), "i_lag": (lag, 9)},
        outputs={"o": (expected.reshape(-1, lanes), 8)},
    )
