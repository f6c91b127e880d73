"""LayerNorm to RMSNorm at no change of what a network computes: tokens lose their mean where they are written.

LayerNorm sees nothing of a token's mean. So everything that is added to the residual stream may be made zero on the
average of the channels, by changing the weights that write it; the mean then is zero, and subtracting it is nothing
(Pre-RMSNorm, Jiang et al. 2023, arXiv 2305.14858).
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from moesaic.errors import InputError
from moesaic.golden.frontend.prove import difference
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network

__all__ = ["check_heads", "recentred"]

_CLOSE = 1e-4  # of the largest value of a head's output, which has float32


def _written(model: M3ViT) -> Iterator[tuple[torch.Tensor, int]]:
    """Parameters that make what is written to the residual stream, and the axis of each along the channels."""
    yield model.patch_embed.proj.weight, 0
    if model.patch_embed.proj.bias is not None:
        yield model.patch_embed.proj.bias, 0
    for tokens in (model.pos_embed, model.cls_token, model.extra_tokens):
        if tokens is not None:
            yield tokens, -1
    for step in model.steps():
        yield from step.layer.written()


@torch.no_grad()
def recentred(model: M3ViT) -> M3ViT:
    """A copy whose norms subtract no mean; its residual is the model's less each token's mean.

    Raises
    ------
    InputError
        If a norm subtracts none as it is, which reads the mean, or a layer has no matrix that can take it out.
    """
    result = M3ViT(model.network.recentred).to(model.pos_embed.dtype)
    result.load_state_dict(copy.deepcopy(model.state_dict()))
    for tensor, axis in _written(result):
        exact = tensor.double()
        tensor.copy_(exact - exact.mean(dim=axis, keepdim=True))
    return result.train(model.training)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)


@torch.no_grad()
def check_heads(heads: Mapping[str, nn.Module], network: Network) -> None:
    """Try whether what follows the last block sees as little of a token's mean as a LayerNorm: the mean is gone.

    Raises
    ------
    InputError
        If a task's head does, or is not known.
    """
    seed = torch.Generator().manual_seed(0)
    tokens = torch.randn(network.tokens, network.dim, generator=seed)
    means = 10 * torch.randn(network.tokens, 1, generator=seed)
    for task in network.tasks:
        if task not in heads:
            raise InputError(
                f"RMSNorm in place of LayerNorm must be for a known head, which sees nothing of a token's mean; task "
                f"'{task}' has none: leave --rms-norm out"
            )
        pairs = zip(_tensors(heads[task](tokens)), _tensors(heads[task](tokens + means)), strict=True)
        for one, other in pairs:
            if not difference(other, one) <= _CLOSE:
                raise InputError(
                    f"RMSNorm in place of LayerNorm must be for a head that sees nothing of a token's mean, not that "
                    f"of task '{task}': leave --rms-norm out"
                )
