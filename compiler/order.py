"""Instruction order: neighbours that do not depend on each other are interleaved, to hide waits."""

from dataclasses import replace

from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.verify import verify

__all__ = ["mark_blocks", "order_stage", "pipelined"]


def pipelined(pairs: list[tuple[Op, Op]]) -> list[Op]:
    """first(0), first(1), second(0), first(2), second(1), ...: a whole other instruction between each two partners."""
    result: list[Op] = []
    previous: Op | None = None
    for first, second in pairs:
        result.append(first)
        if previous is not None:
            result.append(previous)
        previous = second
    return result if previous is None else [*result, previous]


def _pairs(ops: list[Op], first: str, second: str, overlap: bool) -> list[Op]:
    pairs = list(zip([op for op in ops if op.role == first], [op for op in ops if op.role == second], strict=True))
    if not overlap:
        return [op for pair in pairs for op in pair]
    # Weights arrive in this order: one that waits for the router must not stand before one that is fetched ahead of it.
    ahead = [pair for pair in pairs if pair[0].speculative]
    return pipelined(ahead) + pipelined([pair for pair in pairs if not pair[0].speculative])


def _attention(whole: list[Op], chunks: list[list[Op]]) -> list[Op]:
    """K, Q, V, then heads: V hides the wait for Q, and so does the projection of one chunk for Q of the next."""

    def one(ops: list[Op], role: str) -> Op:
        return next(op for op in ops if op.role == role)

    result = [
        *(op for op in whole if op.role in ("norm", "normalise")),
        one(whole, "k"),
        one(chunks[0], "q"),
        one(whole, "v"),
    ]
    for number, ops in enumerate(chunks):
        result += _pairs(ops, "scores", "attend", ops[0].overlap)
        if number + 1 < len(chunks):
            result.append(one(chunks[number + 1], "q"))
        result.append(one(ops, "proj"))
    return result


def order_stage(ops: list[Op]) -> list[Op]:
    """The operations of one stage of one block in the order in which they run.

    Attention: the scores of head h + 1 before the context of head h; mixtures: fc1 of the next expert before fc2 of
    this one (both only where two buffers fit, see `Op.overlap`). The weight stream follows the same order.
    """
    whole = [op for op in ops if op.role in ("norm", "normalise", "position", "k", "v")]
    chunks: dict[int, list[Op]] = {}
    for op in ops:
        if op not in whole:
            chunks.setdefault(op.chunk, []).append(op)
    if ops[0].stage == "attention":
        return _attention(whole, list(chunks.values()))
    result = whole
    if ops[0].stage == "mlp" and all(op.overlap for op in ops if op not in whole):
        return whole + pipelined([(chunk[0], chunk[1]) for chunk in chunks.values()])
    for chunk in chunks.values():
        if ops[0].stage == "moe":
            result = [
                *result,
                next(op for op in chunk if op.role == "route"),
                *_pairs(chunk, "fc1", "fc2", chunk[0].overlap),
            ]
        else:
            result = result + chunk
    return result


def mark_blocks(graph: Graph) -> Graph:
    """Mark the last compute operation of each block, so that the hardware reports when it retires."""
    last = {op.block: op.name for op in graph.ops if op.stage != "result"}
    marked = set(last.values())
    return verify(graph.with_ops(replace(op, mark=op.name in marked) for op in graph.ops))
