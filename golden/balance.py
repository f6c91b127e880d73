"""Channels of queries, keys and values made alike in size, at no change of what the network computes."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.golden.m3vit import Block, M3ViT

__all__ = ["AttentionSizes", "balanced"]

Array = np.ndarray[Any, Any]

SHARE = 0.75  # of a context channel's size that moves into the weights of `proj`
LEAST = 1e-3  # of the largest channel: smaller ones count as that


@dataclass(frozen=True)
class AttentionSizes:
    """How large the channels of a block's attention become, each [dim].

    Parameters
    ----------
    q, k
        Largest magnitudes of queries, and of keys less `centre`.
    centre
        Middle of the keys' ranges.
    context
        Root mean square of the context.
    """

    q: Array
    k: Array
    centre: Array
    context: Array


def _positive(size: Array) -> Array:
    return np.maximum(np.asarray(size, np.float64), max(LEAST * float(np.max(size)), 1e-30))


def _key_scales(sizes: AttentionSizes) -> Array:
    """Factors that make a channel of queries, divided, and of keys, multiplied, equally large."""
    return np.asarray(np.sqrt(_positive(sizes.q) / _positive(sizes.k)))


def _value_scales(sizes: AttentionSizes) -> Array:
    """Factors by which values are divided and the inputs of `proj` multiplied; 1 on the (geometric) average."""
    scales = _positive(sizes.context) ** SHARE
    return np.asarray(scales / np.exp(np.log(scales).mean()))


def balanced(model: M3ViT, sizes: Sequence[AttentionSizes]) -> M3ViT:
    """A copy that computes the same, with one step per tensor wasting less of small channels.

    Softmax does not see what all keys have in common, for it adds the same to all scores of a query: keys are centred,
    so that neither they nor the scores, which have 16 bits, need room for it.
    A score is a sum over channels of query times key: what one is divided by, the other can be multiplied with. A
    context is a weighted sum of values, channel by channel: what they are divided by, the next weights can be
    multiplied with. (After Nagel et al. 2019, cross-layer equalisation.) GELU and LayerNorm stand in the way everywhere
    else.

    Parameters
    ----------
    model : M3ViT
        Not changed.
    sizes : list of AttentionSizes, one for each block
    """
    result = copy.deepcopy(model)
    with torch.no_grad():
        for block, size in zip(result.blocks, sizes, strict=True):
            assert isinstance(block, Block)
            qkv, proj = block.attn.qkv, block.attn.proj
            keys, values = _key_scales(size), _value_scales(size)
            rows = torch.from_numpy(np.concatenate([1 / keys, keys, 1 / values])).to(qkv.weight.dtype)
            dim = len(keys)
            qkv.bias[dim : 2 * dim].sub_(torch.from_numpy(np.asarray(size.centre)).to(qkv.bias.dtype))
            qkv.weight.mul_(rows[:, None])
            qkv.bias.mul_(rows)
            proj.weight.mul_(torch.from_numpy(values).to(proj.weight.dtype))
    return result
