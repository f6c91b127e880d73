"""A mixture of experts: the router fills queues, then expert by expert; the most used ones are fetched ahead of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

from moesaic.compiler.batch import Batch
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


def _usage(layer: QuantMoE, batch: Batch) -> list[float]:
    """Share of runs in which any item uses each expert, if items are as calibration's images; empty if not known."""
    if any(not layer.usage.get(task) for task in batch.tasks):
        return []
    unused = (prod(1 - layer.usage[task][expert] for task in batch.tasks) for expert in range(len(layer.experts)))
    return [1 - share**batch.images for share in unused]


def _order(layer: QuantMoE, batch: Batch) -> tuple[int, ...]:
    """Experts as a task has them; of several tasks, those that most tokens are expected to use first."""
    if len(batch.tasks) == 1:
        return layer.order[batch.tasks[0]]
    ranks = [sum(layer.order[task].index(expert) for task in batch.tasks) for expert in range(len(layer.experts))]
    return tuple(sorted(range(len(layer.experts)), key=lambda expert: (ranks[expert], expert)))


def _appending(ops: list[Op]) -> list[Op]:
    """The first router empties the queues, those after it append to them."""
    first = next((op for op in ops if op.role == "route"), None)
    return [
        replace(op, fields={**op.fields, "append": 1}) if op.role == "route" and op is not first else op for op in ops
    ]


class MoERoom(Room[QuantMoE]):
    """Token reordering: each expert's weights are read once, for all tokens in its queue."""

    groupable = True

    def lower(self, build: Builder, layer: QuantMoE, block: int) -> Iterator[Op]:
        stage = layer.kind
        yield build.norm(layer.norm, block, stage, layer.norm.name, group="router")
        tokens = build.tensor(
            f"{layer.name}.normalised", Space.ACTIVATION, words_for(layer.norm.dim, build.config.lanes), gathered=True
        )
        for number, task in enumerate(build.batch.tasks):
            yield self._route(build, layer, block, task, number, tokens)
        if layer.gain is not None:
            yield build.gain(layer.gain, block, stage, group="router", target=tokens)
        limit = build.speculate
        limit = self.speculation(layer, build.batch, build.config) if limit is None else limit
        for position, number in enumerate(_order(layer, build.batch)):
            yield from self._expert(build, layer, block, number, tokens, speculative=position < limit)

    @staticmethod
    def _route(build: Builder, layer: QuantMoE, block: int, task: str, number: int, tokens: Ref) -> Op:
        """The gate of task number `number`, past which the tokens of its items stream."""
        gate = layer.gates[task]
        route = build.linear(
            gate,
            block,
            layer.kind,
            "route",
            group="router",
            source=Ref(RESIDUAL),
            target=None,
            tap=tokens if layer.gain is None else None,
            inputs=layer.norm.dim,
            stream=Stream.NORMALISED,
            function=Function.ROUTE,
            post_shift=layer.logit_shifts[task],
            top_k=layer.top_k,
            gate_kind=GateKind.NOISY if layer.renormalise else GateKind.NOISY_VMOE,
            wide_result=int(layer.wide),
        )
        mine = build.batch.images * build.item_tokens
        return replace(route, token=number * mine, tokens=mine, macs=gate.weight.size * mine)

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
        result = [*whole]
        for chunk in chunks:
            first, second = ([op for op in chunk if op.role == role] for role in ("fc1", "fc2"))
            pairs = list(zip(first, second, strict=True))
            result += _appending([op for op in chunk if op.expert is None])
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

    def speculation(self, layer: QuantMoE, batch: Batch, config: AcceleratorConfig) -> int:
        """As many experts as fit the prefetch buffer: at the moment of the decision it then holds nothing else, and the
        weight stream has never stopped. An expert that is used less than every second time, as calibration images used
        it, costs more in wasted bytes than it hides.
        """
        fitting = max(1, config.prefetch_bytes // max(expert.stored_bytes for expert in layer.experts))
        usage = _usage(layer, batch)
        worthwhile = sum(share >= 0.5 for share in usage) if usage else len(layer.experts)
        return min(fitting, worthwhile, len(layer.experts))
