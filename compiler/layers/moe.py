"""A mixture of experts: the router fills queues, then expert by expert; the most used ones are fetched ahead of it."""

from collections.abc import Iterator, Sequence

from moesaic.compiler.builder import RESIDUAL, Builder
from moesaic.compiler.ir import CompileError, Op, Ref, Space
from moesaic.compiler.layers.hidden import Hidden
from moesaic.compiler.layers.room import Room, pipelined
from moesaic.compiler.layout import words_for
from moesaic.golden.layers.layer import Matrix
from moesaic.golden.layers.moe import QuantMoE
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, GateKind, Stream

__all__ = ["MoERoom"]


class MoERoom(Room[QuantMoE]):
    """Token reordering: each expert's weights are read once, for all tokens in its queue."""

    groupable = True

    def lower(self, build: Builder, layer: QuantMoE, block: int) -> Iterator[Op]:
        gate, stage = layer.gates[build.task], layer.kind
        yield build.norm(layer.norm, block, stage, layer.norm.name, group="router")
        tokens = build.tensor(
            f"{layer.name}.normalised", Space.ACTIVATION, words_for(layer.norm.dim, build.config.lanes), gathered=True
        )
        yield build.linear(
            gate,
            block,
            stage,
            "route",
            group="router",
            source=Ref(RESIDUAL),
            target=None,
            tap=tokens if layer.gain is None else None,
            inputs=layer.norm.dim,
            stream=Stream.NORMALISED,
            function=Function.ROUTE,
            post_shift=layer.logit_shifts[build.task],
            top_k=layer.top_k,
            gate_kind=GateKind.NOISY if layer.renormalise else GateKind.NOISY_VMOE,
            wide_result=int(layer.wide),
        )
        if layer.gain is not None:
            yield build.gain(layer.gain, block, stage, group="router", target=tokens)
        limit = build.speculate
        limit = self.speculation(layer, build.task, build.config) if limit is None else limit
        for position, number in enumerate(layer.order[build.task]):
            yield from self._expert(build, layer, block, number, tokens, speculative=position < limit)

    def _expert(
        self, build: Builder, layer: QuantMoE, block: int, number: int, tokens: Ref, *, speculative: bool
    ) -> Iterator[Op]:
        expert = layer.experts[number]
        units = len(expert.fc1.weight)
        words = words_for(units, build.config.lanes)
        hidden = build.tensor(f"{layer.name}.hidden.{number}", Space.ACTIVATION, words, queued=True, spills=True)
        yield self._hidden(layer, number).op(
            build,
            block,
            layer.kind,
            group="experts",
            source=tokens,
            target=hidden,
            inputs=layer.norm.dim,
            stream=Stream.ACTIVATION,
            expert=number,
            routed=layer.routed,
            speculative=speculative,
            wide_result=int(layer.wide),
        )
        yield build.linear(
            expert.fc2,
            block,
            layer.kind,
            "fc2",
            group="experts",
            source=hidden,
            target=Ref(RESIDUAL),
            inputs=units,
            stream=Stream.ACTIVATION,
            function=Function.ADD,
            expert=number,
            routed=layer.routed,
            speculative=speculative,
            post_shift=layer.score_shift,
        )

    def order(self, whole: list[Op], chunks: list[list[Op]]) -> list[Op]:
        """fc1 of the next expert before fc2 of this one, where two buffers fit."""
        result = whole
        for chunk in chunks:
            first, second = ([op for op in chunk if op.role == role] for role in ("fc1", "fc2"))
            pairs = list(zip(first, second, strict=True))
            result = [*result, *(op for op in chunk if op.expert is None)]
            if not chunk[0].overlap:
                result += [op for pair in pairs for op in pair]
                continue
            # Weights arrive in this order: what waits for the router must not stand before what is fetched ahead of it.
            result += pipelined([pair for pair in pairs if pair[0].speculative])
            result += pipelined([pair for pair in pairs if not pair[0].speculative])
        return result

    def check(self, layer: QuantMoE, config: AcceleratorConfig, tasks: Sequence[str]) -> None:
        count, where = len(layer.experts), f"on configuration '{config.name}'"
        for number in range(count):
            self._hidden(layer, number).check(layer.name, config)
        if count > config.experts:
            raise CompileError(f"layer '{layer.name}': experts must be at most {config.experts} {where}, not {count!r}")
        most = min(config.max_top_k, count)
        if not 1 <= layer.top_k <= most:
            raise CompileError(f"layer '{layer.name}': top_k must be from 1 to {most} {where}, not {layer.top_k!r}")
        for task in tasks:
            if task not in layer.gates:
                raise CompileError(f"layer '{layer.name}': task must be one of {', '.join(layer.gates)}, not {task!r}")
            if sorted(layer.order[task]) != list(range(count)):
                raise CompileError(
                    f"layer '{layer.name}': order of task '{task}' must name each of {count} experts once, "
                    f"not {layer.order[task]!r}"
                )

    def pack(self, layer: QuantMoE, matrix: Matrix, config: AcceleratorConfig) -> bytes:
        if matrix.expert is None:
            return super().pack(layer, matrix, config)
        return self._hidden(layer, matrix.expert).pack(matrix.linear, config)

    @staticmethod
    def _hidden(layer: QuantMoE, number: int) -> Hidden:
        expert = layer.experts[number]
        return Hidden(
            fc1=expert.fc1,
            gate=expert.gate,
            activation=layer.activation,
            mult=layer.hidden_mult,
            shift=layer.hidden_shift,
        )

    def speculation(self, layer: QuantMoE, task: str, config: AcceleratorConfig) -> int:
        """As many experts as fit the prefetch buffer: at the moment of the decision it then holds nothing else, and the
        weight stream has never stopped. An expert that fewer than half of the calibration images used costs more in
        wasted bytes than it hides.
        """
        fitting = max(1, config.prefetch_bytes // max(expert.stored_bytes for expert in layer.experts))
        usage = layer.usage.get(task, ())
        worthwhile = sum(usage[expert] >= 0.5 for expert in layer.order[task]) if usage else len(layer.experts)
        return min(fitting, worthwhile, len(layer.experts))
