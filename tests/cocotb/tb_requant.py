"""Requantise against `golden.numerics.requantise`."""

import itertools

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import requantise


def wrap(x: np.ndarray, bits: int) -> np.ndarray:
    return ((x + (1 << bits - 1)) & ((1 << bits) - 1)) - (1 << bits - 1)


@cocotb.test
async def matches_golden(dut):
    lanes, bits, bias_bits = integer("LANES"), integer("ACC_BITS"), integer("BIAS_BITS")
    rng = np.random.default_rng(1)
    top = 1 << bits - 1
    edges = np.array(
        list(
            itertools.product(
                (-top, -top + 1, -65537, -65536, -1, 0, 1, 65535, top - 1),
                (0, 1, -1, 2, 1 << 20),
                (0, 1, 32768, 65535),
            )
        ),
        np.int64,
    )
    shifts = np.array([0, 1, 2, 15, 16, 17, 31, 41, 42, 43, 62])
    edges = np.concatenate([np.column_stack([edges, np.full(len(edges), s)]) for s in shifts])
    edges = edges[: len(edges) // lanes * lanes]
    count = 2500
    values = rng.integers(-top, top, (count, lanes)) >> rng.integers(0, bits, (count, lanes))
    bias = rng.integers(-top, top, (count, lanes)) >> rng.integers(1, bits, (count, lanes))
    bias[:50] = rng.integers(
        -1 << bias_bits - 1, 1 << bias_bits - 1, (50, lanes)
    )  # may leave the accumulator's range: it wraps
    mult = rng.integers(0, 65536, (count, lanes))
    shift = rng.integers(0, 63, count)
    # Most results of a random shift are 0 or saturated: choose it near the size of the product.
    size = np.log2(np.maximum(1, np.abs(values[:, 0] * mult[:, 0]))).astype(int) - 15
    near = np.clip(size + rng.integers(-2, 8, count), 0, 62)
    shift[500:] = near[500:]
    rows = edges.reshape(-1, lanes, 4)
    same = (rows[:, :, 3] == rows[:, :1, 3]).all(axis=1)
    rows = rows[same]
    acc, bias, mult = (np.concatenate([rows[:, :, k], other]) for k, other in enumerate((values, bias, mult)))
    shift = np.concatenate([rows[:, 0, 3], shift])
    expected = requantise(wrap(acc + bias, bits), mult, shift[:, None])
    assert 0.1 < np.mean(np.abs(expected) < 32767) and np.mean(np.abs(expected) > 100) > 0.1
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        outputs={"o": (expected, 16)},
        inputs={"i_acc": (acc, bits), "i_bias": (bias, bias_bits), "i_mult": (mult, 16), "i_shift": (shift, 6)},
    )
