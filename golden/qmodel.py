"""The quantised network: every integer the accelerator needs, and the float steps that give them meaning."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.layer import Matrix, QuantLayer
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.numerics import IntArray

__all__ = ["DEFAULT_WIDTHS", "WEIGHTS", "WIDTHS", "QuantBlock", "QuantModel"]

WEIGHTS = ("trained", "seeded", "imported", "partly seeded")  # where parameters come from, for reports
# Bits of the experts' weights. All other weights, and activations, have 8; with w16a16 they have 16 too.
WIDTHS = {"w8a8": 8, "w4a8": 4, "w16a16": 16}
DEFAULT_WIDTHS = "w8a8"


@dataclass(frozen=True)
class QuantBlock:
    """One transformer block: attention, then a layer that treats each token by itself.

    `residual_step` is the float value of one unit of the residual after it.
    """

    name: str
    attention: QuantAttention
    mlp: QuantLayer
    residual_step: float

    @property
    def layers(self) -> tuple[QuantLayer, ...]:
        """In the order of the residual stream."""
        return self.attention, self.mlp

    def edges(self) -> Iterator[tuple[QuantLayer, str]]:
        """Each layer with the name of the residual behind it: the block's own for the last."""
        yield self.attention, f"{self.name}.mid"
        yield self.mlp, self.name

    def with_layers(self, change: Callable[[QuantLayer], QuantLayer]) -> "QuantBlock":
        """The block with each layer replaced by what `change` makes of it."""
        return replace(self, attention=cast(QuantAttention, change(self.attention)), mlp=change(self.mlp))

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.macs(tokens) for layer in self.layers)


@dataclass(frozen=True)
class QuantModel:
    """A whole network.

    `embed` maps patch vectors to the residual: its input is ``pixel - 128`` in the order (channel, row, column) of the
    patch, with an all-zero vector in the place of each learnt token (the class token); `position` [tokens, dim] int16
    is the residual before it is added (position plus learnt token; those rows have the embedding's bias taken out, so
    that adding it back gives the token).
    """

    config: M3ViTConfig
    embed: QuantLinear
    position: IntArray
    blocks: tuple[QuantBlock, ...]
    embed_step: float
    weights: str  # one of `WEIGHTS`

    @property
    def wide(self) -> bool:
        """Whether weights and activations have 16 bits."""
        return self.embed.bits > 8

    @property
    def widths(self) -> str:
        """Name in `WIDTHS`."""
        if self.wide:
            return "w16a16"
        return "w4a8" if any(matrix.linear.bits == 4 for matrix in self.matrices()) else DEFAULT_WIDTHS

    def matrices(self) -> Iterator[Matrix]:
        """Every matrix of every block, for all tasks."""
        for block in self.blocks:
            for layer in block.layers:
                yield from layer.matrices(self.config.tasks)

    def with_layers(self, change: Callable[[str, QuantLayer], QuantLayer]) -> "QuantModel":
        """The network with each layer replaced by what `change` makes of its block's name and of it."""
        blocks = (block.with_layers(partial(change, block.name)) for block in self.blocks)
        return replace(self, blocks=tuple(blocks))

    def reading_stored(self) -> "QuantModel":
        """The network for an accelerator that stores normalised tokens before it reads them: less exact.

        Raises
        ------
        ValueError
            If a multiplier would need a negative shift; the message names the matrix.
        """
        return self.with_layers(lambda name, layer: layer.reading_stored())

    def as_dense(self) -> "QuantModel":
        """The network with each mixture replaced by one MLP of all its experts' hidden units, and no router.

        It is for measuring cycles and bytes of a dense network of equal size: what it computes is exact, and of no use.
        """
        return self.with_layers(lambda name, layer: layer.as_dense(name))
