"""Layers on integers: what one instruction of the accelerator does to whole tensors, from `numerics` only.

What does not fit is counted under the name of the tensor.
"""

from typing import Any

import numpy as np

from moesaic.golden import numerics
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.network import Network
from moesaic.golden.numerics import Array
from moesaic.golden.patch_norm import normalised_patches
from moesaic.golden.saturation import CLIPPED_SHARE, SHARE, Saturation
from moesaic.hw.spec.functions import FUNCTIONS, Function
from moesaic.hw.spec.tables import NORM_BITS

__all__ = [
    "add",
    "first_inputs",
    "hidden",
    "linear_int16",
    "matmul",
    "norm",
    "patch_vectors",
    "read_normalised",
]


def patch_vectors(image: np.ndarray[Any, Any], network: Network) -> Array:
    """``pixel - 128`` of a uint8 image [channels, H, W], or its normalised patches, as vectors [tokens, values of a
    patch]; zeros for the learnt tokens before them.

    A vector's order is channel, row, column.
    """
    (channels, _, _), (down, across), (high, wide) = network.image.shape, network.image.grid, network.image.patch
    pixels = image.reshape(channels, down, high, across, wide).transpose(1, 3, 0, 2, 4)
    if network.image.patch_norm is None:
        patches = pixels.astype(np.int64) - 128
    else:
        patches = normalised_patches(pixels.reshape(down * across, channels, -1), network.image).astype(np.int64)
    vectors = patches.reshape(down * across, -1)
    return np.concatenate([np.zeros((network.prefix_tokens, vectors.shape[1]), np.int64), vectors])


def matmul(x: Array, weight: np.ndarray[Any, Any]) -> Array:
    """``x @ weight.T`` of integers [n, in] and [out, in]. In float64, which is exact below 2^53 and runs on BLAS."""
    return np.rint(x.astype(np.float64) @ weight.astype(np.float64).T).astype(np.int64)


def linear_int16(linear: QuantLinear, x: Array, saturation: Saturation, *, allowed: float = SHARE) -> Array:
    """First requantisation of a matrix: integers [n, in] to int16 [n, out]."""
    acc = matmul(x, linear.weight) + (linear.bias.astype(np.int64) << linear.bias_shift)
    exact = numerics.round_shift(acc * linear.mult.astype(np.int64), linear.shift)
    return saturation.fit(linear.name, exact, 16, allowed=allowed)


def norm(constants: QuantNorm, x: Array, saturation: Saturation) -> Array:
    """The norm of residual rows [tokens, dim] to `tables.NORM_BITS` bits."""
    exact = numerics.normalised(x, x.sum(axis=1), (x * x).sum(axis=1), **constants.fields)
    return saturation.fit(constants.name, exact, NORM_BITS, allowed=CLIPPED_SHARE)


def read_normalised(linear: QuantLinear, n: Array) -> Array:
    """Normalised values as `linear` reads them: stored in 8 bits, streamed in 9, or all of them in two planes."""
    if linear.reads == "planes":
        return n
    return numerics.norm_streamed(n) if linear.reads == "streamed" else numerics.norm_stored(n)


def add(name: str, old: Array, delta: Array, saturation: Saturation, *, residual_shift: int = 0) -> Array:
    """Function ADD: the old residual, shifted right, plus an int16."""
    return saturation.fit(name, numerics.round_shift(old, residual_shift) + delta, 16)


def first_inputs(linear: QuantLinear, n: Array, gain: QuantLinear | None, saturation: Saturation) -> Array:
    """What a layer's first matrix reads of normalised values; with a `gain`, what that makes of them, stored."""
    if gain is None:
        return read_normalised(linear, n)
    exact = linear_int16(gain, read_normalised(gain, n), saturation)
    return saturation.stored(f"{gain.name}.stored", exact, wide=gain.bits > 8)


def hidden(
    name: str, pre: Array, mult: int, shift: int, saturation: Saturation, *, wide: bool, function: Function
) -> Array:
    """An activation from its int16 input, times `mult` (squared: times itself), shifted."""
    use = FUNCTIONS[function]
    if use.activation is None:
        raise ValueError(f"function must be an activation, not {function.name}")
    active = numerics.activation(use.activation, pre)
    exact = numerics.round_shift(active * (active if use.squared else mult), shift)
    return saturation.stored(name, exact, wide=wide)
