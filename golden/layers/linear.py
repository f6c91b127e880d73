"""A quantised matrix: its integers, and what they stand for."""

from dataclasses import dataclass

import numpy as np

from moesaic.golden.numerics import IntArray
from moesaic.hw.spec.tables import PLANE_BITS, STORED_SHIFT, STREAMED_SHIFT

__all__ = ["FINER", "READS", "WIDE_READS", "QuantLinear", "dropped_bits"]

# What a matrix reads, and the largest magnitude there: int8 of the activation memory; normalised values as the array
# takes them in one pass (`numerics.norm_streamed`); all their bits, in two planes (`numerics.norm_planes`); 16-bit
# results (`numerics.digits`).
READS = {"int8": 128, "streamed": 255, "planes": 4096, "int16": 32768}
WIDE_READS = ("planes", "int16")  # of these, what takes two passes of the array
# What a layer can have more of than one of 8 bits: its first matrices read all bits of normalised tokens, in two
# planes; what it stores has 16 bits too; its weights have 16 bits too.
FINER = ("planes", "activations", "wide")
_DROPPED = {"int8": STORED_SHIFT, "streamed": STREAMED_SHIFT, "planes": 0, "int16": 0}


def dropped_bits(reads: str) -> int:
    """Bits of a norm's output that a matrix does not see which reads it so."""
    return _DROPPED[reads]


@dataclass(frozen=True)
class QuantLinear:
    """A matrix with what happens to its accumulators: ``round_shift((x @ weight.T + (bias << bias_shift)) * mult,
    shift)``.

    Parameters
    ----------
    name : str
        Path of the layer, unique in the network.
    weight : [out, in] int8, or int16 of 16 bits
    bias : [out] int32, in accumulator units, of 16-bit weights in 256 of them
    mult : [out] uint16
    shift : int
        0..62, one for the whole matrix.
    in_step, out_step : float
        Value of one unit of the input, and of the requantised output.
    bits : int
        Of a weight: 8, or 4 if all are -8..7, or 16 if all fit two signed bytes.
    reads : str
        One of `READS`: what its input is.
    owner : str or None
        Name of the matrix of an earlier layer that this one is; None for its own.
    """

    name: str
    weight: IntArray
    bias: IntArray
    mult: IntArray
    shift: int
    in_step: float
    out_step: float
    bits: int = 8
    reads: str = "int8"
    owner: str | None = None

    @classmethod
    def zeros(
        cls,
        name: str,
        out: int,
        inputs: int,
        *,
        reads: str = "int8",
        bits: int = 8,
        finer: str | None = None,
        owner: str | None = None,
    ) -> "QuantLinear":
        """A matrix of that shape that takes next to no memory, in a layer that is finer than its bits and `reads`."""
        if finer is not None and reads == "streamed":
            reads = "planes"
        if finer in ("activations", "wide") and reads == "int8":
            reads = "int16"
        bits = 16 if finer == "wide" else bits
        weight = np.broadcast_to(np.zeros((), np.int8), (out, inputs))  # one byte, seen as a whole matrix
        return cls(name, weight, np.zeros(out, np.int32), np.ones(out, np.uint16), 1, 1.0, 1.0, bits, reads, owner)

    @property
    def piece(self) -> str:
        """Name of its part of the weight stream, which an earlier layer may have put there."""
        return self.name if self.owner is None else self.owner

    def same_place(self, other: "QuantLinear") -> bool:
        """Whether two matrices are the same bytes of the weight stream."""
        alike = (self.bits, self.reads) == (other.bits, other.reads)
        return alike and all(
            np.array_equal(getattr(self, part), getattr(other, part)) for part in ("weight", "bias", "mult")
        )

    @property
    def passes(self) -> int:
        """Of the array for a block of inputs: two for each operand of two bytes."""
        return (2 if self.reads in WIDE_READS else 1) * (2 if self.bits > 8 else 1)

    @property
    def bias_shift(self) -> int:
        """Of the bias, when it is added."""
        return PLANE_BITS if self.bits > 8 else 0

    @property
    def stored_bytes(self) -> int:
        """Bytes of the matrix in the weight stream, without biases and padding."""
        return self.weight.size * self.passes * min(self.bits, 8) // 8
