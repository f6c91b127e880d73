"""LayerNorm and RMSNorm on integers: the constants of a NORM instruction."""

from dataclasses import dataclass
from typing import Self

from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.nodes import Node
from moesaic.hw.spec.tables import inverse_of_dim

__all__ = ["NORM_FIELDS", "QuantNorm", "hollow_gain"]

NORM_FIELDS = ("dim", "inv_dim", "inv_dim_shift", "scale", "shift", "epsilon", "rms")
"""Of a NORM instruction: the constants of `numerics.layernorm`."""


@dataclass(frozen=True)
class QuantNorm:
    """Constants of a LayerNorm, or of an RMSNorm, which is not `centred` (the NORM instruction).

    Gain and offset live in the weights that follow.

    `step` is the float value of one unit of the output, which has `tables.NORM_BITS` bits.
    """

    name: str
    dim: int
    scale: int
    shift: int
    epsilon: int
    step: float
    centred: bool = True

    @classmethod
    def zeros(cls, name: str, node: Node) -> Self:
        """Constants of the norm in front of a node, that mean nothing."""
        assert node.norm is not None
        return cls(
            name=name,
            dim=node.output.channels,
            scale=1,
            shift=1,
            epsilon=1,
            step=1.0,
            centred=node.norm.centred,
        )

    @property
    def inv_dim(self) -> int:
        """Of the instruction, with `inv_dim_shift`: 1/dim."""
        return inverse_of_dim(self.dim)[0]

    @property
    def inv_dim_shift(self) -> int:
        """Of the instruction."""
        return inverse_of_dim(self.dim)[1]

    @property
    def rms(self) -> int:
        """Of the instruction: 1 for RMSNorm."""
        return int(not self.centred)

    @property
    def fields(self) -> dict[str, int]:
        """`NORM_FIELDS` and their values."""
        return {name: getattr(self, name) for name in NORM_FIELDS}


def hollow_gain(node: Node, *, finer: str | None) -> QuantLinear | None:
    """The matrix of gain and offset of the norm in front of a node, without weights, if they have one of their own."""
    if node.sharing is None or not node.sharing.own_norms:
        return None
    dim = node.output.channels
    finer = "wide" if finer in ("activations", "wide") else None  # what stores 16 bits has weights of as many
    return QuantLinear.zeros(f"{node.name}.gain", dim, dim, reads="streamed", finer=finer)
