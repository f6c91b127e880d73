"""A norm of the embedded patches on integers: the residual is normalised once, before the first layer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from moesaic.golden import ops_int
from moesaic.golden.layers.layer import Matrix, Source
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.stored import reading_stored
from moesaic.golden.nodes import Node
from moesaic.golden.numerics import Array, IntArray
from moesaic.golden.saturation import Saturation

__all__ = ["EMBED_NORM", "QuantEmbedNorm"]

EMBED_NORM = "embed_norm"  # what its parameters are called


@dataclass(frozen=True)
class QuantEmbedNorm:
    """What stands between the patch embedding and the residual of the first layer.

    `before` is added to the patches; their norm is stored in the activation memory by the diagonal matrix `plain`, the
    residual begins anew with the positions, and the diagonal matrix `gain` adds what was stored to it.

    Parameters
    ----------
    before : [tokens, dim] int16
        Residual before the patches are added; of learnt tokens what makes their sum 0.
    norm : QuantNorm
    plain, gain : QuantLinear
    """

    before: IntArray
    norm: QuantNorm
    plain: QuantLinear
    gain: QuantLinear

    @classmethod
    def zeros(cls, node: Node, *, wide: bool) -> Self:
        """Of a network's embedding, without weights."""
        dim, finer = node.output.channels, "wide" if wide else None
        return cls(
            before=np.zeros((node.output.tokens, dim), np.int16),
            norm=QuantNorm.zeros(EMBED_NORM, node),
            plain=QuantLinear.zeros(f"{EMBED_NORM}.plain", dim, dim, reads="planes", finer=finer),
            gain=QuantLinear.zeros(f"{EMBED_NORM}.gain", dim, dim, finer=finer),
        )

    @property
    def wide(self) -> bool:
        """Whether what it stores has 16 bits."""
        return self.gain.reads == "int16"

    def matrices(self) -> Iterator[Matrix]:
        """Its matrices, in the order in which their weights are streamed."""
        yield Matrix(linear=self.plain, shape=(self.norm.dim, self.norm.dim), source=Source.NORMALISED)
        yield Matrix(linear=self.gain, shape=(self.norm.dim, self.norm.dim), source=Source.STORED)

    def run(self, x: Array, saturation: Saturation) -> Array:
        """What is added to the positions, of patches [tokens, dim]."""
        normed = ops_int.norm(self.norm, x, saturation)
        return ops_int.linear_int16(
            self.gain, ops_int.first_inputs(self.gain, normed, self.plain, saturation), saturation
        )

    def reading_stored(self) -> Self:
        """The same for an accelerator that normalises in a pass of its own: less exact."""
        return replace(self, plain=reading_stored(self.plain))
