"""A dense MLP: hidden units in the activation memory, then back into the residual."""

from collections.abc import Iterator, Sequence

from moesaic.compiler.builder import RESIDUAL, Builder
from moesaic.compiler.ir import Op, Ref, Space
from moesaic.compiler.layers.hidden import Hidden
from moesaic.compiler.layers.room import Room, pipelined
from moesaic.compiler.layout import words_for
from moesaic.golden.layers.layer import Matrix
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Stream

__all__ = ["MLPRoom"]


class MLPRoom(Room[QuantMLP]):
    """Two matrices with an activation between, in the write-back of the first; a gate's is part of the first."""

    def lower(self, build: Builder, layer: QuantMLP, block: int) -> Iterator[Op]:
        yield build.norm(layer.norm, block, layer.kind, layer.norm.name, group="fc1")
        words = words_for(layer.hidden, build.config.lanes)
        hidden = build.tensor(f"{layer.name}.hidden", Space.ACTIVATION, words, spills=True)
        source, stream = Ref(RESIDUAL), Stream.NORMALISED
        if layer.gain is not None:
            words = words_for(layer.norm.dim, build.config.lanes)
            source, stream = build.tensor(f"{layer.name}.normalised", Space.ACTIVATION, words), Stream.ACTIVATION
            yield build.gain(layer.gain, block, layer.kind, group="fc1", target=source)
        yield self._hidden(layer).op(
            build,
            block,
            layer.kind,
            group="fc1",
            source=source,
            target=hidden,
            inputs=layer.norm.dim,
            stream=stream,
            wide_result=int(layer.wide),
        )
        yield build.linear(
            layer.fc2,
            block,
            layer.kind,
            "fc2",
            group="fc2",
            source=hidden,
            target=Ref(RESIDUAL),
            inputs=layer.hidden,
            stream=Stream.ACTIVATION,
            function=Function.ADD,
            residual_shift=layer.residual_shift,
        )

    def order(self, whole: list[Op], chunks: list[list[Op]]) -> list[Op]:
        """fc1 of the next chunk before fc2 of this one, where two buffers fit."""
        if all(op.overlap for chunk in chunks for op in chunk):
            gains = {id(chunk[-2]): chunk[:-2] for chunk in chunks}
            order = pipelined([(chunk[-2], chunk[-1]) for chunk in chunks])
            return whole + [op for last in order for op in (*gains.get(id(last), ()), last)]
        return super().order(whole, chunks)

    def check(self, layer: QuantMLP, config: AcceleratorConfig, tasks: Sequence[str]) -> None:
        self._hidden(layer).check(layer.name, config)

    def pack(self, layer: QuantMLP, matrix: Matrix, config: AcceleratorConfig) -> bytes:
        return self._hidden(layer).pack(matrix.linear, config)

    @staticmethod
    def _hidden(layer: QuantMLP) -> Hidden:
        return Hidden(
            fc1=layer.fc1,
            gate=layer.gate,
            activation=layer.activation,
            mult=layer.hidden_mult,
            shift=layer.hidden_shift,
        )
