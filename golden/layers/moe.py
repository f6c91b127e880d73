"""A mixture of experts on integers."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from moesaic.golden import numerics, ops_int
from moesaic.golden.layers.layer import Inference, Matrix, QuantLayer, Source
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP, hidden_units
from moesaic.golden.layers.norm import QuantNorm, hollow_gain
from moesaic.golden.layers.sizes import MoESizes
from moesaic.golden.layers.stored import reading_stored
from moesaic.golden.nodes import Node
from moesaic.golden.numerics import Array
from moesaic.golden.saturation import NONE
from moesaic.hw.spec.tables import LOGIT_FRACTION_BITS

__all__ = ["QuantExpert", "QuantMoE"]

BARRED = -(1 << 25)  # bias of an expert that no token may go to


@dataclass(frozen=True)
class QuantExpert:
    """One expert's matrices: two, and that of its gates if it is gated."""

    fc1: QuantLinear
    fc2: QuantLinear
    gate: QuantLinear | None = None

    @property
    def stored_bytes(self) -> int:
        """Bytes of them in the weight stream, without biases and padding."""
        return sum(linear.stored_bytes for linear in (self.gate, self.fc1, self.fc2) if linear is not None)


@dataclass(frozen=True)
class QuantMoE(QuantLayer):
    """Mixture of experts. fc2 requantises to int16 of ``out_step``; that times the 16-bit score, shifted by
    `score_shift`, is added to the residual.

    `gates` maps a task to its gate matrix, whose requantised output is logits * log2(e) with 10 fraction bits, less the
    task's of `logit_shifts`; a task-conditioned gate has its task's constant in `bias`. `order` maps a task to the
    order in which experts are run, most used first. `usage` is the share of calibration images that use each expert.

    With a `gain` (a diagonal matrix of the norm's gain, and its offset), the experts read what that makes of the
    normalised tokens: they are those of layers behind other norms too.
    """

    kind: ClassVar[str] = "moe"

    name: str
    norm: QuantNorm
    gates: dict[str, QuantLinear]
    logit_shifts: dict[str, int]
    top_k: int
    renormalise: bool
    experts: tuple[QuantExpert, ...]
    hidden_mult: int
    hidden_shift: int
    hidden_step: float
    score_shift: int
    order: dict[str, tuple[int, ...]]
    usage: dict[str, tuple[float, ...]] = field(default_factory=dict)
    activation: str = "gelu"
    gain: QuantLinear | None = None

    @classmethod
    def zeros(cls, node: Node, norm_name: str, tasks: Sequence[str], *, bits: int, finer: str | None = None) -> Self:
        """The mixture of a node, without weights; its experts' have `bits` bits."""
        sizes, name, dim = node.sizes, node.name, node.output.channels
        assert isinstance(sizes, MoESizes)
        count, gain = sizes.experts, hollow_gain(node, finer=finer)
        wide = finer in ("activations", "wide")
        first = dict[str, Any](reads="planes" if wide and gain is None else "int8", bits=bits, finer=finer)

        def matrix(leaf: str, out: int, inputs: int, **options: Any) -> QuantLinear:
            leaf = f"experts.{leaf}"
            return QuantLinear.zeros(f"{name}.{leaf}", out, inputs, owner=node.piece(leaf), **options)

        parts = (
            QuantExpert(
                matrix(f"{e}.fc1", sizes.hidden, dim, **first),
                matrix(f"{e}.fc2", dim, sizes.hidden, bits=bits, finer=finer),
                matrix(f"{e}.gate_proj", sizes.hidden, dim, **first) if sizes.gated else None,
            )
            for e in range(count)
        )
        gates = {
            task: QuantLinear.zeros(f"{name}.gate.{task}", count, dim, reads="planes", finer=finer) for task in tasks
        }
        return cls(
            name=name,
            norm=QuantNorm.zeros(norm_name, node),
            gates=gates,
            logit_shifts=dict.fromkeys(tasks, 0),
            top_k=sizes.top_k,
            renormalise=sizes.gate_kind == "noisy",
            experts=tuple(parts),
            hidden_mult=1,
            hidden_shift=1,
            hidden_step=1.0,
            score_shift=1,
            order={task: tuple(range(count)) for task in tasks},
            activation=sizes.activation,
            gain=gain,
        )

    @property
    def first(self) -> QuantLinear:
        return self.experts[0].fc1

    @property
    def wide(self) -> bool:
        return self.experts[0].fc2.reads == "int16"

    @property
    def unused(self) -> tuple[int, ...]:
        shares = tuple(self.usage.values())
        return tuple(e for e in range(len(self.experts)) if shares and not any(share[e] for share in shares))

    @property
    def routed(self) -> tuple[int, int]:
        return self.top_k, len(self.experts)

    def matrices(self, tasks: Sequence[str]) -> Iterator[Matrix]:
        dim, count = self.norm.dim, len(self.experts)
        for task in tasks:
            yield Matrix(linear=self.gates[task], shape=(count, dim), source=Source.NORMALISED, task=task)
        source = Source.TAPPED
        if self.gain is not None:
            yield Matrix(linear=self.gain, shape=(dim, dim), source=Source.NORMALISED)
            source = Source.STORED
        for number in self.order[tasks[0]]:
            expert = self.experts[number]
            hidden = len(expert.fc1.weight)
            if expert.gate is not None:
                yield Matrix(linear=expert.gate, shape=(hidden, dim), source=source, expert=number)
            yield Matrix(linear=expert.fc1, shape=(hidden, dim), source=source, expert=number)
            yield Matrix(linear=expert.fc2, shape=(dim, hidden), source=Source.STORED, expert=number)

    def macs(self, tokens: int) -> int:
        units = sum(len(e.fc1.weight) * (2 if e.gate is None else 3) for e in self.experts)  # by their matrices
        return round(tokens * self.norm.dim * (len(self.experts) + self.top_k * units / len(self.experts)))

    def run(self, x: Array, inference: Inference) -> Array:
        name, task, trace, wide = self.name, inference.task, inference.trace, self.wide
        saturation = inference.saturation
        order = self.order[task] if inference.order is None else inference.order[task]
        if sorted(order) != list(range(len(self.experts))):
            raise ValueError(
                f"{name}: order must name each of the {len(self.experts)} experts once, not {list(order)!r}"
            )
        before = x
        normed = ops_int.norm(self.norm, x, saturation)
        trace.record(self.norm.name, normed.astype(np.int16))
        read = ops_int.read_normalised(self.gates[task], normed)
        logits = ops_int.linear_int16(self.gates[task], read, saturation, allowed=NONE)
        shift = self.logit_shifts[task]
        trace.record(f"{name}.gate.logits", logits.astype(np.int16))
        if inference.unbounded:
            index, score = self._choice_without_range(self.gates[task], read, shift)
        else:
            index, score = numerics.route(logits, self.top_k, renormalise=self.renormalise, shift=shift)
        trace.record(f"{name}.gate.scores", score.astype(np.uint16))
        trace.record(f"{name}.gate.index", index)
        x, inputs = x.copy(), ops_int.first_inputs(self.experts[0].fc1, normed, self.gain, saturation)
        done: dict[int, dict[str, Array]] = {}
        for e in order:
            token, choice = np.nonzero(index == e)
            if not len(token):
                continue
            expert = self.experts[e]
            units = hidden_units(
                inputs[token],
                expert.fc1,
                expert.gate,
                f"{name}.experts.hidden",
                saturation,
                activation=self.activation,
                mult=self.hidden_mult,
                shift=self.hidden_shift,
                wide=wide,
            )
            out = ops_int.linear_int16(expert.fc2, units["hidden"], saturation)
            scored = numerics.round_shift(out * score[token, choice, None], self.score_shift)
            scored = saturation.fit(f"{name}.scored", scored, 16)
            # A token is in one expert's queue at most once, so that rows of one expert never collide.
            x[token] = ops_int.add(f"{name}.residual", x[token], scored, saturation)
            done[e] = {
                "index": np.full_like(token, e),
                "token": token,
                **{
                    part: values.astype(np.int8 if part == "hidden" and not wide else np.int16)
                    for part, values in units.items()
                },
                "out": out.astype(np.int16),
            }
        for part in next(iter(done.values())):
            trace.record(f"{name}.expert_{part}", np.concatenate([done[e][part] for e in sorted(done)]))
        trace.record(f"{name}.out", x - before)
        return x

    def _choice_without_range(self, gate: QuantLinear, read: Array, shift: int) -> tuple[Array, Array]:
        """Experts and scores by logits of as many bits as it takes, `LOGIT_FRACTION_BITS` more of them below the
        point.
        """
        acc = (ops_int.matmul(read, gate.weight) + (gate.bias.astype(np.int64) << gate.bias_shift)) * gate.mult
        logits = numerics.round_shift(acc, gate.shift - LOGIT_FRACTION_BITS)
        index = np.argsort(-logits, axis=1, kind="stable")[:, : self.top_k]
        powers = np.exp2((logits - logits.max(axis=1, keepdims=True)) * 2.0 ** (shift - 2 * LOGIT_FRACTION_BITS))
        chosen = np.take_along_axis(powers, index, axis=1)
        score = chosen / (chosen if self.renormalise else powers).sum(axis=1, keepdims=True)
        return index, np.minimum(np.rint(65536 * score), 65535).astype(np.int64)

    @property
    def balanced(self) -> dict[str, int]:
        return {expert.fc1.name: 1 for expert in self.experts} | {expert.fc2.name: 0 for expert in self.experts}

    def reading_stored(self) -> Self:
        gain = None if self.gain is None else reading_stored(self.gain)
        return replace(self, gates={task: reading_stored(gate) for task, gate in self.gates.items()}, gain=gain)

    def only_experts(self, experts: Collection[int]) -> Self:
        """This mixture with the gates of all other experts constants below any logit.

        Plain data, so that hardware does the same: rows of zeros, and a bias that saturates the logit at -32768.

        Raises
        ------
        ValueError
            If `experts` has numbers that are no expert's, or fewer than `top_k`.
        """
        allowed, count = set(experts), len(self.experts)
        if len(allowed) < self.top_k or not allowed <= set(range(count)):
            raise ValueError(f"experts must be {self.top_k} or more of 0..{count - 1}, not {sorted(allowed)!r}")
        barred = np.array([e for e in range(count) if e not in allowed], np.int64)
        return replace(self, gates={task: _shut(gate, barred) for task, gate in self.gates.items()})

    def as_dense(self) -> QuantMLP:
        """One MLP of all experts' hidden units: every token meets every expert."""
        gates = [e.gate for e in self.experts if e.gate is not None]
        second = [e.fc2 for e in self.experts]
        # The mean of the experts: one multiplier for all of them, in place of a score for each.
        mult = np.mean([linear.mult for linear in second], axis=0) / len(self.experts)
        fc2 = QuantLinear(
            name=f"{self.name}.fc2",
            weight=np.concatenate([linear.weight for linear in second], axis=1),
            bias=np.stack([linear.bias for linear in second]).sum(axis=0, dtype=np.int64).astype(np.int32),
            mult=np.maximum(1, np.rint(mult)).astype(np.uint16),
            shift=second[0].shift,
            in_step=second[0].in_step,
            out_step=second[0].out_step,
            bits=max(linear.bits for linear in second),
            reads=second[0].reads,
        )
        return QuantMLP(
            name=self.name,
            norm=self.norm,
            fc1=_side_by_side(f"{self.name}.fc1", [e.fc1 for e in self.experts], streamed=self.gain is None),
            hidden_mult=self.hidden_mult,
            hidden_shift=self.hidden_shift,
            hidden_step=self.hidden_step,
            fc2=fc2,
            activation=self.activation,
            gate=_side_by_side(f"{self.name}.gate_proj", gates, streamed=self.gain is None) if gates else None,
            gain=self.gain,
        )


def _side_by_side(name: str, linears: Sequence[QuantLinear], *, streamed: bool) -> QuantLinear:
    """The outputs of all experts' first matrices, or gates, as one matrix's; `streamed`: it reads the norm itself."""
    first = linears[0]
    finer = int(streamed and first.reads == "int8")  # read as they are streamed, units are half as large
    return QuantLinear(
        name=name,
        weight=np.concatenate([linear.weight for linear in linears]),
        bias=np.concatenate([linear.bias for linear in linears]) << finer,
        mult=np.concatenate([linear.mult for linear in linears]),
        shift=first.shift + finer,
        in_step=first.in_step / (1 << finer),
        out_step=first.out_step,
        bits=max(linear.bits for linear in linears),
        reads="streamed" if finer else first.reads,
    )


def _shut(gate: QuantLinear, barred: Array) -> QuantLinear:
    weight, bias, mult = gate.weight.copy(), gate.bias.copy(), gate.mult.copy()
    weight[barred], mult[barred], bias[barred] = 0, 65535, BARRED
    if gate.shift > 25 + gate.bias_shift:
        raise ValueError(
            f"{gate.name}: shift must be at most {25 + gate.bias_shift} to bar an expert, not {gate.shift!r}"
        )
    return replace(gate, weight=weight, bias=bias, mult=mult)
