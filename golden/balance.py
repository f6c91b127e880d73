"""A network's parameters changed so that quantisation loses less, at no change of what it computes."""

import copy
from collections.abc import Mapping
from typing import Any

import torch

from moesaic.golden.m3vit import M3ViT

__all__ = ["balanced"]


def balanced(model: M3ViT, ranges: Mapping[str, Any]) -> M3ViT:
    """A copy that computes the same, with one step per tensor wasting less of small channels.

    Parameters
    ----------
    model : M3ViT
        Not changed.
    ranges : mapping of layer name to what its `FloatLayer.ranges` gave
        Layers that are not named stay as they are.
    """
    result = copy.deepcopy(model)
    with torch.no_grad():
        found: dict[str, list[Any]] = {}
        for node in model.network.layers:
            if node.name in ranges:
                found.setdefault(node.owner, []).append(ranges[node.name])
        for step in result.steps():
            if step.name in found:
                step.layer.balance(found[step.name])
    return result
