"""A mixture of experts in floats, and how it is quantised."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from moesaic.golden.gate import Gate, Routing, choose
from moesaic.golden.layers.activations import FUNCTIONS
from moesaic.golden.layers.activity import LayerActivity
from moesaic.golden.layers.float_layer import FloatLayer, Run
from moesaic.golden.layers.given import given_units
from moesaic.golden.layers.hidden_scales import HiddenRanges, Units, ranges_of, scale_matrices
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.moe import QuantExpert, QuantMoE
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.quantiser import (
    HEADROOM,
    LOG2E,
    MAX_POST_SHIFT,
    HiddenSteps,
    LayerQuantiser,
    Reading,
    floats,
)
from moesaic.golden.layers.rounding import Place, Rounding
from moesaic.golden.layers.sizes import MoESizes
from moesaic.golden.reconstruct import refitted
from moesaic.golden.scales import FloatArray
from moesaic.golden.step_search import importance
from moesaic.golden.trace import SILENT
from moesaic.hw.spec.tables import LOGIT_FRACTION_BITS, LOGIT_SHIFT_BITS, PLANE_BITS

__all__ = ["ExpertLinear", "Experts", "MoE"]

MAX_GATE_SHIFT = 25  # an expert can then be barred by its bias (`QuantMoE.only_experts`)
SCORE_BITS = 16
LOGIT_MARGIN = 1.5  # of a gate's range over the largest logit of calibration
LOGIT_TOP = 1 << 15 - LOGIT_FRACTION_BITS  # of the finest logits, in powers of two
MAX_LOGIT_SHIFT = (1 << LOGIT_SHIFT_BITS) - 1


def _logit_shift(logits: FloatArray) -> int:
    """By how many bits the logits of a gate are coarser than the finest, from those of calibration."""
    room = LOGIT_MARGIN * LOG2E * float(np.abs(logits).max()) / LOGIT_TOP
    return min(max(math.ceil(math.log2(room)), 0), MAX_LOGIT_SHIFT) if room > 0 else 0


class _Gather(torch.autograd.Function):
    """Rows by a permutation; its gradient is rows by the inverse, which is quicker than torch's scatter."""

    @staticmethod
    def forward(ctx, rows: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


class ExpertLinear(nn.Module):
    """One linear per expert: weight [experts, outputs, inputs], bias [experts, outputs]."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(experts, outputs))

    def forward(self, x: torch.Tensor, expert: int) -> torch.Tensor:
        return F.linear(x, self.weight[expert], self.bias[expert])


class Experts(nn.Module):
    """The linears of every expert, under their published names: two, and its gates' if it is gated."""

    def __init__(self, dim: int, sizes: MoESizes) -> None:
        super().__init__()
        self.htoh4 = ExpertLinear(sizes.experts, dim, sizes.hidden)
        self.h4toh = ExpertLinear(sizes.experts, sizes.hidden, dim)
        self.gate_proj = ExpertLinear(sizes.experts, dim, sizes.hidden) if sizes.gated else None


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What mixtures of the same experts have in common."""

    reading: Reading
    steps: HiddenSteps
    experts: tuple[QuantExpert, ...]


class MoE(FloatLayer):
    """Mixture of experts: each token's output is the sum over its experts of score times expert(token)."""

    parts = (
        "norm2",
        "norm2.gate",
        "gate.weight",
        "gate.logits",
        "fc1.weight",
        "hidden_pre",
        "hidden",
        "fc2.weight",
        "expert_out",
        "scores16",
    )
    routes = True
    rescales = False

    def __init__(self, dim: int, sizes: MoESizes, tasks: Sequence[str]) -> None:
        super().__init__(dim, sizes, tasks)
        self.experts = Experts(dim, sizes)
        self.activation = sizes.activation
        self.gate: nn.Module
        if sizes.gate_task_dim:
            self.gate = Gate(dim, sizes)
        else:
            self.gate = nn.ModuleList(Gate(dim, sizes) for _ in tasks)

    def gate_of(self, task: int) -> Gate:
        gate = self.gate[task] if isinstance(self.gate, nn.ModuleList) else self.gate
        assert isinstance(gate, Gate)
        return gate

    def gate_of_task(self, task: int, embedding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.gate_of(task).folded(embedding)

    def choose(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return choose(logits, self.gate_of(0).k, self.gate_of(0).kind)

    def written(self) -> Iterator[tuple[torch.Tensor, int]]:
        yield self.experts.h4toh.weight, 1
        yield self.experts.h4toh.bias, 1

    def forward(self, x: torch.Tensor, name: str, run: Run) -> tuple[torch.Tensor, Routing]:
        flat, trace = x.reshape(-1, x.shape[-1]), run.trace  # [B * N, dim]
        routing = self.gate_of(run.task)(flat, run.embedding)
        out = torch.zeros_like(flat)
        record: dict[str, list[torch.Tensor]] = {}
        for expert in range(self.experts.htoh4.weight.shape[0]):
            token, choice = (routing.index == expert).nonzero(as_tuple=True)  # tokens in rising order
            if not len(token):
                continue
            units = self._units(flat[token], expert)
            hidden = units["hidden"]
            result = self.experts.h4toh(hidden, expert)
            out = out.index_add(0, token, result * routing.scores[token, choice, None])
            if trace is not SILENT:
                parts = (
                    ("index", torch.full_like(token, expert)),
                    ("token", token),
                    *units.items(),
                    ("out", result),
                )
                for part, tensor in parts:
                    record.setdefault(part, []).append(tensor)
        for part, tensor in (("logits", routing.logits), ("scores", routing.scores), ("index", routing.index)):
            trace.record(f"{name}.gate.{part}", tensor)
        for part, tensors in record.items():
            trace.record(f"{name}.expert_{part}", torch.cat(tensors))
        trace.record(f"{name}.out", out)
        return out.reshape(x.shape), routing

    def _units(self, x: torch.Tensor, expert: int) -> dict[str, torch.Tensor]:
        """Hidden units of an expert, and what they are made of, by their names in a trace."""
        pre, function = self.experts.htoh4(x, expert), FUNCTIONS[self.activation]
        if self.experts.gate_proj is None:
            return {"hidden_pre": pre, "hidden": function(pre)}
        gate = self.experts.gate_proj(x, expert)
        return {"hidden_gate": gate, "hidden_value": pre, "hidden": pre * function(gate)}

    def ranges(self, activity: LayerActivity, *, wide: bool) -> HiddenRanges | None:
        free = self.experts.gate_proj is not None
        values, chosen = activity.all("expert_hidden" if free else "expert_hidden_pre"), activity.all("expert_index")
        weights = floats(self.experts.h4toh.weight)
        units = [Units(values[chosen == expert], importance(weight)) for expert, weight in enumerate(weights)]
        return ranges_of(units, self.activation, free=free, wide=wide)

    def balance(self, ranges: Sequence[HiddenRanges]) -> None:
        first, second = self.experts.htoh4, self.experts.h4toh
        scale_matrices(HiddenRanges.together(ranges), (first.weight, first.bias), (second.weight, second.bias))

    def share(self, owner: "MoE") -> None:
        self.experts = owner.experts

    def common(self, quantiser: LayerQuantiser) -> "_Common":
        activity = quantiser.activity
        values = activity.all("expert_hidden")
        parts = ("gate", "value") if self.experts.gate_proj is not None else ()
        steps = quantiser.hidden(
            self.activation,
            values,
            floats(self.experts.h4toh.weight),
            *(activity.all(f"expert_hidden_{part}") for part in parts),
        )
        # Scores have 16 fraction bits; what is left of int16 goes to the experts' outputs.
        peak = HEADROOM * float(np.abs(activity.all("expert_out")).max())
        spare = math.floor(math.log2(32767 * quantiser.step / max(peak, 1e-9)))
        spare = min(max(spare, -SCORE_BITS), MAX_POST_SHIFT - SCORE_BITS - quantiser.spread)
        first, second = self.experts.htoh4, self.experts.gate_proj
        opened = [
            quantiser.first(m.weight.flatten(0, 1), m.bias.flatten())[0] for m in (first, second) if m is not None
        ]
        routes = [use.folded(*route)[0] for use in quantiser.uses for route in use.gates.values()]
        reading = quantiser.first_reading(np.concatenate(opened), "int8", np.concatenate(routes))
        experts = self._quantised_experts(quantiser, reading, steps, math.ldexp(quantiser.step, -spare))
        return _Common(reading=reading, steps=steps, experts=experts)

    def quantise(self, quantiser: LayerQuantiser, common: "_Common") -> QuantMoE:
        """The integers of this mixture, from its activity in calibration."""
        gate, steps = self.gate_of(0), common.steps
        routes = {task: quantiser.folded(*folded) for task, folded in quantiser.gates.items()}
        norm, gain = quantiser.norm_before(common.reading, np.concatenate([weight for weight, _ in routes.values()]))
        routers, shifts, order, usage = self._quantised_gates(quantiser, norm, quantiser.rows(), routes)
        experts = tuple(
            QuantExpert(
                fc1=quantiser.own(expert.fc1, f"experts.{e}.fc1"),
                fc2=quantiser.own(expert.fc2, f"experts.{e}.fc2"),
                gate=None if expert.gate is None else quantiser.own(expert.gate, f"experts.{e}.gate_proj"),
            )
            for e, expert in enumerate(common.experts)
        )
        return QuantMoE(
            name=quantiser.name,
            norm=norm,
            gates=routers,
            logit_shifts=shifts,
            top_k=gate.k,
            renormalise=gate.kind == "noisy",
            experts=experts,
            hidden_mult=steps.mult,
            hidden_shift=steps.shift,
            hidden_step=steps.step,
            score_shift=SCORE_BITS + round(math.log2(quantiser.step / experts[0].fc2.out_step)),
            order=order,
            usage=usage,
            activation=self.activation,
            gain=gain,
        )

    def _quantised_experts(
        self, quantiser: LayerQuantiser, reading: Reading, steps: HiddenSteps, out_step: float
    ) -> tuple[QuantExpert, ...]:
        activity, bits = quantiser.activity, quantiser.expert_bits
        values, chosen = activity.all("expert_hidden"), activity.all("expert_index")
        per_run = len(activity.before[0])
        tokens = np.concatenate([token + run * per_run for run, token in enumerate(activity.tensors["expert_token"])])
        first, second, gates = self.experts.htoh4, self.experts.h4toh, self.experts.gate_proj
        experts = []
        for e in range(len(first.weight)):
            up = quantiser.first(first.weight[e], first.bias[e])
            gate = None if gates is None else quantiser.first(gates.weight[e], gates.bias[e])
            mine, name = chosen == e, f"experts.{e}."
            seen = reading.values[tokens[mine]]
            opened, fc1 = quantiser.first_matrices(name, up, gate, steps, reading, seen, bits=bits)
            weight, bias, units = floats(second.weight[e]), floats(second.bias[e]), values[mine]
            if quantiser.reconstruct and bits < 8 and len(seen):
                given = given_units(quantiser, (opened, fc1), self.activation, steps, reading, seen)
                (weight, bias), units = refitted(weight, bias, given, units), given
            fc2 = quantiser.linear(f"{name}fc2", weight, bias, steps.step, out_step, units, bits=bits)
            experts.append(QuantExpert(fc1=fc1, fc2=fc2, gate=opened))
        return tuple(experts)

    @staticmethod
    def _quantised_gates(
        quantiser: LayerQuantiser, norm: QuantNorm, x: FloatArray, routes: dict[str, tuple[FloatArray, FloatArray]]
    ) -> tuple[dict[str, QuantLinear], dict[str, int], dict[str, tuple[int, ...]], dict[str, tuple[float, ...]]]:
        """Gates, shifts of their logits, order of experts and share of images that use each, by task."""
        activity = quantiser.activity
        routers, shifts, order, usage = {}, {}, {}, {}
        runs, per_run = np.array(activity.tasks), len(activity.before[0])
        for number, (task, (weight, bias)) in enumerate(routes.items()):
            mine = np.flatnonzero(runs == number)
            inputs = np.concatenate([x[run * per_run : (run + 1) * per_run] for run in mine])
            shifts[task] = _logit_shift(inputs @ weight.T + bias)
            routers[task] = quantiser.after_norm(
                f"gate.{task}",
                weight,
                bias,
                norm,
                "planes",  # which experts a token goes to hangs on small differences
                math.ldexp(1 / LOG2E, shifts[task] - LOGIT_FRACTION_BITS),
                inputs,
                max_shift=MAX_GATE_SHIFT + (PLANE_BITS if quantiser.bits > 8 else 0),
            )
            chosen = [activity.tensors["gate.index"][run].ravel() for run in mine]
            counts = np.stack([np.bincount(index, minlength=len(weight)) for index in chosen])
            share, total = (counts > 0).mean(axis=0), counts.sum(axis=0)
            order[task] = tuple(sorted(range(len(weight)), key=lambda e: (-share[e], -total[e], e)))
            usage[task] = tuple(float(s) for s in share)
        return routers, shifts, order, usage

    def rounded(self, rounding: Rounding, x: torch.Tensor, quant: QuantMoE, place: Place) -> torch.Tensor:
        """What is added to the residual, with the roundings that were chosen."""
        i, on, kind = place.block, rounding.on, self.gate_of(0).kind
        assert place.gate is not None
        read = rounding.first(x, place, quant.norm, quant.gain, quant.first, "norm2")
        y = read.values.reshape(-1, x.shape[-1])
        z = rounding.norm(x, place.norm, quant.norm, i, "norm2.gate", 0).reshape(-1, x.shape[-1])
        gate = quant.gates[place.task]
        logits = rounding.linear(z, gate, rounding.folded(place.norm, *place.gate), on(i, "gate.weight"))
        logits = rounding.round(logits, i, "gate.logits", gate.out_step, -32768, 32767)
        scores, index = self.choose(logits)
        place.found.experts[i] = index
        if i in rounding.held:
            index = rounding.held[i]
            chosen = logits if kind == "noisy_vmoe" else logits.gather(-1, index)
            scores = torch.softmax(chosen, dim=-1)
            scores = scores.gather(-1, index) if kind == "noisy_vmoe" else scores
        scores = rounding.round(scores, i, "scores16", 2.0**-16, 0, 65535)
        out = torch.zeros_like(y)
        for e, expert in enumerate(quant.experts):
            token, choice = (index == e).nonzero(as_tuple=True)
            if not len(token):
                continue
            up, down, gates = self.experts.htoh4, self.experts.h4toh, self.experts.gate_proj
            first = expert.fc1, read.parameters(up.weight[e], up.bias[e])
            opened = None
            if gates is not None and expert.gate is not None:
                opened = expert.gate, read.parameters(gates.weight[e], gates.bias[e])
            made = quant.hidden_step, first, opened, read.dropped
            hidden = rounding.hidden(y[token], i, self.activation, *made, wide=quant.wide)
            part = rounding.linear(hidden, expert.fc2, (down.weight[e], down.bias[e]), on(i, "fc2.weight"))
            part = rounding.round(part, i, "expert_out", expert.fc2.out_step, -32768, 32767)
            out.index_add_(0, token, part * scores[token, choice, None])
        return out.reshape(x.shape)

    def batched(self, x: torch.Tensor, routing: Routing | None = None) -> torch.Tensor:
        """With one product for each expert and matrix."""
        assert routing is not None
        scores, index, tokens = routing.scores, routing.index, x.shape[1]
        x = x.flatten(0, 1).to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype)
        k = index.shape[1]
        flat = index.flatten()
        order = torch.argsort(flat, stable=True)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order))
        counts = torch.bincount(flat, minlength=self.experts.htoh4.weight.shape[0]).tolist()
        rows = x[:, None].expand(-1, k, -1).reshape(len(flat), -1)  # each token once for each of its experts
        rows = _Gather.apply(rows, order, inverse)

        def product(linear: ExpertLinear, rows: torch.Tensor) -> torch.Tensor:
            # Taken apart once: a slice for each expert would have a whole gradient for each.
            weights, biases = linear.weight.to(rows.dtype).unbind(), linear.bias.to(rows.dtype).unbind()
            return torch.cat([F.linear(*args) for args in zip(rows.split(counts), weights, biases, strict=True)])

        function, gates = FUNCTIONS[self.activation], self.experts.gate_proj
        hidden = product(self.experts.htoh4, rows)
        hidden = function(hidden) if gates is None else hidden * function(product(gates, rows))
        rows = product(self.experts.h4toh, hidden)
        rows = _Gather.apply(rows, inverse, order).unflatten(0, (-1, k))  # [n, k, dim]
        return (rows * scores[..., None].to(rows.dtype)).sum(dim=1).unflatten(0, (-1, tokens))
