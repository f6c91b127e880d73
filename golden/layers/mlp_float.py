"""A dense MLP in floats, and how it is quantised."""

import torch
import torch.nn.functional as F
from torch import nn

from moesaic.golden.gate import Routing
from moesaic.golden.layers.float_layer import FloatLayer
from moesaic.golden.layers.gelu import GELU
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.quantiser import BlockQuantiser, floats
from moesaic.golden.layers.rounding import Place, Rounding
from moesaic.golden.trace import Trace
from moesaic.hw.spec.tables import GELU_FRACTION_BITS

__all__ = ["Mlp"]


class Mlp(FloatLayer):
    """Two linears with GELU between.

    Parameters
    ----------
    dim, hidden : int
        Channels of a token, and hidden units.
    gelu : str
        Key of `GELU`.
    """

    def __init__(self, dim: int, hidden: int, gelu: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.gelu = GELU[gelu]

    def forward(self, x: torch.Tensor, name: str, trace: Trace) -> torch.Tensor:
        pre = self.fc1(x)
        trace.record(f"{name}.hidden_pre", pre[0])
        hidden = F.gelu(pre, approximate=self.gelu)
        trace.record(f"{name}.hidden", hidden[0])
        out = self.fc2(hidden)
        trace.record(f"{name}.out", out[0])
        return out

    def quantise(self, quantiser: BlockQuantiser) -> QuantMLP:
        """The integers of this MLP, from its activity in calibration."""
        values = quantiser.activity.all("mlp.hidden")
        weight, bias = quantiser.folded(quantiser.block.norm2, floats(self.fc1.weight), floats(self.fc1.bias))
        norm, x = quantiser.norm("norm2", quantiser.block.norm2, quantiser.activity.mid, quantiser.step, weight)
        mult, shift, step = quantiser.hidden(values, floats(self.fc2.weight))
        fc1 = quantiser.after_norm("mlp.fc1", weight, bias, norm, "streamed", 2.0**-GELU_FRACTION_BITS, x)
        fc2 = quantiser.linear("mlp.fc2", floats(self.fc2.weight), floats(self.fc2.bias), step, quantiser.step, values)
        return QuantMLP(norm=norm, fc1=fc1, hidden_mult=mult, hidden_shift=shift, hidden_step=step, fc2=fc2)

    def rounded(self, rounding: Rounding, x: torch.Tensor, quant: QuantMLP, place: Place) -> torch.Tensor:
        """What is added to the residual, with the roundings that were chosen."""
        i, on = place.block, rounding.on
        y = rounding.norm(x, place.norm.eps, quant.norm, i, "norm2", rounding.streamed)
        folded = rounding.folded(place.norm, self.fc1.weight, self.fc1.bias)
        pre = rounding.linear(y, quant.fc1, folded, on(i, "fc1.weight"), rounding.streamed)
        hidden = rounding.hidden(pre, i, self.gelu, quant.hidden_step)
        return rounding.linear(hidden, quant.fc2, (self.fc2.weight, self.fc2.bias), on(i, "fc2.weight"))

    def batched(self, x: torch.Tensor, routing: Routing | None = None) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x), approximate=self.gelu))
