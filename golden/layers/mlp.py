"""A dense MLP on integers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from moesaic.golden import numerics, ops_int
from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.layers.layer import Inference, Matrix, QuantLayer, Source
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm, hollow_gain
from moesaic.golden.layers.sizes import MLPSizes
from moesaic.golden.layers.stored import reading_stored
from moesaic.golden.nodes import Node
from moesaic.golden.numerics import Array
from moesaic.golden.saturation import Saturation
from moesaic.hw.spec.functions import FUNCTIONS, Function

__all__ = ["QuantMLP", "hidden_units"]


@dataclass(frozen=True)
class QuantMLP(QuantLayer):
    """Dense MLP: fc1 to int16, `activation`, times `hidden_mult` >> `hidden_shift` to int8, fc2 into the residual,
    which is shifted by `residual_shift`.

    With a `gate`, that is activated, and fc1's results are multiplied by it in place of `hidden_mult`. Both have one
    shift.

    With a `gain` (a diagonal matrix of the norm's gain, and its offset), the first matrices read what that makes of the
    normalised tokens: they are those of layers behind other norms too.
    """

    kind: ClassVar[str] = "mlp"

    name: str
    norm: QuantNorm
    fc1: QuantLinear
    hidden_mult: int
    hidden_shift: int
    hidden_step: float
    fc2: QuantLinear
    residual_shift: int = 0
    activation: str = "gelu"
    gate: QuantLinear | None = None
    gain: QuantLinear | None = None

    @classmethod
    def zeros(cls, node: Node, norm_name: str, tasks: Sequence[str], *, bits: int, finer: str | None = None) -> Self:
        """The MLP of a node, without weights."""
        sizes, name, dim = node.sizes, node.name, node.output.channels
        assert isinstance(sizes, MLPSizes)
        gain = hollow_gain(node, finer=finer)
        first = dict[str, Any](reads="streamed" if gain is None else "int8", finer=finer)

        def matrix(leaf: str, out: int, inputs: int, **options: Any) -> QuantLinear:
            return QuantLinear.zeros(f"{name}.{leaf}", out, inputs, owner=node.piece(leaf), **options)

        return cls(
            name=name,
            norm=QuantNorm.zeros(norm_name, node),
            fc1=matrix("fc1", sizes.hidden, dim, **first),
            hidden_mult=1,
            hidden_shift=1,
            hidden_step=1.0,
            fc2=matrix("fc2", dim, sizes.hidden, finer=finer),
            activation=sizes.activation,
            gate=matrix("gate_proj", sizes.hidden, dim, **first) if sizes.gated else None,
            gain=gain,
        )

    @property
    def first(self) -> QuantLinear:
        return self.fc1

    @property
    def wide(self) -> bool:
        return self.fc2.reads == "int16"

    @property
    def hidden(self) -> int:
        """Hidden units."""
        return len(self.fc1.weight)

    def matrices(self, tasks: Sequence[str]) -> Iterator[Matrix]:
        shape, source = (self.hidden, self.norm.dim), Source.NORMALISED
        if self.gain is not None:
            yield Matrix(linear=self.gain, shape=(self.norm.dim, self.norm.dim), source=source)
            source = Source.STORED
        if self.gate is not None:
            yield Matrix(linear=self.gate, shape=shape, source=source)
        yield Matrix(linear=self.fc1, shape=shape, source=source)
        yield Matrix(linear=self.fc2, shape=(self.norm.dim, self.hidden), source=Source.STORED)

    def macs(self, tokens: int) -> int:
        return tokens * (2 if self.gate is None else 3) * self.norm.dim * self.hidden

    def run(self, x: Array, inference: Inference) -> Array:
        name, trace, wide, saturation = self.name, inference.trace, self.wide, inference.saturation
        normed = ops_int.norm(self.norm, x, saturation)
        trace.record(self.norm.name, normed.astype(np.int16))
        units = hidden_units(
            ops_int.first_inputs(self.fc1, normed, self.gain, saturation),
            self.fc1,
            self.gate,
            f"{name}.hidden",
            saturation,
            activation=self.activation,
            mult=self.hidden_mult,
            shift=self.hidden_shift,
            wide=wide,
        )
        for part, values in units.items():
            trace.record(f"{name}.{part}", values.astype(np.int8 if part == "hidden" and not wide else np.int16))
        out = ops_int.linear_int16(self.fc2, units["hidden"], saturation)
        trace.record(f"{name}.out", out.astype(np.int16))
        return ops_int.add(f"{name}.residual", x, out, saturation, residual_shift=self.residual_shift)

    @property
    def balanced(self) -> dict[str, int]:
        return {self.fc1.name: 1, self.fc2.name: 0}

    def reading_stored(self) -> Self:
        if self.gain is not None:
            return replace(self, gain=reading_stored(self.gain))
        gate = None if self.gate is None else reading_stored(self.gate)
        return replace(self, fc1=reading_stored(self.fc1), gate=gate)


def hidden_units(
    x: Array,
    fc1: QuantLinear,
    gate: QuantLinear | None,
    name: str,
    saturation: Saturation,
    *,
    activation: str,
    mult: int,
    shift: int,
    wide: bool,
) -> dict[str, Array]:
    """Hidden units [n, hidden] of inputs [n, in], and what they are made of, by their names in a trace.

    What does not fit of them is counted under `name`.
    """
    function, pre = ACTIVATIONS[activation].function, ops_int.linear_int16(fc1, x, saturation)
    if gate is None:
        hidden = ops_int.hidden(name, pre, mult, shift, saturation, wide=wide, function=function)
        return {"hidden_pre": pre, "hidden": hidden}
    opened = ops_int.linear_int16(gate, x, saturation)
    hidden = _gated(name, opened, pre, shift, saturation, wide=wide, function=function)
    return {"hidden_gate": opened, "hidden_value": pre, "hidden": hidden}


def _gated(
    name: str, gate: Array, value: Array, shift: int, saturation: Saturation, *, wide: bool, function: Function
) -> Array:
    """Values times their activated gates, shifted; both from int16."""
    use = FUNCTIONS[function]
    if use.activation is None or not use.gate:
        raise ValueError(f"function must be an activation of gates, not {function.name}")
    exact = numerics.round_shift(value * numerics.activation(use.activation, gate), shift)
    return saturation.stored(name, exact, wide=wide)
