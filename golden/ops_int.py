"""Layers on integers: what one instruction of the accelerator does to whole tensors, from `numerics` only."""

from typing import Any

import numpy as np

from moesaic.golden import numerics
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.network import Network
from moesaic.golden.numerics import Array
from moesaic.hw.spec.functions import FUNCTIONS, Function

__all__ = [
    "add",
    "first_inputs",
    "gated",
    "hidden",
    "linear_int16",
    "matmul",
    "norm",
    "patch_vectors",
    "read_normalised",
    "stored",
]


def patch_vectors(image: np.ndarray[Any, Any], network: Network) -> Array:
    """``pixel - 128`` of a uint8 image [channels, H, W] as vectors [tokens, values of a patch]; zeros for the learnt
    tokens before them.

    A vector's order is channel, row, column.
    """
    (channels, _, _), (down, across), (high, wide) = network.image.shape, network.image.grid, network.image.patch
    pixels = image.astype(np.int64) - 128
    vectors = pixels.reshape(channels, down, high, across, wide).transpose(1, 3, 0, 2, 4).reshape(down * across, -1)
    return np.concatenate([np.zeros((network.prefix_tokens, vectors.shape[1]), np.int64), vectors])


def matmul(x: Array, weight: np.ndarray[Any, Any]) -> Array:
    """``x @ weight.T`` of integers [n, in] and [out, in]. In float64, which is exact below 2^53 and runs on BLAS."""
    return np.rint(x.astype(np.float64) @ weight.astype(np.float64).T).astype(np.int64)


def linear_int16(linear: QuantLinear, x: Array) -> Array:
    """First requantisation of a matrix: integers [n, in] to int16 [n, out]."""
    bias = linear.bias.astype(np.int64) << linear.bias_shift
    return numerics.requantise(matmul(x, linear.weight) + bias, linear.mult.astype(np.int64), linear.shift)


def norm(constants: QuantNorm, x: Array) -> Array:
    """The norm of residual rows [tokens, dim] to `tables.NORM_BITS` bits."""
    return numerics.layernorm(x, x.sum(axis=1), (x * x).sum(axis=1), **constants.fields)


def read_normalised(linear: QuantLinear, n: Array) -> Array:
    """Normalised values as `linear` reads them: stored in 8 bits, streamed in 9, or all of them in two planes."""
    if linear.reads == "planes":
        return n
    return numerics.norm_streamed(n) if linear.reads == "streamed" else numerics.norm_stored(n)


def add(old: Array, delta: Array, residual_shift: int = 0) -> Array:
    """Function ADD: the old residual, shifted right, plus a saturated int16."""
    return numerics.int16(numerics.round_shift(old, residual_shift) + numerics.int16(delta))


def stored(x: Array, *, wide: bool) -> Array:
    """A result as the activation memory keeps it: int8, or 16 bits."""
    return numerics.digits(x) if wide else numerics.int8(x)


def first_inputs(linear: QuantLinear, n: Array, gain: QuantLinear | None) -> Array:
    """What a layer's first matrix reads of normalised values; with a `gain`, what that makes of them, stored."""
    if gain is None:
        return read_normalised(linear, n)
    return stored(linear_int16(gain, read_normalised(gain, n)), wide=gain.bits > 8)


def gated(gate: Array, value: Array, shift: int, *, wide: bool = False, function: Function) -> Array:
    """Values times their activated gates, shifted; both from int16."""
    use = FUNCTIONS[function]
    if use.activation is None or not use.gate:
        raise ValueError(f"function must be an activation of gates, not {function.name}")
    return stored(numerics.rescale(value, numerics.activation(use.activation, gate), shift), wide=wide)


def hidden(pre: Array, mult: int, shift: int, *, wide: bool = False, function: Function = Function.GELU) -> Array:
    """An activation from its int16 input, times `mult` (squared: times itself), shifted."""
    use = FUNCTIONS[function]
    if use.activation is None:
        raise ValueError(f"function must be an activation, not {function.name}")
    active = numerics.activation(use.activation, pre)
    return stored(numerics.rescale(active, active if use.squared else mult, shift), wide=wide)
