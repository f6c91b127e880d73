"""The definition of the accelerator's arithmetic, on integers (numpy int64), bit for bit what the hardware computes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moesaic.hw.spec import tables
from moesaic.hw.spec.curves import CURVES, EXACT_FRACTION_BITS, POSITION_BITS
from moesaic.hw.spec.tables import (
    DIGITS_TOP,
    MEAN_FRACTION_BITS,
    MULTIPLIER_BITS,
    NORM_BITS,
    PLANE_BITS,
    STORED_SHIFT,
    STREAMED_SHIFT,
)

__all__ = [
    "Array",
    "IntArray",
    "activation",
    "activation_exact",
    "digits",
    "distance_code",
    "int8",
    "int16",
    "layernorm",
    "log2_floor",
    "norm_planes",
    "norm_stored",
    "norm_streamed",
    "norm_variance",
    "normalised",
    "probability",
    "reciprocal",
    "requantise",
    "rescale",
    "round_shift",
    "route",
    "rsqrt",
    "saturate",
    "softmax_block",
    "two_bytes",
    "wide_exp2",
]

Array = np.ndarray[Any, np.dtype[np.int64]]
IntArray = np.ndarray[Any, np.dtype[Any]]  # stored integers of any width


def saturate(x: Array, bits: int) -> Array:
    """Clip to the range of a signed integer of `bits` bits."""
    return np.clip(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def int8(x: Array) -> Array:
    """Saturate to int8."""
    return saturate(x, 8)


def int16(x: Array) -> Array:
    """Saturate to int16."""
    return saturate(x, 16)


def digits(x: Array) -> Array:
    """Saturate int16 to what two signed bytes hold: 256 * upper + lower, at most `tables.DIGITS_TOP`."""
    return np.minimum(int16(x), DIGITS_TOP)


def two_bytes(x: Array) -> tuple[Array, Array]:
    """What `digits` leaves as two signed bytes, ``x = 256 * upper + lower``."""
    upper = (np.asarray(x, np.int64) + (1 << PLANE_BITS - 1)) >> PLANE_BITS
    return upper, x - (upper << PLANE_BITS)


def round_shift(x: Array, shift: int | Array) -> Array:
    """``floor(x / 2**shift + 1/2)``: arithmetic right shift, rounding halves up. `shift` is 0..62, elementwise."""
    x, shift = np.asarray(x, np.int64), np.asarray(shift, np.int64)
    return (x + ((np.int64(1) << shift) >> 1)) >> shift


def requantise(acc: Array, mult: int | Array, shift: int | Array) -> Array:
    """First requantisation: accumulator (bias added) times an unsigned 16-bit multiplier, shifted, saturated to
    int16.
    """
    return int16(round_shift(np.asarray(acc, np.int64) * mult, shift))


def log2_floor(x: Array) -> Array:
    """Position of the leading one of x >= 1."""
    x = np.asarray(x, np.int64)
    if np.any(x < 1):
        raise ValueError(f"log2_floor: x must be positive, not {int(x.min())!r}")
    result = np.zeros_like(x)
    for step in (32, 16, 8, 4, 2, 1):
        big = (x >> (result + step)) > 0
        result = np.where(big, result + step, result)
    return result


def _normalise(x: Array, exponent: Array, point: int) -> Array:
    """x * 2**(point - exponent), truncated."""
    up = np.maximum(point - exponent, 0)
    down = np.maximum(exponent - point, 0)
    return (np.asarray(x, np.int64) << up) >> down


def reciprocal(x: Array) -> tuple[Array, Array]:
    """``(r, e)`` with 1/x ~ r * 2^-16 * 2^-e, r a 16-bit mantissa; table of 64 words and one Newton step. x in
    1..2^31-1.
    """
    e = log2_floor(x)
    m = _normalise(x, e, 15)  # Q1.15 in [1, 2)
    y = np.asarray(tables.reciprocal_table(), np.int64)[(m >> 9) & 63]
    t = ((2 << 31) - m * y) >> 15  # 2 - m*y, Q1.16
    return np.minimum((y * t) >> 16, 65535), e


def rsqrt(x: Array) -> tuple[Array, Array]:
    """``(r, e)`` with 1/sqrt(x) ~ r * 2^-16 * 2^-e, r a 16-bit mantissa; table of 192 words and one Newton step.
    x >= 1.
    """
    e = log2_floor(x) >> 1
    m = _normalise(x, 2 * e, 14)  # Q2.14 in [1, 4)
    y = np.asarray(tables.rsqrt_table(), np.int64)[(m >> 8) - 64]
    square = (y * y) >> 16
    t = ((3 << 30) - m * square) >> 14  # 3 - m*y*y, Q2.16
    return np.minimum((y * t) >> 17, 65535), e


def _counted(total: Array, rms: int) -> Array:
    """A norm's sum of channels: 0 in RMSNorm (Zhang & Sennrich 2019), whatever it is."""
    return np.asarray(total, np.int64) * (1 - rms)


def norm_variance(total: Array, squares: Array, constants: Mapping[str, int]) -> Array:
    """dim^2 * (variance + eps), in RMSNorm of the mean square, of the constants of a NORM instruction; below 1 if the
    sums are not those of `dim` channels.
    """
    counted = _counted(total, constants["rms"])
    return np.asarray(constants["dim"] * np.asarray(squares, np.int64) - counted * counted + constants["epsilon"])


def normalised(
    x: Array,
    total: Array,
    squares: Array,
    *,
    dim: int,
    inv_dim: int,
    inv_dim_shift: int,
    scale: int,
    shift: int,
    epsilon: int,
    rms: int,
) -> Array:
    """Normalised residual rows, of any size; gain and offset are folded into the weights that follow.

    Parameters
    ----------
    x : [tokens, channels] int16
        Residual; any subset of the channels.
    total, squares : [tokens]
        Sum and sum of squares over all `dim` channels.
    dim, inv_dim, inv_dim_shift, scale, shift, epsilon, rms
        Constants of the NORM instruction.
    """
    total, squares = _counted(total, rms), np.asarray(squares, np.int64)
    mean = round_shift(total * inv_dim, inv_dim_shift)  # MEAN_FRACTION_BITS fraction bits
    r, e = rsqrt(norm_variance(total, squares, {"dim": dim, "epsilon": epsilon, "rms": rms}))
    multiplier = round_shift(r * scale, 32 - MULTIPLIER_BITS)
    # The mean is taken off behind the multiplier, where one word for each token has bits enough for any mean.
    offset = (-mean * multiplier) >> MEAN_FRACTION_BITS
    product = np.asarray(x, np.int64) * multiplier[:, None] + offset[:, None]
    return round_shift(product, (e + shift)[:, None])


def layernorm(x: Array, total: Array, squares: Array, **constants: int) -> Array:
    """`normalised` in `NORM_BITS` bits."""
    return saturate(normalised(x, total, squares, **constants), NORM_BITS)


def norm_streamed(n: Array) -> Array:
    """A normalised value as the array takes it in one pass: -255..255 (9 bits), rounded down."""
    return np.maximum(np.asarray(n, np.int64) >> STREAMED_SHIFT, -255)


def norm_stored(n: Array) -> Array:
    """A normalised value as the activation memory keeps it: int8, rounded down."""
    return np.asarray(n, np.int64) >> STORED_SHIFT


def norm_planes(n: Array) -> tuple[Array, Array]:
    """A normalised value in two planes, ``n = 256 * high + low``: -16..15 and 0..255, both of which the array takes."""
    n = np.asarray(n, np.int64)
    return n >> PLANE_BITS, n & ((1 << PLANE_BITS) - 1)


def activation_exact(curve: str, x: Array) -> Array:
    """A curve of ``hw.spec.curves`` of int16, before rounding: `EXACT_FRACTION_BITS` fraction bits, of ReLU as many
    more than the input has.

    ReLU(x) - delta(|x|), or for a step: 1 - tau(|x|) on the right and tau(|x|) on the left; both interpolated.
    """
    x, curved = np.asarray(x, np.int64), CURVES[curve]
    one = 1 << EXACT_FRACTION_BITS
    lines = np.where(x < 0, 0, one if curved.step else x << EXACT_FRACTION_BITS - tables.GELU_FRACTION_BITS)
    if not curved.knots:
        return lines
    knots = np.asarray((*curved.knots, 0), np.int64)
    a = np.abs(x)
    i = np.minimum(a >> POSITION_BITS, len(knots) - 2)
    correction = (knots[i] << POSITION_BITS) + (knots[i + 1] - knots[i]) * (a & ((1 << POSITION_BITS) - 1))
    return lines + np.where(curved.step & (x < 0), correction, -correction)


def activation(curve: str, x: Array) -> Array:
    """A curve of ``hw.spec.curves``: int16 in, int16 with 10 fraction bits out (ReLU: those of the input)."""
    return round_shift(activation_exact(curve, x), EXACT_FRACTION_BITS - tables.GELU_FRACTION_BITS)


def rescale(x: Array, mult: int | Array, shift: int | Array) -> Array:
    """Second requantisation: int16 times an unsigned 16-bit multiplier, or times an int16; shifted, saturated to
    int16.
    """
    return int16(round_shift(np.asarray(x, np.int64) * mult, shift))


def wide_exp2(d: Array) -> Array:
    """``65535 * 2**(-d / 1024)`` rounded to 16 bits; d >= 0 with 10 fraction bits, of which 8 are used."""
    d = np.asarray(d, np.int64)
    k = np.minimum(d >> 10, 31)
    return round_shift(np.asarray(tables.wide_exp2_table(), np.int64)[(d >> 2) & 255], k)


def distance_code(d: Array) -> Array:
    """A distance from the maximum, d >= 0 with 8 fraction bits, as one byte: 1 + d is a number with a leading one, six
    bits after it and an exponent of two bits; to the nearest, halves up, at most 255.
    """
    above = np.asarray(d, np.int64) + (1 << 8)
    exponent = np.minimum(log2_floor(above) - 8, 3)
    kept = round_shift(above, exponent + 8 - tables.DISTANCE_BITS)
    return np.minimum(kept + (exponent - 1 << tables.DISTANCE_BITS), 255)


def softmax_block(t: Array, level: Array | None, *, bits: int) -> tuple[Array, Array, Array]:
    """One block of keys of the single-pass softmax, base 2 (after Milakov & Gimelshein 2018, with an integer maximum as
    in Softermax, and a shared exponent for what is summed in one cascade).

    Parameters
    ----------
    t : [queries, keys of this block] int16
        Scores times log2(e), 8 fraction bits.
    level : [queries] or None
        Running level before this block, quarters of a power of two; None for the first block.
    bits : int
        Of a probability when it is streamed.

    Returns
    -------
    codes : [queries, keys], 0..255
        Distances from the maximum.
    maximum : [queries]
        Of this block, rounded up to an integer.
    level : [queries], after this block
        The smallest at which any `tables.neighbours(bits)` keys together weigh 1 or less.
    """
    maximum = (t.max(axis=1) + 255) >> 8
    codes = distance_code((maximum[:, None] << 8) - t)
    size = tables.neighbours(bits)
    powers = np.asarray(tables.power_table(), np.int64)[codes >> 2]
    powers = np.pad(powers, ((0, 0), (0, -powers.shape[1] % size))).reshape(len(t), -1, size)
    quarters = np.searchsorted(tables.level_limits(bits), powers.sum(axis=2).max(axis=1))
    reached = (maximum << 2) + quarters - 4
    return codes, maximum, reached if level is None else np.maximum(level, reached)


def probability(codes: Array, lag: Array, *, bits: int) -> Array:
    """Stored distances as the probabilities that the array takes: ``255 * 2**(bits - 8) * 2**(-distance - lag / 4)``,
    rounded. The lag, quarters of a power of two, is that of the query's final level behind the maximum of the block; of
    the block that has set the level it may be -4.
    """
    codes = np.asarray(codes, np.int64)
    one = 1 << tables.DISTANCE_BITS
    distance = ((codes & (one - 1)) + one << (codes >> tables.DISTANCE_BITS)) - one
    distance = distance + (np.asarray(lag, np.int64) << tables.DISTANCE_BITS - 2)
    power = np.asarray(tables.probability_table(bits), np.int64)[distance & (one - 1)]
    return round_shift(power, np.minimum(distance >> tables.DISTANCE_BITS, 15) + 1)


def route(logits: Array, top_k: int, *, renormalise: bool, shift: int = 0) -> tuple[Array, Array]:
    """Top-k gate of one layer.

    Parameters
    ----------
    logits : [tokens, experts] int16
        Gate logits times log2(e), ``10 - shift`` fraction bits.
    top_k : int
    renormalise : bool
        False: softmax over all experts, the k largest kept as they are (`noisy_vmoe`). True: softmax over the k
        (`noisy`).
    shift : int
        0..7, of a gate whose logits need more room.

    Returns
    -------
    index : [tokens, k], largest first; the lowest expert number wins a tie
    score : [tokens, k], unsigned 16 bits, 65536 = 1.0 (saturated at 65535)
    """
    logits = np.asarray(logits, np.int64)
    index = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    e = wide_exp2((logits.max(axis=1, keepdims=True) - logits) << shift)
    chosen = np.take_along_axis(e, index, axis=1)
    r, exponent = reciprocal((chosen if renormalise else e).sum(axis=1))
    return index, np.minimum(round_shift(chosen * r[:, None], exponent[:, None]), 65535)
