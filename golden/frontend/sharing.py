"""Which layers of a captured module hold the same parameters: kept as one set of matrices."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from moesaic.golden.frontend.meaning import Block, Residual
from moesaic.golden.nodes import Node, Sharing

__all__ = ["with_sharing"]


def _matrices(block: Block) -> Iterator[tuple[str, tuple[str, ...], torch.Tensor]]:
    """Parameters that layers may have in common, by canonical name, with the user's names: all but a router's."""
    for key, tensor in sorted(block.parameters.items()):
        if not key.startswith("gate."):
            yield key, block.names[key], tensor


def _same(one: Block, other: Block) -> bool:
    """Whether two layers hold the same parameters of the user's, and use them alike."""
    pairs = list(zip(_matrices(one), _matrices(other), strict=False))
    named = any(names for (_, names, _), _ in pairs)
    same = all(mine[:2] == yours[:2] and mine[2].equal(yours[2]) for mine, yours in pairs)
    return named and same and len(one.parameters) == len(other.parameters)


def _same_gains(one: Block, other: Block) -> bool:
    return one.norm.weight.equal(other.norm.weight) and one.norm.bias.equal(other.norm.bias)


def _worth_it(node: Node, count: int) -> bool:
    """Whether matrices of gains, one for each layer, take less than the weights of all layers but one."""
    dim = node.output.channels
    return count * dim * dim < (count - 1) * node.sizes.weight_bytes(dim)


def with_sharing(nodes: Sequence[Node], residuals: Sequence[Residual]) -> tuple[Node, ...]:
    """The nodes, those that hold the parameters of an earlier one marked, and that one too.

    Parameters
    ----------
    nodes : sequence of Node
        The embedding, and a node for each residual.
    residuals : sequence of Residual
        What was recognised, of the first task.
    """
    embed, *layers = nodes
    groups: list[list[int]] = []
    for number, (node, residual) in enumerate(zip(layers, residuals, strict=True)):
        for group in groups:
            first = layers[group[0]]
            alike = first.kind == node.kind and not first.sizes.unlike(node.sizes)
            if alike and _same(residuals[group[0]].block, residual.block):
                group.append(number)
                break
        else:
            groups.append([number])
    for group in groups:
        if len(group) > 1:
            blocks = [residuals[number].block for number in group]
            own_norms = not all(_same_gains(blocks[0], block) for block in blocks)
            if own_norms and not _worth_it(layers[group[0]], len(group)):
                continue
            sharing = Sharing(owner=layers[group[0]].name, own_norms=own_norms)
            for number in group:
                layers[number] = replace(layers[number], sharing=sharing)
    return embed, *layers
