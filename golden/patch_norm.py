"""The norm of a patch's pixels, which the host computes: from bytes to the int8 that the patch embedding reads.

Plain Python 3.10 with numpy: the host runtime on a board does the same.
"""

from typing import Any

import numpy as np

from moesaic.golden.nodes import Image

__all__ = ["PATCH_STEP", "normalised_patches"]

PATCH_STEP = 1 / 16
"""Of normalised pixels: what lies beyond 8 deviations is clipped."""


def normalised_patches(pixels: np.ndarray[Any, Any], image: Image) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Patches [patches, channels, pixels of a channel] uint8, normalised as the image says, in units of `PATCH_STEP`.

    Sums are of whole numbers; all else is one float64 operation after the other, each rounded as IEEE 754 has it. So
    every machine computes the same bits.

    Raises
    ------
    ValueError
        If the image has no norm of patches.
    """
    norm, (channels, area) = image.patch_norm, pixels.shape[1:]
    if norm is None:
        raise ValueError("image must have a norm of patches, not None")
    values = pixels.astype(np.int64) - 128
    totals, squares = values.sum(axis=2), (values * values).sum(axis=2)
    # Channel c of the float model's pixels: value * scale + offset.
    scales = [1 / (255 * std) for std in image.pixel_std]
    offsets = [(128 / 255 - mean) / std for mean, std in zip(image.pixel_mean, image.pixel_std, strict=True)]
    mean, square = np.zeros(len(values)), np.zeros(len(values))
    for c, (scale, offset) in enumerate(zip(scales, offsets, strict=True)):
        mean += (totals[:, c] * scale + area * offset) / (channels * area)
        second = squares[:, c] * (scale * scale) + totals[:, c] * (2 * scale * offset)
        square += (second + area * (offset * offset)) / (channels * area)
    centre, variance = norm.moments(mean, square)
    deviation = np.sqrt(variance + norm.eps)
    unit = np.where(deviation == 0, 1.0, deviation) * PATCH_STEP
    normalised = np.empty(values.shape, np.int8)
    for c, (scale, offset) in enumerate(zip(scales, offsets, strict=True)):
        exact = (values[:, c] * scale + offset - centre[:, None]) / unit[:, None]
        normalised[:, c] = np.clip(np.rint(exact), -128, 127)
    return normalised
