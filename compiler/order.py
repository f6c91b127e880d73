"""Instruction order: neighbours that do not depend on each other are interleaved, to hide waits."""

from dataclasses import replace

from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.layers.rooms import room_of_stage
from moesaic.compiler.verify import verify

__all__ = ["mark_blocks", "order_stage"]


def order_stage(ops: list[Op]) -> list[Op]:
    """The operations of one stage of one block in the order in which they run, as the layer's room has it; copies come
    right before what changes the words that they are copies of.
    """
    whole = [op for op in ops if op.whole and not op.moved]
    chunks: dict[int, list[Op]] = {}
    forks: dict[tuple[str | None, int], list[Op]] = {}
    for op in ops:
        if op.moved:
            forks.setdefault((op.weights, op.chunk), []).append(op)
        elif not op.whole:
            chunks.setdefault(op.chunk, []).append(op)
    room = room_of_stage(ops[0].stage)
    parts = list(chunks.values())
    ordered = [*whole, *(op for part in parts for op in part)] if room is None else room.order(whole, parts)
    return [each for op in ordered for each in (*forks.get((op.weights, op.chunk), ()), op)]


def mark_blocks(graph: Graph) -> Graph:
    """Mark the last compute operation of each block, so that the hardware reports when it retires."""
    last = {op.block: op.name for op in graph.ops if op.stage != "result"}
    marked = set(last.values())
    return verify(graph.with_ops(replace(op, mark=op.name in marked) for op in graph.ops))
