"""The quantised network: every integer the accelerator needs, and the float steps that give them meaning."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from moesaic.golden.layers.embed_norm import QuantEmbedNorm
from moesaic.golden.layers.layer import Matrix, QuantLayer
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.network import Network
from moesaic.golden.nodes import edge_name
from moesaic.golden.numerics import IntArray

__all__ = ["DEFAULT_WIDTHS", "WEIGHTS", "WIDTHS", "QuantBlock", "QuantModel"]

WEIGHTS = ("trained", "seeded", "imported", "partly seeded")  # where parameters come from, for reports
# Bits of the experts' weights. All other weights, and activations, have 8; with w16a16 they have 16 too.
WIDTHS = {"w8a8": 8, "w4a8": 4, "w16a16": 16}
DEFAULT_WIDTHS = "w8a8"


@dataclass(frozen=True)
class QuantBlock:
    """Layers in a row, of any kinds: what is shown, counted and marked together.

    `residual_step` is the float value of one unit of the residual after it; its first layer changes the step of the
    block before to this one.
    """

    name: str
    layers: tuple[QuantLayer, ...]
    residual_step: float

    def edges(self) -> Iterator[tuple[QuantLayer, str]]:
        """Each layer with the name of the residual behind it: the block's own for the last."""
        for position, layer in enumerate(self.layers):
            yield layer, edge_name(self.name, position, len(self.layers))

    @property
    def routed(self) -> tuple[int, int] | None:
        """Experts for each token, and experts, of its mixture; None without one."""
        return self.layers[-1].routed

    def with_layers(self, change: Callable[[QuantLayer], QuantLayer]) -> "QuantBlock":
        """The block with each layer replaced by what `change` makes of it."""
        return replace(self, layers=tuple(map(change, self.layers)))

    def macs(self, tokens: int) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.macs(tokens) for layer in self.layers)


@dataclass(frozen=True)
class QuantModel:
    """A whole network.

    `embed` maps patch vectors to the residual: its input is ``pixel - 128`` in the order (channel, row, column) of the
    patch, with an all-zero vector in the place of each learnt token (the class token); `position` [tokens, dim] int16
    is the residual before it is added (position plus learnt token; those rows have the embedding's bias taken out, so
    that adding it back gives the token). With an `embed_norm` that takes the embedding's place: what it makes is added
    to `position`.
    """

    network: Network
    embed: QuantLinear
    position: IntArray
    blocks: tuple[QuantBlock, ...]
    embed_step: float
    weights: str  # one of `WEIGHTS`
    embed_norm: QuantEmbedNorm | None = None

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

    @property
    def embed_matrices(self) -> tuple[QuantLinear, ...]:
        """Matrices before the first block."""
        between = () if self.embed_norm is None else self.embed_norm.matrices()
        return (self.embed, *(matrix.linear for matrix in between))

    def matrices(self) -> Iterator[Matrix]:
        """Every matrix of every block, for all tasks."""
        for layer in self.layers():
            yield from layer.matrices(self.network.tasks)

    def layers(self) -> Iterator[QuantLayer]:
        """Every layer of every block."""
        for block in self.blocks:
            yield from block.layers

    @property
    def finer(self) -> dict[str, str]:
        """Layers with more bits than 8, by the owner of their matrices, and in what (`linear.FINER`)."""
        if self.wide:
            return {}
        owners = {node.name: node.owner for node in self.network.layers}
        return {owners[layer.name]: layer.finer for layer in self.layers() if layer.finer is not None}

    def with_layers(self, change: Callable[[QuantLayer], QuantLayer]) -> "QuantModel":
        """The network with each layer replaced by what `change` makes of it."""
        return replace(self, blocks=tuple(block.with_layers(change) for block in self.blocks))

    def reading_stored(self) -> "QuantModel":
        """The network for an accelerator that stores normalised tokens before it reads them: less exact.

        Raises
        ------
        ValueError
            If a multiplier would need a negative shift; the message names the matrix.
        """
        norm = None if self.embed_norm is None else self.embed_norm.reading_stored()
        return replace(self, embed_norm=norm).with_layers(lambda layer: layer.reading_stored())

    def as_dense(self) -> "QuantModel":
        """The network with each mixture replaced by one MLP of all its experts' hidden units, and no router.

        It is for measuring cycles and bytes of a dense network of equal size: what it computes is exact, and of no use.
        """
        return self.with_layers(lambda layer: layer.as_dense())
