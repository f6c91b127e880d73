"""Sub-networks by prefix: of each layer's hidden units the first ones, from the weights of all.

After MatFormer (Devvrit et al. 2023, arXiv 2310.07707).
"""

import dataclasses
from typing import Any

import numpy as np
import torch

from moesaic.errors import InputError
from moesaic.golden.hollow import hollow_model
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network
from moesaic.golden.nodes import Node
from moesaic.golden.numerics import IntArray
from moesaic.golden.qmodel import WIDTHS, QuantModel

__all__ = ["narrow_model", "narrow_network", "narrow_quantised"]


def _units(text: str, node: Node, units: int) -> int:
    """Hidden units of a layer that has `units`, from a number or a fraction."""
    try:
        found = round(float(text) * units) if "." in text else int(text)
    except ValueError:
        raise InputError(f"hidden must be numbers of units or fractions such as 0.5, not {text!r}") from None
    except OverflowError:
        found = units + 1
    if not 1 <= found <= units:
        raise InputError(f"hidden units of '{node.name}' must be from 1 to the {units} of its weights, not {text!r}")
    return found


def narrow_network(network: Network, hidden: str) -> Network:
    """The network with fewer hidden units.

    Parameters
    ----------
    network : Network
    hidden : str
        A number of units or a fraction of them, which has a point: one for all layers that have any, or one for each,
        with commas between.

    Raises
    ------
    InputError
        If it is neither, a layer does not have so many, or layers of the same matrices shall have unlike ones.
    """
    nodes = [node for node in network.layers if node.sizes.units is not None]
    texts = hidden.split(",")
    if not nodes:
        raise InputError(f"hidden must be left out for {network.name}, which has no MLP and no experts, not {hidden!r}")
    if len(texts) not in (1, len(nodes)):
        raise InputError(
            f"hidden must be one number for all layers, or one for each of {', '.join(node.name for node in nodes)}, "
            f"not {len(texts)}"
        )
    wanted = dict(zip((node.name for node in nodes), texts * (len(nodes) // len(texts)), strict=True))

    def narrowed(node: Node) -> Node:
        if node.sizes.units is None:
            return node
        units = _units(wanted[node.name].strip(), node, node.sizes.units)
        return dataclasses.replace(node, sizes=node.sizes.with_units(units))

    return dataclasses.replace(network, nodes=tuple(map(narrowed, network.nodes)))


def narrow_model(model: M3ViT, network: Network) -> M3ViT:
    """The part of a float model that is `network`, which has fewer hidden units."""
    result, state = M3ViT(network).to(model.pos_embed.dtype), model.state_dict()
    first = {name: state[name][tuple(map(slice, like.shape))] for name, like in result.state_dict().items()}
    with torch.no_grad():
        result.load_state_dict(first)
    return result.train(model.training)


def narrow_quantised(qmodel: QuantModel, network: Network) -> QuantModel:
    """The part of a quantised network that is `network`, which has fewer hidden units: the same integers."""
    cut: dict[int, tuple[IntArray, IntArray]] = {}

    def part(value: Any, hollow: Any) -> Any:
        if hollow is None:  # what calibration counted
            return value
        if isinstance(value, np.ndarray):
            if value.shape == hollow.shape:
                return value
            if id(value) not in cut:  # layers that share an array still do
                cut[id(value)] = value, np.ascontiguousarray(value[tuple(map(slice, hollow.shape))])
            return cut[id(value)][1]
        if isinstance(value, Network):
            return network
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return dataclasses.replace(value, **{k: part(v, getattr(hollow, k)) for k, v in fields.items()})
        if isinstance(value, tuple) and len(value) == len(hollow):
            return tuple(map(part, value, hollow))
        if isinstance(value, dict):
            return {key: part(item, hollow.get(key)) for key, item in value.items()}
        return value

    narrowed: QuantModel = part(qmodel, hollow_model(network, WIDTHS[qmodel.widths]))
    return narrowed
