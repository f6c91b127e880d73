"""Quantised model and task to a graph of operations on whole token sequences."""

from collections.abc import Iterator
from dataclasses import replace

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


def _embedding(build: Builder, qmodel: QuantModel) -> Iterator[Op]:
    inputs, load_rows = qmodel.embed.weight.shape[1], build.config.load_rows
    dim_words = words_for(len(qmodel.embed.weight), build.config.lanes)
    residual = build.tensor(RESIDUAL, Space.RESIDUAL, dim_words, multiple=load_rows // 2)
    image = build.tensor("image", Space.ACTIVATION, words_for(inputs, build.config.lanes), multiple=load_rows)
    position = POSITION if qmodel.embed_norm is None else BEFORE_NORM
    yield _copy(build, position, "embed", residual, Memory.RESIDUAL)
    yield _copy(build, "image", "embed", image, Memory.ACTIVATION)
    yield build.linear(
        qmodel.embed,
        -1,
        "embed",
        "embed",
        source=image,
        target=residual,
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
    yield _copy(build, POSITION, stage, Ref(RESIDUAL), Memory.RESIDUAL)
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


def lower(
    qmodel: QuantModel, task: str, config: AcceleratorConfig, *, blocks: int | None = None, speculate: int | None = None
) -> Graph:
    """The operations of `task`, in the order of the model, each over all tokens.

    Parameters
    ----------
    qmodel : QuantModel
    task : str
        One of the model's tasks; it chooses gates and the order of experts.
    config : AcceleratorConfig
    blocks : int or None
        Stop after this many blocks.
    speculate : int or None
        Experts fetched before the router has decided; None: as each room thinks best.
    """
    build = Builder(qmodel.network.tokens, task, config, speculate)
    ops = list(_embedding(build, qmodel))
    if qmodel.embed_norm is not None:
        ops += _embed_norm(build, qmodel.embed_norm)
    for number, block in enumerate(qmodel.blocks[:blocks]):
        for layer in block.layers:
            ops += (replace(op, layer=layer.name) for op in room(layer).lower(build, layer, number))
    last = len(qmodel.blocks[:blocks]) - 1
    ops.append(
        Op(
            name="result",
            opcode=Opcode.STORE,
            block=last,
            stage="result",
            role="store",
            tokens=build.tokens,
            source=Ref(RESIDUAL),
        )
    )
    return verify(Graph(task, build.tensors, tuple(ops)))
