"""Lookup tables and formats as integers: the same numbers for the golden model and for the RTL."""

import functools
import math
from collections.abc import Callable

__all__ = [
    "DIGITS_TOP",
    "EXP_FRACTION_BITS",
    "GELU_FRACTION_BITS",
    "GELU_KNOT_BITS",
    "GELU_STEP_LOG2",
    "INV_DIM_BITS",
    "LOGIT_FRACTION_BITS",
    "LOGIT_SHIFT_BITS",
    "MEAN_FRACTION_BITS",
    "MULTIPLIER_BITS",
    "NORM_BITS",
    "PLANE_BITS",
    "STORED_SHIFT",
    "STREAMED_SHIFT",
    "exp2_table",
    "gelu_knots",
    "inverse_of_dim",
    "reciprocal_table",
    "rsqrt_table",
    "sigmoid_knots",
    "silu_knots",
    "wide_exp2_table",
]

EXP_FRACTION_BITS = 8  # fraction bits of attention scores, in powers of two
LOGIT_FRACTION_BITS = 10  # fraction bits of the finest gate logits, in powers of two
LOGIT_SHIFT_BITS = 3  # of the number by which a gate's logits have fewer
GELU_FRACTION_BITS = 10  # fraction bits of GELU's int16 input and output
GELU_STEP_LOG2 = 5  # knots every 2^-5
GELU_KNOT_BITS = 14  # unsigned, in units of 2^-16
GELU_KNOT_FRACTION_BITS = 16
MEAN_FRACTION_BITS = 18  # of a token's mean
INV_DIM_BITS = 34  # of the number that a token's sum is multiplied by for its mean
MULTIPLIER_BITS = 20  # of the number that a token's channels are multiplied by
NORM_BITS = 13  # of a normalised value, signed
STREAMED_SHIFT = 4  # of these, dropped for a single pass of the array
STORED_SHIFT = 5  # and in the activation memory
PLANE_BITS = 8  # of the lower of two planes
DIGITS_TOP = 127 * 257  # largest integer of two signed bytes, 256 * 127 + 127: above it 16-bit results saturate


@functools.cache
def exp2_table() -> tuple[int, ...]:
    """``round(4 * 255 * 2**(-i/256))``, i = 0..255: 10 bits."""
    return tuple(round(1020 * 2 ** (-i / 256)) for i in range(256))


@functools.cache
def wide_exp2_table() -> tuple[int, ...]:
    """``round(65535 * 2**(-i/256))``, i = 0..255: 16 bits."""
    return tuple(round(65535 * 2 ** (-i / 256)) for i in range(256))


@functools.cache
def reciprocal_table() -> tuple[int, ...]:
    """First guess of 1/x for x in [1, 2), indexed by the six bits after the leading one: Q0.16, 16 bits."""
    return tuple(min(65535, round(65536 / (1 + (i + 0.5) / 64))) for i in range(64))


@functools.cache
def rsqrt_table() -> tuple[int, ...]:
    """First guess of 1/sqrt(x) for x in [1, 4), indexed by ``floor(64 * x) - 64``: Q0.16, 16 bits, 192 words."""
    return tuple(min(65535, round(65536 / math.sqrt((i + 64.5) / 64))) for i in range(192))


def inverse_of_dim(dim: int) -> tuple[int, int]:
    """``(inv_dim, shift)`` with 1/dim ~ inv_dim * 2^-shift * 2^-`MEAN_FRACTION_BITS`, inv_dim of `INV_DIM_BITS` bits;
    dim >= 1.
    """
    shift = INV_DIM_BITS - 1 - MEAN_FRACTION_BITS + (dim - 1).bit_length()
    return ((1 << MEAN_FRACTION_BITS + shift) + dim // 2) // dim, shift


def _knots(
    delta: Callable[[float], float], curvature: Callable[[float], float], *, step: float, count: int
) -> tuple[int, ...]:
    """`count` knots of an even correction delta(a), a >= 0, in units of 2^-16; the last one is 0.

    Between knots delta is interpolated linearly. A chord misses a curve by up to ``h^2/8 * delta''``; moving each knot
    by half of that splits the error between both sides, which halves Edge-MoE's worst error (ICCAD 2023, section 4.3)
    at the same step.
    """
    moved = (delta(a) - step * step / 16 * curvature(a) for a in (i * step for i in range(count - 1)))
    return (*(max(0, round(knot * 2**GELU_KNOT_FRACTION_BITS)) for knot in moved), 0)


@functools.cache
def gelu_knots() -> tuple[int, ...]:
    """Knots of delta(a) = ReLU(a) - GELU(a), every 1/32."""

    def density(a: float) -> float:
        return math.exp(-a * a / 2) / math.sqrt(2 * math.pi)

    return _knots(
        lambda a: a * 0.5 * math.erfc(a / math.sqrt(2)),
        lambda a: (a * a - 2) * density(a),
        step=2.0**-GELU_STEP_LOG2,
        count=136,
    )


def _tail(a: float) -> float:
    """sigmoid(-a)."""
    return 1 / (1 + math.exp(a))


def _tail_slope(a: float) -> float:
    return -_tail(a) * (1 - _tail(a))


def _tail_curvature(a: float) -> float:
    return -_tail_slope(a) * (1 - 2 * _tail(a))


@functools.cache
def silu_knots() -> tuple[int, ...]:
    """Knots of delta(a) = ReLU(a) - SiLU(a) = a * sigmoid(-a), every 1/32."""
    return _knots(
        lambda a: a * _tail(a),
        lambda a: 2 * _tail_slope(a) + a * _tail_curvature(a),
        step=2.0**-GELU_STEP_LOG2,
        count=398,
    )


@functools.cache
def sigmoid_knots() -> tuple[int, ...]:
    """Knots of tau(a) = sigmoid(-a), every 1/16."""
    return _knots(_tail, _tail_curvature, step=2.0 ** (1 - GELU_STEP_LOG2), count=159)
