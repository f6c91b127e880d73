"""Probabilities against `golden.numerics.probability`: every stored distance with every lag."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import probability
from moesaic.hw.spec.tables import FARTHEST


@cocotb.test
async def every_pair(dut):
    lanes, groups, bits = integer("LANES"), integer("GROUPS"), integer("BITS")
    size = lanes // groups
    lags = np.concatenate([np.arange(-4, 64), [126, 127, 128, 129, 255, 256, FARTHEST, 1040]])
    codes = np.resize(np.arange(256), (256 // size, size))
    lag, block = (a.ravel() for a in np.meshgrid(lags, np.arange(len(codes)), indexing="ij"))
    order = np.random.default_rng(10).permutation(len(lag) // groups * groups).reshape(-1, groups)
    values, lag = codes[block[order]], lag[order]
    # A distance and its lag are not negative together: those that are get the lag 0.
    nearest = (64 + values % 64 << values // 64) - 64
    lag = np.where((nearest + 16 * lag[:, :, None]).min(axis=2) < 0, 0, lag)
    expected = probability(values, lag[:, :, None], bits=bits)
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        inputs={"i": (values.reshape(-1, lanes), 8), "i_lag": (lag, 12)},
        outputs={"o": (expected.reshape(-1, lanes), bits)},
    )
