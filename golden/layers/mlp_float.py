"""A dense MLP in floats, and how it is quantised."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from moesaic.golden.gate import Routing
from moesaic.golden.layers.activations import FUNCTIONS
from moesaic.golden.layers.float_layer import FloatLayer, Run
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.quantiser import LayerQuantiser, floats
from moesaic.golden.layers.rounding import Place, Rounding
from moesaic.golden.layers.sizes import MLPSizes
from moesaic.hw.spec.tables import GELU_FRACTION_BITS

__all__ = ["Mlp"]


class Mlp(FloatLayer):
    """Two linears with an activation between."""

    parts = ("norm2", "fc1.weight", "hidden_pre", "hidden", "fc2.weight")

    def __init__(self, dim: int, sizes: MLPSizes, tasks: Sequence[str]) -> None:
        super().__init__(dim, sizes, tasks)
        self.fc1 = nn.Linear(dim, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, dim)
        self.activation = sizes.activation

    def written(self) -> Iterator[tuple[torch.Tensor, int]]:
        yield self.fc2.weight, 0
        yield self.fc2.bias, 0

    def forward(self, x: torch.Tensor, name: str, run: Run) -> tuple[torch.Tensor, None]:
        pre = self.fc1(x)
        run.trace.record(f"{name}.hidden_pre", pre[0])
        hidden = FUNCTIONS[self.activation](pre)
        run.trace.record(f"{name}.hidden", hidden[0])
        out = self.fc2(hidden)
        run.trace.record(f"{name}.out", out[0])
        return out, None

    def quantise(self, quantiser: LayerQuantiser) -> QuantMLP:
        """The integers of this MLP, from its activity in calibration."""
        values = quantiser.activity.all("hidden")
        weight, bias = quantiser.folded(floats(self.fc1.weight), floats(self.fc1.bias))
        norm, x = quantiser.norm(weight)
        mult, shift, step = quantiser.hidden(values, floats(self.fc2.weight))
        fc1 = quantiser.after_norm("fc1", weight, bias, norm, "streamed", 2.0**-GELU_FRACTION_BITS, x)
        fc2 = quantiser.linear("fc2", floats(self.fc2.weight), floats(self.fc2.bias), step, quantiser.step, values)
        return QuantMLP(
            name=quantiser.name,
            norm=norm,
            fc1=fc1,
            hidden_mult=mult,
            hidden_shift=shift,
            hidden_step=step,
            fc2=fc2,
            residual_shift=quantiser.residual_shift,
        )

    def rounded(self, rounding: Rounding, x: torch.Tensor, quant: QuantMLP, place: Place) -> torch.Tensor:
        """What is added to the residual, with the roundings that were chosen."""
        i, on = place.block, rounding.on
        y = rounding.norm(x, place.norm, quant.norm, i, "norm2", rounding.streamed)
        folded = rounding.folded(place.norm, self.fc1.weight, self.fc1.bias)
        pre = rounding.linear(y, quant.fc1, folded, on(i, "fc1.weight"), rounding.streamed)
        hidden = rounding.hidden(pre, i, self.activation, quant.hidden_step)
        return rounding.linear(hidden, quant.fc2, (self.fc2.weight, self.fc2.bias), on(i, "fc2.weight"))

    def batched(self, x: torch.Tensor, routing: Routing | None = None) -> torch.Tensor:
        return self.fc2(FUNCTIONS[self.activation](self.fc1(x)))
