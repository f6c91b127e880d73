"""Quantised model and task to a graph of operations on whole token sequences."""

from collections.abc import Iterator
from dataclasses import replace

from moesaic.compiler.builder import RESIDUAL, Builder
from moesaic.compiler.ir import Graph, Op, Ref, Space
from moesaic.compiler.layers.rooms import room
from moesaic.compiler.layout import words_for
from moesaic.compiler.verify import verify
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stream

__all__ = ["lower"]


def _embedding(build: Builder, qmodel: QuantModel) -> Iterator[Op]:
    inputs, load_rows = qmodel.embed.weight.shape[1], build.config.load_rows
    dim_words = words_for(len(qmodel.embed.weight), build.config.lanes)
    residual = build.tensor(RESIDUAL, Space.RESIDUAL, dim_words, multiple=load_rows // 2)
    image = build.tensor("image", Space.ACTIVATION, words_for(inputs, build.config.lanes), multiple=load_rows)
    for name, target, memory in (("position", residual, Memory.RESIDUAL), ("image", image, Memory.ACTIVATION)):
        yield Op(
            name=name,
            opcode=Opcode.COPY,
            block=-1,
            stage="embed",
            role=name,
            whole=memory is Memory.RESIDUAL,
            tokens=build.tokens,
            target=target,
            weights=name,
            fields={"memory": memory},
        )
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
