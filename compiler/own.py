"""Which compute instructions of a program work for some of its items only: what an error report names."""

from itertools import groupby
from typing import Any

from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import Graph, Op

__all__ = ["own_instructions", "parting"]


def parting(compute: list[Op]) -> int:
    """Number of the first instruction that one task alone needs: the first copy of the residual, or none of them."""
    return next((index for index, op in enumerate(compute) if op.moved), len(compute))


def _items(op: Op, batch: Batch, tokens: int, *, shared: bool) -> tuple[int, ...]:
    first = op.token + op.moved
    places = range(first // tokens, (first + max(op.tokens, 1) - 1) // tokens + 1)
    everywhere = op.expert is not None or op.tokens == 0
    numbers = range(len(batch.items))
    return tuple(number for number in numbers if everywhere or batch.place(number, shared=shared) in places)


def own_instructions(graph: Graph, batch: Batch, tokens: int) -> list[dict[str, Any]]:
    """Runs of compute instructions that work for the same items, but not for all: the manifest's `own`.

    Parameters
    ----------
    graph : Graph
        Scheduled.
    batch : Batch
    tokens : int
        Of one item.
    """
    compute = [op for op in graph.ops if op.stage != "result"]
    parted = parting(compute)
    concerned = [_items(op, batch, tokens, shared=index < parted) for index, op in enumerate(compute)]
    found = []
    for items, run in groupby(range(len(compute)), key=concerned.__getitem__):
        instructions = [*run]
        if len(items) < len(batch.items):
            found.append({"instruction": instructions[0], "count": len(instructions), "items": [*items]})
    return found
