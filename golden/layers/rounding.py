"""Float arithmetic in which each rounding of a quantised network can be switched on by itself."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from moesaic.golden.layers.activations import FUNCTIONS
from moesaic.golden.layers.linear import QuantLinear, dropped_bits
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.norm_float import FloatNorm
from moesaic.hw.spec.tables import DIGITS_TOP, NORM_BITS, STREAMED_SHIFT

__all__ = ["FINER_PARTS", "PARTS", "Choice", "Outcome", "Place", "Rounding", "stored_range"]

PARTS = (
    "norm1",
    "q",
    "k",
    "v",
    "scores",
    "probs",
    "context",
    "qkv.weight",
    "proj.weight",
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
    "residual",
)
"""What is rounded in a block, in the order of the data."""

_READ, _STORED = ("norm1", "norm2"), ("q", "k", "v", "context", "hidden")
_WEIGHTS = ("qkv.weight", "proj.weight", "gate.weight", "fc1.weight", "fc2.weight")
FINER_PARTS: Mapping[str, tuple[str, ...]] = {
    "planes": _READ,
    "activations": (*_READ, *_STORED),
    "wide": (*_READ, *_STORED, *_WEIGHTS),
}
"""Of what next to no rounding is left in a finer layer, by how it is (`linear.FINER`)."""

_Parameters = tuple[torch.Tensor, torch.Tensor]

Choice = Callable[[int, str], float]
"""Of a block and a part: 0 exact, 1 as quantised, 2^n with n more bits below (weights: exact or as quantised)."""


def _floored(step: float, dropped: int) -> float:
    """What rounding down takes away on the average, where `step` is what is left after `dropped` bits."""
    return step * (1 - 2.0**-dropped) / 2


@dataclass
class Outcome:
    """What a forward pass gives: residual [B, tokens, dim] after each block, experts [B * tokens, k] of each
    mixture.
    """

    outputs: list[torch.Tensor] = field(default_factory=list)
    experts: dict[int, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a forward pass a layer stands.

    Parameters
    ----------
    norm : FloatNorm
        In front of the layer.
    block : int
    task : str
    gate : (weight [experts, dim], bias [experts]) or None
        The task's router in floats.
    found : Outcome
        Receives what the routers choose.
    """

    norm: FloatNorm
    block: int
    task: str
    gate: tuple[torch.Tensor, torch.Tensor] | None = None
    found: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True)
class FirstReading:
    """What a layer's first matrices read.

    Parameters
    ----------
    values : [B, tokens, dim]
    dropped : int
        Bits that they do not see.
    parameters : callable of (weight, bias)
        Weight and bias of a matrix that takes those values.
    """

    values: torch.Tensor
    dropped: int
    parameters: Callable[[torch.Tensor, torch.Tensor], _Parameters]


def stored_range(*, wide: bool) -> tuple[int, int]:
    """Least and largest stored value, of 16 bits if `wide`."""
    return (-DIGITS_TOP - 129, DIGITS_TOP) if wide else (-128, 127)


def _plain(weight: torch.Tensor, bias: torch.Tensor) -> _Parameters:
    return weight, bias


class Rounding:
    """The rounding of a quantised network where `on(block, part)` says so.

    Parameters
    ----------
    on : callable of (block, part)
        `part` is one of `PARTS`.
    held : dict of int to Tensor
        Experts [B * tokens, k] that tokens of a mixture go to whatever the gate says.
    watch : callable of (block, part, Tensor), optional
        Sees every tensor, after its rounding if there is one.
    """

    def __init__(
        self,
        on: Choice,
        *,
        held: dict[int, torch.Tensor],
        watch: Callable[[int, str, torch.Tensor], None] | None,
    ) -> None:
        self.on, self.watch, self.held = on, watch, held
        self._kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def see(self, i: int, part: str, x: torch.Tensor) -> torch.Tensor:
        if self.watch is not None:
            self.watch(i, part, x)
        return x

    def round(self, x: torch.Tensor, i: int, part: str, step: float, low: int, high: int) -> torch.Tensor:
        """`x` in whole steps, as fine as was chosen."""
        fine = self.on(i, part)
        if fine:
            x = (x * (fine / step)).round_().clamp_(low * fine, high * fine).mul_(step / fine)
        return self.see(i, part, x)

    def dequantised(self, quant: QuantLinear, dropped: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias that the integers stand for; the bias without what makes up for `dropped` bits of the
        input.
        """
        if quant.name not in self._kept:
            steps = np.ldexp(quant.mult.astype(np.float64), -quant.shift) * quant.out_step / quant.in_step
            weight = quant.weight * steps[:, None]
            bias = (quant.bias.astype(np.int64) << quant.bias_shift) * steps * quant.in_step - weight.sum(
                axis=1
            ) * _floored(quant.in_step, dropped)
            self._kept[quant.name] = (
                torch.from_numpy(weight.astype(np.float32)),
                torch.from_numpy(bias.astype(np.float32)),
            )
        return self._kept[quant.name]

    def linear(
        self,
        x: torch.Tensor,
        quant: QuantLinear,
        parameters: tuple[torch.Tensor, torch.Tensor],
        rounded: float,
        dropped: int = 0,
    ) -> torch.Tensor:
        """`x` times the float matrix, or times what the integers stand for."""
        return F.linear(x, *(self.dequantised(quant, dropped) if rounded else parameters))

    def norm(self, x: torch.Tensor, norm: FloatNorm, quant: QuantNorm, i: int, part: str, dropped: int) -> torch.Tensor:
        """A plain norm, of whose integers the lowest `dropped` bits are not read."""
        y, fine = norm.plain(x), self.on(i, part)
        step = math.ldexp(quant.step, dropped)
        if fine == 1:
            top = 1 << (NORM_BITS - 1)
            whole = (y / quant.step).round_().clamp_(-top, top - 1)
            lowest = -255 if dropped == STREAMED_SHIFT else -top
            y = whole.div_(1 << dropped).floor_().clamp_(min=lowest).mul_(step).add_(_floored(step, dropped))
        elif fine:
            y = (y * (fine / step)).round_().mul_(step / fine)
        return self.see(i, part, y)

    def first(
        self,
        x: torch.Tensor,
        place: Place,
        norm: QuantNorm,
        gain: QuantLinear | None,
        reader: QuantLinear,
        part: str,
    ) -> FirstReading:
        """What a layer's first matrices, of which `reader` is one, read: a plain norm, or what the matrix `gain` stores
        of it.
        """
        if gain is None:
            dropped = dropped_bits(reader.reads)
            y = self.norm(x, place.norm, norm, place.block, part, dropped)
            return FirstReading(y, dropped, partial(self.folded, place.norm))
        dropped = dropped_bits(gain.reads)
        y = self.norm(x, place.norm, norm, place.block, part, dropped)
        parameters = torch.diag(place.norm.weight), place.norm.bias
        y = self.linear(y, gain, parameters, self.on(place.block, part), dropped)
        stored = stored_range(wide=gain.bits > 8)
        return FirstReading(self.round(y, place.block, part, reader.in_step, *stored), 0, _plain)

    def folded(self, norm: FloatNorm, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias that take the plain normalised values."""
        return weight * norm.weight, bias + weight @ norm.bias

    def hidden(
        self,
        x: torch.Tensor,
        i: int,
        activation: str,
        step: float,
        first: tuple[QuantLinear, _Parameters],
        gate: tuple[QuantLinear, _Parameters] | None,
        dropped: int,
        *,
        wide: bool,
    ) -> torch.Tensor:
        """Hidden units, of 16 bits if `wide`, of normalised values, by the first matrix and a gate's, each with its
        float weight and bias.
        """

        def pre(linear: QuantLinear, parameters: _Parameters) -> torch.Tensor:
            y = self.linear(x, linear, parameters, self.on(i, "fc1.weight"), dropped)
            return self.round(y, i, "hidden_pre", linear.out_step, -32768, 32767)

        function, up = FUNCTIONS[activation], pre(*first)
        hidden = function(up) if gate is None else up * function(pre(*gate))
        return self.round(hidden, i, "hidden", step, *stored_range(wide=wide))
