"""A dense MLP on integers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from moesaic.golden import ops_int
from moesaic.golden.layers.layer import Inference, Matrix, QuantLayer, Source
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.stored import reading_stored
from moesaic.golden.numerics import Array

__all__ = ["QuantMLP"]


@dataclass(frozen=True)
class QuantMLP(QuantLayer):
    """Dense MLP: fc1 to Q5.10, GELU, times `hidden_mult` >> `hidden_shift` to int8, fc2 into the residual."""

    kind: ClassVar[str] = "mlp"

    norm: QuantNorm
    fc1: QuantLinear
    hidden_mult: int
    hidden_shift: int
    hidden_step: float
    fc2: QuantLinear

    @classmethod
    def zeros(cls, name: str, dim: int, hidden: int, *, wide: bool) -> "QuantMLP":
        """An MLP of those sizes in block `name`, without weights."""
        return cls(
            norm=QuantNorm.zeros(f"{name}.norm2", dim),
            fc1=QuantLinear.zeros(f"{name}.mlp.fc1", hidden, dim, reads="streamed", wide=wide),
            hidden_mult=1,
            hidden_shift=1,
            hidden_step=1.0,
            fc2=QuantLinear.zeros(f"{name}.mlp.fc2", dim, hidden, wide=wide),
        )

    @property
    def hidden(self) -> int:
        """Hidden units."""
        return len(self.fc1.weight)

    def matrices(self, tasks: Sequence[str]) -> Iterator[Matrix]:
        yield Matrix(linear=self.fc1, shape=(self.hidden, self.norm.dim), source=Source.NORMALISED)
        yield Matrix(linear=self.fc2, shape=(self.norm.dim, self.hidden), source=Source.STORED)

    def macs(self, tokens: int) -> int:
        return tokens * 2 * self.norm.dim * self.hidden

    def run(self, x: Array, name: str, inference: Inference) -> Array:
        trace, wide = inference.trace, self.fc1.bits > 8
        normed = ops_int.norm(self.norm, x)
        trace.record(f"{name}.norm2", normed.astype(np.int16))
        pre = ops_int.linear_int16(self.fc1, ops_int.read_normalised(self.fc1, normed))
        trace.record(f"{name}.mlp.hidden_pre", pre.astype(np.int16))
        hidden = ops_int.hidden(pre, self.hidden_mult, self.hidden_shift, wide=wide)
        trace.record(f"{name}.mlp.hidden", hidden.astype(np.int16 if wide else np.int8))
        out = ops_int.linear_int16(self.fc2, hidden)
        trace.record(f"{name}.mlp.out", out.astype(np.int16))
        return ops_int.add(x, out)

    def reading_stored(self) -> Self:
        return replace(self, fc1=reading_stored(self.fc1))
