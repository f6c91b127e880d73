"""SoftmaxBlock against `golden.numerics.softmax_block`, and every distance from the maximum."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import softmax_block


def random_blocks(rng: np.random.Generator, rows: int, count: int) -> tuple[np.ndarray, ...]:
    spread = rng.integers(-32768, 32768, (count, rows)) >> rng.integers(0, 16, (count, 1))
    t = np.clip(rng.integers(-32768, 32768, (count, 1)) + spread, -32768, 32767)
    t[:100] = rng.choice([-32768, -32767, -256, -255, -1, 0, 1, 255, 256, 257, 32767], (100, rows))
    mask = rng.integers(0, 2, (count, rows))
    mask[np.arange(count), rng.integers(0, rows, count)] = 1
    mask[::3] = 1
    first = rng.integers(0, 2, count)
    block = (np.where(mask == 1, t, -40000).max(axis=1) + 255) >> 8
    maximum = np.clip(block + rng.integers(-12, 13, count), -128, 128)
    maximum[100:400] = rng.integers(-128, 129, 300)
    total = rng.integers(0, 1 << 23, count) >> rng.integers(0, 23, count)
    return t, mask, first, maximum, total


@cocotb.test
async def matches_golden(dut):
    rows = integer("ROWS")
    rng = np.random.default_rng(9)
    t, mask, first, maximum, total = random_blocks(rng, rows, 2000)
    # Every distance from a maximum of 128, against one score that holds it.
    sweep = np.resize(np.arange(-32768, 32768), (-(-65536 // (rows - 1)), rows - 1))
    sweep = np.column_stack([np.full(len(sweep), 32767), sweep])
    t = np.concatenate([t, sweep])
    mask = np.concatenate([mask, np.ones_like(sweep)])
    first, maximum, total = (
        np.concatenate([a, np.full(len(sweep), b)]) for a, b in ((first, 1), (maximum, 7), (total, 99))
    )
    p, new_maximum, new_total = np.zeros_like(t), np.zeros_like(maximum), np.zeros_like(total)
    for i in range(len(t)):
        keys = mask[i] == 1
        old = (None, None) if first[i] else (maximum[i : i + 1], total[i : i + 1])
        row, new_maximum[i : i + 1], new_total[i : i + 1] = softmax_block(t[i : i + 1, keys], *old)
        p[i, keys] = row[0]
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        inputs={
            "i_t": (t, 16),
            "i_mask": (mask, 1),
            "i_first": (first, 1),
            "i_max": (maximum, 9),
            "i_sum": (total, 24),
        },
        outputs={"o_p": (p, 8), "o_max": (new_maximum, 9), "o_sum": (new_total, 24)},
    )
