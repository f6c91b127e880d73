"""Recognises patch embedding and linear layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from moesaic.golden.frontend.activations import PLAIN
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.meaning import Constant, Group, Linear, Meaning, NormedPatches, Pixels, Pointwise
from moesaic.golden.frontend.patches import ONE_CONVOLUTION, normed_linear, patches_of, whole_patches
from moesaic.golden.frontend.pointwise import as_activation
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["HANDLERS", "product"]


def _channels(pixels: Pixels, local: torch.Tensor) -> torch.Tensor | None:
    """Which channel of the image each channel of a tensor is; None if it is not whole channels."""
    area = pixels.shape[1] * pixels.shape[2]
    if local.ndim != 4 or local.shape[0] != 1 or local.shape[2:] != pixels.shape[1:]:
        return None
    channels = local[0, :, 0, 0] // area
    whole = channels[:, None] * area + torch.arange(area)
    return channels if torch.equal(local[0].flatten(1), whole) else None


def _tensor(value: Any) -> torch.Tensor | None:
    return None if value is None else value.value


def _names(value: Any) -> tuple[str, ...]:
    return value.names if isinstance(value, Known) else ()


def _convolution(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    given = dict(
        zip(("input", "weight", "bias", "stride", "padding", "dilation", "groups"), args, strict=False)
    ) | dict(kwargs)
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    padding, dilation, groups = given.get("padding", 0), given.get("dilation", 1), given.get("groups", 1)
    found = reader.find(x) if isinstance(x, torch.Tensor) else None
    if found is None or not isinstance(found[0], Pixels) or not isinstance(weight, Known):
        raise Refusal("a convolution of features", expected="a convolution of the image", nearest=ONE_CONVOLUTION)
    pixels, local = found[0], found[1]
    kernel, stride = (
        (weight.value.shape[2], weight.value.shape[3]),
        tuple(np.broadcast_to(given.get("stride", 1), 2).tolist()),
    )
    channels = _channels(pixels, local)
    if channels is None:
        raise Refusal("a convolution of a part of the image", expected="the whole image", nearest=ONE_CONVOLUTION)
    plain = np.all(np.equal(padding, 0)) if not isinstance(padding, str) else padding == "valid"
    if kernel != stride or not plain or np.any(np.not_equal(dilation, 1)) or groups != 1:
        raise Refusal(
            f"a convolution with kernel {kernel}, stride {stride} and padding {padding}",
            expected="patches that do not overlap",
            nearest=ONE_CONVOLUTION,
        )
    # Channels in another order (BGR), or repeated: so many columns of the first weights.
    of_channels = torch.zeros(len(weight.value), pixels.shape[0], *kernel, dtype=weight.value.dtype)
    matrix = of_channels.index_add(1, channels, weight.value).reshape(len(weight.value), -1)
    linear = _patch_linear(node, pixels, kernel, matrix, _tensor(bias))
    linear.weight_names, linear.bias_names = weight.names, _names(bias)
    start = reader.add(linear)
    down, across = pixels.shape[1] // kernel[0], pixels.shape[2] // kernel[1]
    out = len(matrix)
    return start + torch.arange(down * across * out).view(1, down, across, out).permute(0, 3, 1, 2)


def _patch_linear(
    node: fx.Node, pixels: Pixels, size: tuple[int, int], weight: torch.Tensor, bias: torch.Tensor | None
) -> Linear:
    patches = patches_of(node, pixels, size)
    group = Group(np.arange(patches.shape[1]), weight, _bias(bias, weight))
    return Linear(node=node, shape=(patches.shape[0], len(weight)), source=patches, groups=[group])


def _bias(bias: torch.Tensor | None, weight: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(weight), dtype=weight.dtype) if bias is None else bias.expand(len(weight))


def _of_pixels(
    reader: Reader, node: fx.Node, pixels: Pixels, places: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> tuple[Linear, torch.Tensor]:
    """A linear of unfolded patches [rows, values]; the patch of each row."""
    size, patch, order = whole_patches(pixels, places, "a linear layer")
    matrix = torch.empty_like(weight)
    matrix[:, order] = weight
    return _patch_linear(node, pixels, size, matrix, bias), patch


def _constant_rows(x: torch.Tensor) -> bool:
    return bool((x == x[:, :1]).all())


def _same_rows(x: torch.Tensor) -> bool:
    return bool((x == x[:1]).all())


def _source(
    reader: Reader, rows: torch.Tensor
) -> tuple[Meaning, torch.Tensor, torch.Tensor, torch.Tensor | None] | None:
    """Which meaning a matrix of elements [rows, in] reads.

    Returns
    -------
    meaning, token of each row, column of each input (-1 for a constant), value of each constant input (or None)
    """
    found = reader.find(rows)
    if found is not None and len(found[0].shape) == 2:
        token, column = found[1] // found[0].shape[1], found[1] % found[0].shape[1]
        return (found[0], token[:, 0], column[0], None) if _constant_rows(token) and _same_rows(column) else None
    owner, place = reader.owners(rows)
    if not _same_rows(owner):
        return None
    owners = owner[0]
    fixed = torch.tensor([isinstance(reader.meanings[int(o)], Constant) for o in owners])
    moving = owners[~fixed].unique()
    if len(moving) != 1 or len(reader.meanings[int(moving[0])].shape) != 2:
        return None
    meaning = reader.meanings[int(moving[0])]
    token, column = place[:, ~fixed] // meaning.shape[1], place[:, ~fixed] % meaning.shape[1]
    constants = torch.zeros(rows.shape[1], dtype=torch.float64)
    for i in fixed.nonzero().flatten():
        held = reader.meanings[int(owners[i])]
        assert isinstance(held, Constant)
        values = held.values[place[:, i]].double()
        if bool((values != values[0]).any()):
            return None
        constants[i] = values[0]
    if not _constant_rows(token) or not _same_rows(column):
        return None
    columns = torch.full((rows.shape[1],), -1)
    columns[~fixed] = column[0]
    return meaning, token[:, 0], columns, constants


def _rows_of(
    reader: Reader, linear: Linear, patch: torch.Tensor, names: tuple[tuple[str, ...], tuple[str, ...]]
) -> torch.Tensor:
    """Elements [1, rows, out] of a new linear layer of patches, with the patch of each row."""
    linear.weight_names, linear.bias_names = names
    return (reader.add(linear) + patch[:, None] * linear.out + torch.arange(linear.out))[None]


def product(
    reader: Reader,
    node: fx.Node,
    batches: Sequence[tuple[torch.Tensor, torch.Tensor]],
    bias: torch.Tensor | None,
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> torch.Tensor:
    """Elements [batch, rows, out] of linear layers: each batch has elements [rows, in] and a matrix [out, in]."""
    groups, tokens, source = [], [], None
    for rows, weight in batches:
        pixels = reader.find(rows)
        if pixels is not None and isinstance(pixels[0], Pixels):
            linear, patch = _of_pixels(reader, node, pixels[0], pixels[1], weight, bias)
            return _rows_of(reader, linear, patch, names)
        read = _source(reader, rows)
        if read is None:
            raise Refusal(
                "a matrix product that mixes tokens",
                expected="a linear layer on every token",
                nearest="nn.Linear(dim, ...)",
            )
        meaning, token, columns, constants = read
        if isinstance(meaning, NormedPatches) and constants is None:
            return _rows_of(reader, normed_linear(node, meaning, columns, weight, _bias(bias, weight)), token, names)
        if isinstance(meaning, Pointwise) and meaning.kind not in PLAIN:
            raise as_activation(meaning)
        matrix, offset = weight, _bias(bias, weight)
        if constants is not None:
            offset = offset.double() + weight.double() @ constants
            matrix, columns = weight[:, columns >= 0], columns[columns >= 0]
        if source is not None and meaning is not source:
            raise Refusal("a product of several layers", expected="one source", nearest="nn.Linear(dim, ...)")
        source = meaning
        tokens.append(token)
        groups.append(Group(columns.numpy(), matrix, offset))
    assert source is not None
    out = len(groups[0].weight)
    linear = Linear(
        node=node,
        shape=(source.shape[0], out * len(groups)),
        source=source,
        groups=groups,
        weight_names=names[0],
        bias_names=names[1],
    )
    start = reader.add(linear)
    return torch.stack(
        [start + t[:, None] * linear.shape[1] + g * out + torch.arange(out) for g, t in enumerate(tokens)]
    )


def _linear(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | dict(kwargs)
    x, weight, bias = given["input"], given["weight"], given.get("bias")
    if not isinstance(x, torch.Tensor) or not isinstance(weight, Known) or isinstance(bias, torch.Tensor):
        raise Refusal(
            "a linear layer whose weight depends on the image",
            expected="a constant weight",
            nearest="nn.Linear(dim, ...)",
        )
    rows = x.reshape(-1, x.shape[-1])
    ids = product(reader, node, [(rows, weight.value)], _tensor(bias), (weight.names, _names(bias)))
    return ids.reshape(*x.shape[:-1], -1)


HANDLERS = {"conv2d": _convolution, "convolution": _convolution, "linear": _linear}
