"""Patches of the image as rows of pixels, and a norm of each."""

import numpy as np
import torch
from torch import fx

from moesaic.golden.frontend.meaning import Group, Linear, NormedPatches, Patches, Pixels
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal
from moesaic.golden.layers.sizes import NormSizes

__all__ = ["ONE_CONVOLUTION", "normed_linear", "normed_patches", "patches_of", "whole_patches"]

ONE_CONVOLUTION = (
    "one nn.Conv2d(channels, dim, kernel_size=patch, stride=patch) on the image, or unfolded patches and nn.Linear"
)


def patches_of(node: fx.Node, pixels: Pixels, size: tuple[int, int], norm: NormSizes | None = None) -> Patches:
    """The image in patches of a size; `Refusal` if they do not cover it."""
    channels, height, width = pixels.shape
    if height % size[0] or width % size[1]:
        raise Refusal(
            f"patches of {size[0]} x {size[1]} on an image of {height} x {width}",
            expected="sides that are multiples of the patch",
            nearest=ONE_CONVOLUTION,
        )
    grid = height // size[0], width // size[1]
    shape = grid[0] * grid[1], channels * size[0] * size[1]
    return Patches(node=node, shape=shape, pixels=pixels, size=size, grid=grid, norm=norm)


def whole_patches(
    pixels: Pixels, places: torch.Tensor, what: str
) -> tuple[tuple[int, int], torch.Tensor, torch.Tensor]:
    """Size of the patches that rows [rows, values] of pixels are, the patch of each row, and the place of each column
    in the order channel, row, column; `Refusal` naming `what` reads them if they are none.
    """
    channels, height, width = pixels.shape
    channel, y, x = places // (height * width), places // width % height, places % width
    size = int(y[0].max() - y[0].min()) + 1, int(x[0].max() - x[0].min()) + 1
    if channels * size[0] * size[1] != places.shape[1] or height % size[0] or width % size[1]:
        raise Refusal(
            f"{what} of {places.shape[1]} pixels",
            expected=f"patches of {channels} x height x width pixels that divide the image",
            nearest=ONE_CONVOLUTION,
        )
    patch = y // size[0] * (width // size[1]) + x // size[1]
    order = (channel * size[0] + y % size[0]) * size[1] + x % size[1]
    same = bool((patch == patch[:, :1]).all()) and bool((order == order[:1]).all())
    if not same or len(order[0].unique()) != places.shape[1]:
        raise Refusal(f"{what} of pixels that are no patch", expected="patches", nearest=ONE_CONVOLUTION)
    return size, patch[:, 0], order[0]


def normed_patches(
    reader: Reader,
    node: fx.Node,
    ids: torch.Tensor,
    norm: NormSizes,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
) -> torch.Tensor | None:
    """A norm over the pixels of patches [..., values]; None if the elements are none of the image's."""
    found = reader.find(ids)
    if found is None or not isinstance(found[0], Pixels):
        return None
    rows = found[1].reshape(-1, ids.shape[-1])
    size, patch, order = whole_patches(found[0], rows, "a norm")
    gain, offset = torch.ones(len(order), dtype=torch.float64), torch.zeros(len(order), dtype=torch.float64)
    if weight is not None:
        gain[order] = weight.double()
    if bias is not None:
        offset[order] = bias.double()
    patches = patches_of(node, found[0], size, norm)
    normed = NormedPatches(node=node, shape=patches.shape, patches=patches, weight=gain, bias=offset)
    return (reader.add(normed) + patch[:, None] * len(order) + order).reshape(ids.shape)


def normed_linear(
    node: fx.Node, normed: NormedPatches, columns: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> Linear:
    """A linear layer of normalised patches, with the norm's gain and offset in its matrix."""
    values = normed.shape[1]
    if not torch.equal(columns.sort().values, torch.arange(values)):
        raise Refusal("a linear layer of a part of a patch", expected="whole patches", nearest=ONE_CONVOLUTION)
    matrix = torch.empty(weight.shape, dtype=torch.float64)
    matrix[:, columns] = weight.double()
    group = Group(np.arange(values), matrix * normed.weight, bias.double() + matrix @ normed.bias)
    return Linear(node=node, shape=(normed.shape[0], len(weight)), source=normed.patches, groups=[group])
