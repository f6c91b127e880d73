"""Lookup tables and formats as integers: the same numbers for the golden model and for the RTL."""

import functools
import math
from collections.abc import Callable

__all__ = [
    "DIGITS_TOP",
    "DISTANCE_BITS",
    "EXP_FRACTION_BITS",
    "FARTHEST",
    "GELU_FRACTION_BITS",
    "GELU_KNOT_BITS",
    "GELU_STEP_LOG2",
    "INV_DIM_BITS",
    "LOGIT_FRACTION_BITS",
    "LOGIT_SHIFT_BITS",
    "MEAN_FRACTION_BITS",
    "MULTIPLIER_BITS",
    "NORM_BITS",
    "NO_KEY",
    "PLANE_BITS",
    "POWER_UNIT",
    "PROBABILITY_BITS",
    "STORED_SHIFT",
    "STREAMED_SHIFT",
    "gelu_knots",
    "inverse_of_dim",
    "level_limits",
    "neighbours",
    "power_table",
    "probability_table",
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
DISTANCE_BITS = 6  # of a stored distance from the maximum, after its leading one
PROBABILITY_BITS = range(8, 12)  # that the array may take in one pass
NO_KEY = 255  # the stored distance of a key that does not exist: too far for any probability
FARTHEST = 511  # lag of a group that does not exist, quarters of a power of two: nothing is left of it
POWER_UNIT = 255  # of the powers that tell a query's level
DIGITS_TOP = 127 * 257  # largest integer of two signed bytes, 256 * 127 + 127: above it 16-bit results saturate


def neighbours(bits: int) -> int:
    """Keys whose streamed probabilities of `bits` bits are at most 256 times their number together: those that a
    cascade of slices adds up have 256 each, in the mean.
    """
    return 1 << bits - 8


@functools.cache
def power_table() -> tuple[int, ...]:
    """``2**-d`` of the nearest of four stored distances, in units of 1 / `POWER_UNIT`, rounded up: 64 words of 8 bits.

    Where even the widest probability rounds to nothing the power is 0.
    """
    step = 1 << DISTANCE_BITS
    distances = [(step + place % step) * 2 ** (place // step) / step - 1 for place in range(0, 256, 4)]
    least = 2 * (255 << max(PROBABILITY_BITS) - 8)  # the level may be one power of two below the maximum
    return tuple(math.ceil(POWER_UNIT * 2**-d) if 2 * least * 2**-d >= 1 else 0 for d in distances)


@functools.cache
def level_limits(bits: int) -> tuple[int, ...]:
    """Largest sum of powers of neighbours for each level, from four quarters below the maximum on: `POWER_UNIT` times
    ``2**(quarter / 4)``, rounded down.
    """
    last = 4 * (bits - 8)
    return tuple(math.floor(POWER_UNIT * 2 ** (quarter / 4)) for quarter in range(-4, last + 1))


@functools.cache
def probability_table(bits: int) -> tuple[int, ...]:
    """``round(2 * top * 2**(-i/64))``, i = 0..63, with the probability `top` = 255 * 2**(bits - 8) of a key that is
    alone: `bits` + 1 bits.
    """
    return tuple(round(2 * (255 << bits - 8) * 2 ** (-i / 64)) for i in range(64))


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
