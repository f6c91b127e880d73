"""Passes that take one of the accelerator's ideas away from a graph; results stay the same, cycles and bytes do not."""

from collections.abc import Iterator
from dataclasses import replace

from moesaic.compiler.ir import Graph, Op, Ref, Space, Tensor
from moesaic.compiler.verify import verify
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream

__all__ = ["normalise_first", "split_queries"]


def _groups(graph: Graph) -> Iterator[list[Op]]:
    """Operations of one layer, in order."""
    group: list[Op] = []
    for op in graph.ops:
        if group and (op.block, op.stage, op.layer) != (group[0].block, group[0].stage, group[0].layer):
            yield group
            group = []
        group.append(op)
    if group:
        yield group


def _normalise(ops: list[Op], tensors: dict[str, Tensor], config: AcceleratorConfig) -> list[Op]:
    """One stage with a pass that writes normalised tokens, and readers of those."""
    first = next((op for op in ops if op.opcode is Opcode.MATMUL and op.stream is Stream.NORMALISED), None)
    if first is None:
        return ops
    name, words = first.name + ".normalise", first.fields["in_blocks"]
    buffer, dropped = f"{name}.tokens" if first.tap is None else first.tap.tensor, f"{name}.dropped"
    if first.tap is None:
        tensors[buffer] = Tensor(name=buffer, space=Space.ACTIVATION, tokens=first.tokens, words=words)
    tensors[dropped] = Tensor(name=dropped, space=Space.KV, tokens=first.tokens, words=1)
    # The array must do something: the first block of outputs of the layer that follows, which nobody reads.
    own = replace(
        first,
        name=name,
        role="normalise",
        group="normalise",
        whole=True,
        target=Ref(dropped),
        tap=Ref(buffer),
        weight_words=config.param_words + words * config.stationary_words(4 if first.fields["narrow"] else 8),
        macs=0,
        fields={
            "stationary": Stationary.WEIGHTS,
            "stream": Stream.NORMALISED,
            "function": Function.INT8,
            "out_count": min(config.rows, first.fields["out_count"]),
            "in_blocks": words,
            "shift": first.fields["shift"],
            "narrow": first.fields["narrow"],
            "dst_memory": Memory.KV,
        },
    )
    result: list[Op] = []
    for op in ops:
        if op is first:
            result.append(own)
        if op.opcode is Opcode.MATMUL and op.stream is Stream.NORMALISED:
            op = replace(op, source=Ref(buffer), tap=None, fields={**op.fields, "stream": Stream.ACTIVATION})
        result.append(op)
    return result


def normalise_first(graph: Graph, config: AcceleratorConfig) -> Graph:
    """Give every LayerNorm a pass of its own, which writes the normalised tokens into the activation memory.

    The pass needs a stationary block, so it also reads the first one of the next layer's weights.
    """
    tensors = dict(graph.tensors)
    ops = [op for group in _groups(graph) for op in _normalise(group, tensors, config)]
    return verify(Graph(graph.task, tensors, tuple(ops)))


def split_queries(graph: Graph, size: int) -> Graph:
    """Run scores and context for `size` queries at a time: keys and values are read again for each group."""
    ops: list[Op] = []
    for op in graph.ops:
        if op.kv is None or op.tokens <= size:
            ops.append(op)
            continue
        for first in range(0, op.tokens, size):
            count = min(size, op.tokens - first)
            ops.append(
                replace(
                    op,
                    name=f"{op.name}<{op.token + first}>",
                    token=op.token + first,
                    tokens=count,
                    macs=op.macs * count // op.tokens,
                )
            )
    return verify(graph.with_ops(ops))
