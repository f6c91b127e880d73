"""A dense MLP in floats, and how it is quantised."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from moesaic.golden.gate import Routing
from moesaic.golden.layers.activations import FUNCTIONS
from moesaic.golden.layers.activity import LayerActivity
from moesaic.golden.layers.float_layer import FloatLayer, Run
from moesaic.golden.layers.hidden_scales import HiddenRanges, Units, ranges_of, scale_matrices
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.quantiser import HiddenSteps, LayerQuantiser, Reading, floats
from moesaic.golden.layers.rounding import Place, Rounding
from moesaic.golden.layers.sizes import MLPSizes
from moesaic.golden.step_search import importance

__all__ = ["Mlp"]


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What MLPs of the same matrices have in common."""

    reading: Reading
    steps: HiddenSteps
    gate: QuantLinear | None
    fc1: QuantLinear
    fc2: QuantLinear


class Mlp(FloatLayer):
    """Two linears with an activation between; gated, the first one's results times the activation of a third's."""

    parts = ("norm2", "fc1.weight", "hidden_pre", "hidden", "fc2.weight")

    def __init__(self, dim: int, sizes: MLPSizes, tasks: Sequence[str]) -> None:
        super().__init__(dim, sizes, tasks)
        self.fc1 = nn.Linear(dim, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, dim)
        self.gate_proj = nn.Linear(dim, sizes.hidden) if sizes.gated else None
        self.activation = sizes.activation

    def written(self) -> Iterator[tuple[torch.Tensor, int]]:
        yield self.fc2.weight, 0
        yield self.fc2.bias, 0

    def forward(self, x: torch.Tensor, name: str, run: Run) -> tuple[torch.Tensor, None]:
        pre, function = self.fc1(x), FUNCTIONS[self.activation]
        if self.gate_proj is None:
            run.trace.record(f"{name}.hidden_pre", pre[0])
            hidden = function(pre)
        else:
            gate = self.gate_proj(x)
            run.trace.record(f"{name}.hidden_gate", gate[0])
            run.trace.record(f"{name}.hidden_value", pre[0])
            hidden = pre * function(gate)
        run.trace.record(f"{name}.hidden", hidden[0])
        out = self.fc2(hidden)
        run.trace.record(f"{name}.out", out[0])
        return out, None

    def ranges(self, activity: LayerActivity, *, wide: bool) -> HiddenRanges | None:
        values = activity.all("hidden_pre" if self.gate_proj is None else "hidden")
        units = Units(values, importance(floats(self.fc2.weight)))
        return ranges_of([units], self.activation, free=self.gate_proj is not None, wide=wide)

    def balance(self, ranges: Sequence[HiddenRanges]) -> None:
        scale_matrices(
            HiddenRanges.together(ranges), (self.fc1.weight, self.fc1.bias), (self.fc2.weight, self.fc2.bias)
        )

    def share(self, owner: "Mlp") -> None:
        self.fc1, self.fc2, self.gate_proj = owner.fc1, owner.fc2, owner.gate_proj

    def common(self, quantiser: LayerQuantiser) -> "_Common":
        values = quantiser.activity.all("hidden")
        weight, bias = quantiser.first(self.fc1.weight, self.fc1.bias)
        gate, gates = None, None
        if self.gate_proj is not None:
            gate = quantiser.first(self.gate_proj.weight, self.gate_proj.bias)
            gates = [quantiser.activity.all(f"hidden_{part}") for part in ("gate", "value")]
        reading = quantiser.first_reading(weight if gate is None else np.concatenate([weight, gate[0]]), "streamed")
        steps = quantiser.hidden(self.activation, values, floats(self.fc2.weight), *(gates or ()))
        opened, fc1 = quantiser.first_matrices("", (weight, bias), gate, steps, reading, reading.values)
        out_weight, out_bias = floats(self.fc2.weight), floats(self.fc2.bias)
        fc2 = quantiser.linear("fc2", out_weight, out_bias, steps.step, quantiser.step, values)
        return _Common(reading=reading, steps=steps, gate=opened, fc1=fc1, fc2=fc2)

    def quantise(self, quantiser: LayerQuantiser, common: "_Common") -> QuantMLP:
        """The integers of this MLP, from its activity in calibration."""
        norm, gain = quantiser.norm_before(common.reading)
        return QuantMLP(
            name=quantiser.name,
            norm=norm,
            fc1=quantiser.own(common.fc1, "fc1"),
            hidden_mult=common.steps.mult,
            hidden_shift=common.steps.shift,
            hidden_step=common.steps.step,
            fc2=quantiser.own_last(common.fc2, "fc2"),
            residual_shift=quantiser.residual_shift,
            activation=self.activation,
            gate=None if common.gate is None else quantiser.own(common.gate, "gate_proj"),
            gain=gain,
        )

    def rounded(self, rounding: Rounding, x: torch.Tensor, quant: QuantMLP, place: Place) -> torch.Tensor:
        """What is added to the residual, with the roundings that were chosen."""
        i, on, gate = place.block, rounding.on, None
        read = rounding.first(x, place, quant.norm, quant.gain, quant.first, "norm2")
        first = quant.fc1, read.parameters(self.fc1.weight, self.fc1.bias)
        if self.gate_proj is not None and quant.gate is not None:
            gate = quant.gate, read.parameters(self.gate_proj.weight, self.gate_proj.bias)
        made = quant.hidden_step, first, gate, read.dropped
        hidden = rounding.hidden(read.values, i, self.activation, *made, wide=quant.wide)
        return rounding.linear(hidden, quant.fc2, (self.fc2.weight, self.fc2.bias), on(i, "fc2.weight"))

    def batched(self, x: torch.Tensor, routing: Routing | None = None) -> torch.Tensor:
        function, up = FUNCTIONS[self.activation], self.fc1(x)
        return self.fc2(function(up) if self.gate_proj is None else up * function(self.gate_proj(x)))
