"""Worst error of the norms: what each rounding can do is exhausted or derived, and a search looks for rows that exceed
it.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from moesaic.golden import numerics, ops_int
from moesaic.golden.config import PRESETS
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.norm_float import quantise_norm
from moesaic.golden.layers.sizes import NormSizes
from moesaic.golden.saturation import Saturation
from moesaic.hw.spec import tables

DIMS = sorted({preset.dim for preset in PRESETS.values()} | {48, 100, 1000, 1024})
STEPS = (1 / 2048, 1 / 1024, 1 / 700)  # of the output; int8 operands have 1/1024 where values reach 4
RSQRT = 4e-5  # relative error
MULTIPLIER = 0.5 / (1 << tables.MULTIPLIER_BITS - 2)  # rounded to a whole number, of two factors of 2^15 or more
LEVELS = (-32768, -32767, -20001, -1, 0, 1, 12345, 32766)


def quantised(dim: int, step: float, *, centred: bool) -> QuantNorm:
    sizes = NormSizes(kind="layernorm" if centred else "rmsnorm")
    return quantise_norm("norm", sizes, dim, residual_step=1.0, step=step * 2**tables.STREAMED_SHIFT)


def bound(norm: QuantNorm, deviation: float) -> float:
    """Largest error in steps where the deviation (RMSNorm: the root of the mean square) is at least that many units."""
    gain = 1 / (deviation * norm.step)  # steps for a unit
    largest = 1 << tables.NORM_BITS - 1
    inverse = Fraction(norm.inv_dim, 1 << norm.inv_dim_shift + tables.MEAN_FRACTION_BITS)
    mean = (1 << 15) * float(abs(inverse * norm.dim - 1)) + 0.5 / (1 << tables.MEAN_FRACTION_BITS)
    offset = 1 / (
        1 << tables.MULTIPLIER_BITS - 2
    )  # rounded down; a unit of the product is that much of one of the residual, or less
    return 0.5 + largest * (RSQRT + MULTIPLIER) + (gain * (mean + offset) if norm.centred else 0)


def exact(norm: QuantNorm, x: np.ndarray) -> np.ndarray:
    total = x.sum(axis=1) if norm.centred else np.zeros(len(x), np.int64)
    variance = norm.dim * (x * x).sum(axis=1) - total * total + norm.epsilon  # exact, times dim^2
    y = (norm.dim * x - total[:, None]) / np.sqrt(variance)[:, None] / norm.step
    return np.clip(y, -4096, 4095)


def rows(dim: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Large means with few and with many channels that deviate, by as little and as much as there may be."""
    for level in LEVELS:
        sign = -1 if level > 0 else 1
        for away in (1, 2, 3, dim, 300, 30000):
            for count in (1, 2, dim // 3, dim // 2, dim - 1):
                row = np.full(dim, level)
                row[:count] += sign * away
                yield row
        yield level + sign * rng.integers(0, 4, dim)
    for spread in (2, 30, 1000, 30000):
        yield rng.integers(-spread, spread, dim)


def test_rsqrt_of_any_number() -> None:
    """Only 16 bits of a number count: every one of them, with the least and the largest of what may follow."""
    mantissas = np.arange(1 << 14, 1 << 16)
    r, e = numerics.rsqrt(mantissas << 20)
    computed = np.ldexp(r, -16 - e)
    for real in (mantissas << 20, (mantissas + 1 << 20) - 1):
        assert np.abs(computed * np.sqrt(real) - 1).max() <= RSQRT
    small = np.arange(1, 1 << 14)
    r, e = numerics.rsqrt(small)
    assert np.abs(np.ldexp(r, -16 - e) * np.sqrt(small) - 1).max() <= RSQRT


@pytest.mark.parametrize("centred", [True, False], ids=["LayerNorm", "RMSNorm"])
@pytest.mark.parametrize("dim", DIMS)
def test_no_row_is_off_by_more_than_a_step(dim: int, centred: bool) -> None:
    rng = np.random.default_rng(dim)
    x = np.clip(np.stack(list(rows(dim, rng))), -32768, 32767)
    deviation = x.std(axis=1) if centred else np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=1))
    for step in STEPS:
        norm = quantised(dim, step, centred=centred)
        assert norm.scale >= 1 << 15
        assert bound(norm, 1) <= 1
        error = np.abs(ops_int.norm(norm, x, Saturation()) - exact(norm, x)).max(axis=1)
        assert error[deviation >= 1].max() <= bound(norm, 1)


@pytest.mark.parametrize("dim", DIMS)
def test_a_constant_token_is_zero(dim: int) -> None:
    """Of any level: the mean is that level exactly, whatever its reciprocal's rounding."""
    levels = np.arange(-32768, 32768)
    inv_dim, shift = tables.inverse_of_dim(dim)
    mean = numerics.round_shift(dim * levels * inv_dim, shift)
    assert (mean == levels << tables.MEAN_FRACTION_BITS).all()
    norm = quantised(dim, 1 / 1024, centred=True)
    x = np.repeat(levels[::257, None], dim, axis=1)
    assert not ops_int.norm(norm, x, Saturation()).any()


def test_inverse_has_its_bits_for_every_dim() -> None:
    for dim in range(1, 4096):
        inv_dim, shift = tables.inverse_of_dim(dim)
        assert 1 << tables.INV_DIM_BITS - 1 <= inv_dim < 1 << tables.INV_DIM_BITS and shift < 64
