"""NormScalars against the scalars inside `golden.numerics.layernorm`."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import round_shift, rsqrt
from moesaic.hw.spec.tables import INV_DIM_BITS, MEAN_FRACTION_BITS, inverse_of_dim


def tokens(rng: np.random.Generator, dim: int) -> np.ndarray:
    """Residual rows: extremes, then random ones of every size."""
    edges = [np.full(dim, v) for v in (-32768, 32767, 0, 1, -1)]
    alternating = np.where(np.arange(dim) % 2, 32767, -32768)
    spike = np.zeros(dim, np.int64)
    spike[0] = 32767
    scale = 2 ** rng.uniform(0, 15, 400)
    normal = (rng.normal(size=(400, dim)) + rng.normal(size=(400, 1))) * scale[:, None]
    normal = np.clip(np.round(normal), -32768, 32767)
    return np.concatenate([np.array([*edges, alternating, spike]), normal]).astype(np.int64)


@cocotb.test
async def matches_golden(dut):
    rng = np.random.default_rng(6)
    columns = {
        port: []
        for port in (
            "i_total",
            "i_squares",
            "i_rms",
            "i_dim",
            "i_inv_dim",
            "i_inv_dim_shift",
            "i_scale",
            "i_epsilon",
            "i_shift",
        )
    }
    offset, mult, out_shift = [], [], []
    for dim in (1, 8, 192, 384, integer("MAX_DIM")):
        for epsilon in (1, dim * dim * 5, (1 << 40) - 1):
            x = tokens(rng, dim)
            inv_dim, inv_shift = inverse_of_dim(dim)
            scale, shift = int(rng.integers(1, 65536)), int(rng.integers(0, 37))
            total, squares = x.sum(axis=1), (x * x).sum(axis=1)
            rms = rng.integers(0, 2, len(x))
            mean_of = total * (1 - rms)
            r, e = rsqrt(dim * squares - mean_of * mean_of + epsilon)
            row = (total, squares, rms, dim, inv_dim, inv_shift, scale, epsilon, shift)
            for port, value in zip(columns, row, strict=True):
                columns[port].append(np.broadcast_to(value, len(x)))
            mult.append((r * scale + (1 << 11)) >> 12)
            offset.append(-round_shift(mean_of * inv_dim, inv_shift) * mult[-1] >> MEAN_FRACTION_BITS)
            out_shift.append(e + shift)
    widths = {
        "i_total": integer("TOTAL_BITS"),
        "i_squares": integer("SQUARES_BITS"),
        "i_rms": 1,
        "i_dim": 12,
        "i_inv_dim": INV_DIM_BITS,
        "i_inv_dim_shift": 6,
        "i_scale": 16,
        "i_epsilon": 40,
        "i_shift": 6,
    }
    mix = rng.permutation(sum(len(part) for part in mult))
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        inputs={port: (np.concatenate(parts)[mix], widths[port]) for port, parts in columns.items()},
        outputs={
            "o_mult": (np.concatenate(mult)[mix], 20),
            "o_offset": (np.concatenate(offset)[mix], 37),
            "o_shift": (np.concatenate(out_shift)[mix], 6),
        },
    )
