"""Quantised model and task to a graph of operations on whole token sequences."""

from collections.abc import Iterator
from dataclasses import replace

from moesaic.compiler.batch import Batch
from moesaic.compiler.builder import RESIDUAL, Builder
from moesaic.compiler.ir import Graph, Op, Ref, Space
from moesaic.compiler.layers.rooms import room
from moesaic.compiler.layout import words_for
from moesaic.compiler.verify import verify
from moesaic.golden.layers.embed_norm import QuantEmbedNorm
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stream

__all__ = ["BEFORE_NORM", "POSITION", "lower"]

POSITION, BEFORE_NORM = "position", "position.patches"  # pieces: what the residual begins with, and before a norm


def _copy(build: Builder, name: str, stage: str, target: Ref, memory: Memory) -> Op:
    """A piece of the weight stream into a memory."""
    return Op(
        name=name,
        opcode=Opcode.COPY,
        block=-1,
        stage=stage,
        role=name,
        whole=memory is Memory.RESIDUAL,
        tokens=build.tokens,
        target=target,
        weights=name,
        fields={"memory": memory},
    )


def _positions(build: Builder, name: str, stage: str) -> Iterator[Op]:
    """What the residual begins with, once for each part."""
    for part in range(build.parts):
        copy = _copy(build, name, stage, Ref(RESIDUAL), Memory.RESIDUAL)
        first = part * build.item_tokens
        yield replace(copy, name=name + build.number(part), token=first, tokens=build.item_tokens)


def _embedding(build: Builder, qmodel: QuantModel) -> Iterator[Op]:
    inputs, load_rows = qmodel.embed.weight.shape[1], build.config.load_rows
    image = build.tensor("image", Space.ACTIVATION, words_for(inputs, build.config.lanes), multiple=load_rows)
    position = POSITION if qmodel.embed_norm is None else BEFORE_NORM
    yield from _positions(build, position, "embed")
    yield _copy(build, "image", "embed", image, Memory.ACTIVATION)
    yield build.linear(
        qmodel.embed,
        -1,
        "embed",
        "embed",
        source=image,
        target=Ref(RESIDUAL),
        inputs=inputs,
        stream=Stream.ACTIVATION,
        function=Function.ADD,
        fresh=1,
    )


def _embed_norm(build: Builder, norm: QuantEmbedNorm) -> Iterator[Op]:
    """The residual, normalised into the activation memory, and begun anew with what is made of that."""
    stage, words = "embed norm", words_for(norm.norm.dim, build.config.lanes)
    stored = build.tensor(f"{norm.norm.name}.stored", Space.ACTIVATION, words)
    yield build.norm(norm.norm, -1, stage, norm.norm.name, group="")
    yield build.gain(norm.plain, -1, stage, group="", whole=True, target=stored)
    yield from _positions(build, POSITION, stage)
    yield build.linear(
        norm.gain,
        -1,
        stage,
        "gain",
        whole=True,
        source=stored,
        target=Ref(RESIDUAL),
        inputs=norm.norm.dim,
        stream=Stream.ACTIVATION,
        function=Function.ADD,
        fresh=1,
    )


def _forks(build: Builder, ops: list[Op]) -> Iterator[Op]:
    """Copies of the residual for the tasks after the first, made by the last that adds to it: once more, to other
    words, and before it changes what they are copies of.
    """
    last = next(op for op in reversed(ops) if op.target == Ref(RESIDUAL))
    for number, task in enumerate(build.batch.tasks[1:], 1):
        yield replace(
            last,
            name=f"{last.name}.{task}",
            moved=number * build.tokens,
            fields={**last.fields, "fresh": 1},
            macs=0,
        )


def _layers(build: Builder, qmodel: QuantModel, blocks: int | None) -> Iterator[Op]:
    """Embedding and layers; tasks part before the first layer that has something of a task's own."""
    ops = list(_embedding(build, qmodel))
    if qmodel.embed_norm is not None:
        ops += _embed_norm(build, qmodel.embed_norm)
    for number, block in enumerate(qmodel.blocks[:blocks]):
        for layer in block.layers:
            if build.shared and any(matrix.task is not None for matrix in layer.matrices(build.batch.tasks)):
                ops += _forks(build, ops)
                build.shared = False
            yield from ops
            ops = [replace(op, layer=layer.name) for op in room(layer).lower(build, layer, number)]
    yield from ops


def lower(
    qmodel: QuantModel,
    task: str | Batch,
    config: AcceleratorConfig,
    *,
    blocks: int | None = None,
    speculate: int | None = None,
) -> Graph:
    """The operations of `task`, in the order of the model, each over all tokens.

    Parameters
    ----------
    qmodel : QuantModel
    task : str or Batch
        One of the model's tasks; it chooses gates and the order of experts. Or several items at once.
    config : AcceleratorConfig
    blocks : int or None
        Stop after this many blocks.
    speculate : int or None
        Experts fetched before the router has decided; None: as each room thinks best.
    """
    batch = Batch.of(task)
    build = Builder(qmodel.network.tokens, batch, config, speculate)
    ops = list(_layers(build, qmodel, blocks))
    words, multiple = words_for(qmodel.network.dim, config.lanes), config.load_rows // 2
    item, whole = build.item_tokens * words, build.tokens * words
    copied = (batch.images - 1) * item + -(-item // multiple) * multiple
    slack = max(0, copied - -(-whole // multiple) * multiple)
    residual = build.tensor(RESIDUAL, Space.RESIDUAL, words, multiple=multiple, slack=slack)
    last = len(qmodel.blocks[:blocks]) - 1
    ops.append(
        Op(
            name="result",
            opcode=Opcode.STORE,
            block=last,
            stage="result",
            role="store",
            tokens=build.tokens,
            source=residual,
        )
    )
    return verify(Graph(batch.name, build.tensors, tuple(ops)))
