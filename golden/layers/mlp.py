"""A dense MLP on integers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from moesaic.golden import ops_int
from moesaic.golden.layers.layer import Inference, Matrix, QuantLayer, Source
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.sizes import MLPSizes
from moesaic.golden.layers.stored import reading_stored
from moesaic.golden.nodes import Node
from moesaic.golden.numerics import Array

__all__ = ["QuantMLP"]


@dataclass(frozen=True)
class QuantMLP(QuantLayer):
    """Dense MLP: fc1 to Q5.10, GELU, times `hidden_mult` >> `hidden_shift` to int8, fc2 into the residual, which is
    shifted by `residual_shift`.
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

    @classmethod
    def zeros(cls, node: Node, norm_name: str, tasks: Sequence[str], *, bits: int) -> Self:
        """The MLP of a node, without weights."""
        sizes, name, dim, wide = node.sizes, node.name, node.output.channels, bits > 8
        assert isinstance(sizes, MLPSizes)
        return cls(
            name=name,
            norm=QuantNorm.zeros(norm_name, node),
            fc1=QuantLinear.zeros(f"{name}.fc1", sizes.hidden, dim, reads="streamed", wide=wide),
            hidden_mult=1,
            hidden_shift=1,
            hidden_step=1.0,
            fc2=QuantLinear.zeros(f"{name}.fc2", dim, sizes.hidden, wide=wide),
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

    def run(self, x: Array, inference: Inference) -> Array:
        name, trace, wide = self.name, inference.trace, self.fc1.bits > 8
        normed = ops_int.norm(self.norm, x)
        trace.record(self.norm.name, normed.astype(np.int16))
        pre = ops_int.linear_int16(self.fc1, ops_int.read_normalised(self.fc1, normed))
        trace.record(f"{name}.hidden_pre", pre.astype(np.int16))
        hidden = ops_int.hidden(pre, self.hidden_mult, self.hidden_shift, wide=wide)
        trace.record(f"{name}.hidden", hidden.astype(np.int16 if wide else np.int8))
        out = ops_int.linear_int16(self.fc2, hidden)
        trace.record(f"{name}.out", out.astype(np.int16))
        return ops_int.add(x, out, self.residual_shift)

    def reading_stored(self) -> Self:
        return replace(self, fc1=reading_stored(self.fc1))
