"""Gelu against `golden.numerics.gelu`: every code."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import gelu


@cocotb.test
async def every_code(dut):
    lanes = integer("LANES")
    codes = np.random.default_rng(3).permutation(np.arange(-32768, 32768))
    codes = np.concatenate([codes[: lanes * 200], np.sort(codes)]).reshape(-1, lanes)
    await check_pipeline(dut, latency=integer("LATENCY"), inputs={"i": (codes, 16)}, outputs={"o": (gelu(codes), 16)})
