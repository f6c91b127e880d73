"""LayerNorm and RMSNorm on integers: the constants of a NORM instruction."""

from dataclasses import dataclass

__all__ = ["QuantNorm"]


@dataclass(frozen=True)
class QuantNorm:
    """Constants of a LayerNorm, or of an RMSNorm, which is not `centred` (the NORM instruction).

    Gain and offset live in the weights that follow.

    `step` is the float value of one unit of the output, which has `tables.NORM_BITS` bits.
    """

    name: str
    dim: int
    inv_dim: int
    inv_dim_shift: int
    scale: int
    shift: int
    epsilon: int
    step: float
    centred: bool = True

    @classmethod
    def zeros(cls, name: str, dim: int) -> "QuantNorm":
        """Constants of a norm of `dim` channels that mean nothing."""
        return cls(name=name, dim=dim, inv_dim=1, inv_dim_shift=1, scale=1, shift=1, epsilon=1, step=1.0)
