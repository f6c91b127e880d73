"""Which layers of imported weights are the same: kept as one set of matrices, as those of captured modules are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from moesaic.golden.layers.float_kinds import layer_of
from moesaic.golden.network import Network
from moesaic.golden.nodes import Node, Sharing

__all__ = ["with_sharing"]


def _common(node: Node, tasks: Sequence[str]) -> list[str]:
    """Parameters of a layer that another one can have in common with it."""
    with torch.device("meta"):
        one, other = layer_of(node, tasks), layer_of(node, tasks)
    other.share(one)
    own = dict(one.named_parameters())
    return [name for name, parameter in other.named_parameters() if parameter is own[name]]


def _equal(names: Sequence[str], one: str, other: str, state: Mapping[str, torch.Tensor]) -> bool:
    return all(state[f"{one}.{name}"].equal(state[f"{other}.{name}"]) for name in names)


def with_sharing(network: Network, state: Mapping[str, torch.Tensor]) -> Network:
    """The network, layers that hold the same numbers as an earlier one marked, and that one too.

    Parameters
    ----------
    network : Network
    state : mapping of name to Tensor
        Its parameters.
    """
    norms = {
        node.name: f"{block.name}.{block.norm_leaf(position)}"
        for block in network.blocks
        for position, node in enumerate(block.nodes)
    }
    groups: list[list[Node]] = []
    for node in network.layers:
        names = _common(node, network.tasks)
        for group in groups:
            alike = group[0].kind == node.kind and not group[0].sizes.unlike(node.sizes)
            if alike and _equal(names, group[0].name, node.name, state):
                group.append(node)
                break
        else:
            groups.append([node])
    shared = dict[str, Sharing]()
    for first, *others in groups:
        own_norms = not all(_equal(("weight", "bias"), norms[first.name], norms[node.name], state) for node in others)
        count, dim = 1 + len(others), network.dim
        # Matrices of gains, one for each layer, must take less than the weights of all layers but one.
        if others and (not own_norms or count * dim * dim < (count - 1) * first.sizes.weight_bytes(dim)):
            shared |= {node.name: Sharing(owner=first.name, own_norms=own_norms) for node in (first, *others)}
    nodes = (replace(node, sharing=shared.get(node.name)) for node in network.nodes)
    return replace(network, nodes=tuple(nodes))
