"""Task heads for the host: from torch modules to what a board runs with numpy."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from moesaic.boards.numpy_heads import HostHead, HostHeads
from moesaic.golden import heads as own
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.training.scenes import FAR, PALETTE
from moesaic.golden.up_head import UpHead

__all__ = ["host_heads"]

Tensors = dict[str, np.ndarray]


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().float().cpu().numpy())


def _tensors(norm: nn.LayerNorm, convolutions: list[tuple[torch.Tensor, torch.Tensor]]) -> Tensors:
    found = {"norm.weight": _numpy(norm.weight), "norm.bias": _numpy(norm.bias)}
    for number, (weight, bias) in enumerate(convolutions):
        found |= {f"{number}.weight": _numpy(weight), f"{number}.bias": _numpy(bias)}
    return found


def _pair(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    assert isinstance(module, nn.Conv2d) and module.bias is not None
    return module.weight, module.bias


def _dense(head: own.DenseHead) -> HostHead:
    network, depth = head.network, isinstance(head, own.DepthHead)
    layers = (("conv", 0), ("gelu",), ("conv", 1), ("shuffle", head.cells), ("resize", *network.image_size))
    return HostHead(
        _tensors(head.norm, [_pair(head.conv), _pair(head.predict)]),
        layers,
        network.image.grid,
        network.prefix_tokens,
        head.norm.eps,
        "ratio" if depth else "classes",
        own.NEAREST,
        FAR,
    )


def _folded(convolution: nn.Module, norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """A convolution with the batch norm behind it, in inference."""
    weight, bias = _pair(convolution)
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None and norm.running_mean is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return weight.double() * gain[:, None, None, None], (
        bias.double() - norm.running_mean.double()
    ) * gain + norm.bias.double()


def _up(head: UpHead) -> HostHead:
    network, (height, width) = head.network, head.network.image.grid
    layers: list[tuple[object, ...]] = []
    convolutions = []

    def double() -> None:
        nonlocal height, width
        height, width = 2 * height, 2 * width
        layers.append(("resize", height, width))

    for i in range(head.doublings + 1):
        convolutions.append(_folded(head.get_submodule(f"conv_{i}"), head.get_submodule(f"syncbn_fc_{i}")))
        layers += [("conv", i), ("relu",)]
        if i < head.doublings:
            double()
    convolutions.append(_pair(head.get_submodule(f"conv_{head.doublings + 1}")))
    layers.append(("conv", head.doublings + 1))
    if head.doublings:
        double()
    if (height, width) != network.image_size:
        layers.append(("resize", *network.image_size))
    return HostHead(
        _tensors(head.norm, convolutions),
        tuple(layers),
        network.image.grid,
        network.prefix_tokens,
        head.norm.eps,
        "value" if head.task == "depth" else "classes",
    )


def host_heads(heads: Mapping[str, nn.Module], qmodel: QuantModel, *, blocks: int) -> HostHeads:
    """The heads that have a numpy form, for the residual after `blocks` blocks; others are left out."""
    found = {}
    for task, head in heads.items():
        if isinstance(head, own.DenseHead):
            found[task] = _dense(head)
        elif isinstance(head, UpHead):
            found[task] = _up(head)
    palette = tuple((int(red), int(green), int(blue)) for red, green, blue in PALETTE)
    return HostHeads(float(qmodel.blocks[blocks - 1].residual_step), found, palette)
