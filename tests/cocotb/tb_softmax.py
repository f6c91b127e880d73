"""SoftmaxBlock against `golden.numerics.softmax_block`, and every distance from the maximum."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import softmax_block
from moesaic.hw.spec.tables import NO_KEY


def random_blocks(rng: np.random.Generator, rows: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    spread = rng.integers(-32768, 32768, (count, rows)) >> rng.integers(0, 16, (count, 1))
    t = np.clip(rng.integers(-32768, 32768, (count, 1)) + spread, -32768, 32767)
    t[:100] = rng.choice([-32768, -32767, -256, -255, -1, 0, 1, 255, 256, 257, 32767], (100, rows))
    mask = rng.integers(0, 2, (count, rows))
    mask[np.arange(count), rng.integers(0, rows, count)] = 1
    mask[::3] = 1
    return t, mask


@cocotb.test
async def matches_golden(dut):
    rows, bits = integer("ROWS"), integer("BITS")
    rng = np.random.default_rng(9)
    t, mask = random_blocks(rng, rows, 3000)
    # Every distance from a maximum of 128, against one score that holds it; and every level, from equal scores.
    sweep = np.resize(np.arange(-32768, 32768), (-(-65536 // (rows - 1)), rows - 1))
    sweep = np.column_stack([np.full(len(sweep), 32767), sweep])
    equal = np.broadcast_to(np.arange(-600, 600)[:, None], (1200, rows))
    t, mask = np.concatenate([t, sweep, equal]), np.concatenate([mask, np.ones_like(sweep), np.ones_like(equal)])
    codes, maximum, level = np.full_like(t, NO_KEY), np.zeros(len(t), np.int64), np.zeros(len(t), np.int64)
    for i in range(len(t)):
        keys = mask[i] == 1
        # Keys that do not exist keep their place among their neighbours: far away, they weigh nothing.
        row = np.where(keys, t[i], t[i, keys].max() - (1 << 15))
        codes_of, maximum[i : i + 1], level[i : i + 1] = softmax_block(row[None], None, bits=bits)
        codes[i, keys] = codes_of[0, keys]
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        inputs={"i_t": (t, 16), "i_mask": (mask, 1)},
        outputs={"o_code": (codes, 8), "o_max": (maximum, 9), "o_level": (level, 11)},
        before={"o_code": integer("EARLIER"), "o_max": integer("EARLIER")},
    )
