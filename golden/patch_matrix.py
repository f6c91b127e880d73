"""The patch embedding in floats, as a matrix on the int8 that the accelerator reads."""

import numpy as np

from moesaic.golden.layers.quantiser import floats
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.patch_norm import PATCH_STEP
from moesaic.golden.scales import FloatArray

__all__ = ["patch_matrix"]


def patch_matrix(model: M3ViT) -> tuple[FloatArray, FloatArray]:
    """Weight [dim, values of a patch] and bias [dim] on `ops_int.patch_vectors`."""
    network, weight, bias = model.network, floats(model.patch_embed.proj.weight), floats(model.patch_embed.proj.bias)
    if network.image.patch_norm is not None:
        return weight.reshape(network.dim, -1) * PATCH_STEP, bias
    deviation, mean = np.array(network.image.pixel_std), np.array(network.image.pixel_mean)
    weight = weight / (255 * deviation)[:, None, None]  # [dim, channels, ph, pw]
    centre = (weight * (128 - 255 * mean)[:, None, None]).sum(axis=(1, 2, 3))
    return weight.reshape(network.dim, -1), bias + centre
