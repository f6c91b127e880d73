"""The parts of a network: the image, the edges, the nodes.

Plain Python 3.10: the host runtime on a board reads networks too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from moesaic.errors import InputError
from moesaic.golden.layers.sizes import EmbeddingSizes, LayerSizes, NormSizes

__all__ = ["Edge", "Image", "Layer", "Node", "Origin", "Sharing", "TaskEmbeddingSizes", "chain_of", "edge_name"]


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a network looks at, and how it is cut into patches.

    Parameters
    ----------
    height, width : int
        Pixels; multiples of the patch's.
    patch_height, patch_width : int
        Pixels.
    channels : int
    pixel_mean, pixel_std : tuple of float, one for each channel
        A pixel enters as `(value / 255 - mean) / std`.
    patch_norm : NormSizes or None
        Norm of each patch's values before they are embedded; its gain and offset are part of the embedding's matrix.

    Raises
    ------
    InputError
        If a size is out of range or two do not fit each other; the message names the field.
    """

    height: int
    width: int
    patch_height: int
    patch_width: int
    channels: int = 3
    pixel_mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, ...] = (0.5, 0.5, 0.5)
    patch_norm: NormSizes | None = None

    def __post_init__(self) -> None:
        for name in ("patch_height", "patch_width", "channels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a positive integer, not {value!r}")
        for name, patch in (("height", self.patch_height), ("width", self.patch_width)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % patch:
                raise InputError(f"image {name} must be a positive multiple of the patch's {patch}, not {value!r}")
        numbers = "three numbers" if self.channels == 3 else f"{self.channels} numbers, one a channel"
        if len(self.pixel_mean) != self.channels:
            raise InputError(f"pixel_mean must be {numbers}, not {self.pixel_mean!r}")
        if len(self.pixel_std) != self.channels or not all(std > 0 for std in self.pixel_std):
            positive = numbers.replace("numbers", "positive numbers")
            raise InputError(f"pixel_std must be {positive}, not {self.pixel_std!r}")
        if self.patch_norm is not None and self.patch_norm.problem:
            raise InputError(f"norm of patches: {self.patch_norm.problem}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width

    @property
    def size_and_channels(self) -> tuple[tuple[int, int], int]:
        """What a reader of image files is asked for."""
        return self.size, self.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch, pixels."""
        return self.patch_height, self.patch_width

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across."""
        return self.height // self.patch_height, self.width // self.patch_width

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def patch_values(self) -> int:
        """Values of one patch."""
        return self.channels * self.patch_height * self.patch_width


@dataclass(frozen=True, kw_only=True)
class Edge:
    """What a node gives to the next, of one image: `tokens` vectors of `channels` values."""

    tokens: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a node stands in the user's model: path of the module, and the line of its code."""

    module: str = ""
    line: str = ""


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Matrices that several layers have in common; of mixtures, those of their experts.

    Parameters
    ----------
    owner : str
        Name of the first of these layers along the residual stream; that one's own says the same.
    own_norms : bool
        Whether gains or offsets of the norms before them differ. They then are no part of the common matrices.
    """

    owner: str
    own_norms: bool


@dataclass(frozen=True, kw_only=True)
class TaskEmbeddingSizes:
    """One vector for each task, that routers see beside a token.

    Parameters
    ----------
    channels : int
    eps : float
        Of its LayerNorm.
    """

    channels: int
    eps: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class Node:
    """A layer of a network.

    Parameters
    ----------
    name : str
        Published path of its parameters: "blocks.3.attn".
    kind : str
        A key of `golden.layers.sizes.SIZES`.
    sizes : LayerSizes
        Of its kind.
    norm : NormSizes or None
        What it reads the residual stream through. Of the embedding: what its patches pass before positions and learnt
        tokens join them, if anything.
    inputs : tuple of str
        Names of the nodes whose output it reads; none for the embedding, which reads the image.
    output : Edge
    block : int or None
        The block that it belongs to, from 0; None for the embedding.
    origin : Origin or None
        Where it stands in the user's model; two networks may differ in it and be equal.
    sharing : Sharing or None
        With which layers it has its matrices in common.
    """

    name: str
    kind: str
    sizes: LayerSizes
    norm: NormSizes | None
    inputs: tuple[str, ...]
    output: Edge
    block: int | None = None
    origin: Origin | None = field(default=None, compare=False, repr=False)
    sharing: Sharing | None = None

    @property
    def owner(self) -> str:
        """The layer whose matrices it uses: itself, or an earlier one."""
        return self.name if self.sharing is None else self.sharing.owner

    @property
    def borrows(self) -> bool:
        """Whether its matrices are an earlier layer's."""
        return self.owner != self.name

    def piece(self, leaf: str) -> str | None:
        """Name of an earlier layer's matrix that its matrix of that name is; None if that is its own."""
        return f"{self.owner}.{leaf}" if self.borrows else None


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A node of a chain before it has a place in it; the members are a node's."""

    sizes: LayerSizes
    norm: NormSizes
    origin: Origin | None = None


def chain_of(
    image: Image,
    prefix_tokens: int,
    dim: int,
    blocks: Sequence[Sequence[Layer]],
    *,
    embed_norm: NormSizes | None = None,
) -> tuple[Node, ...]:
    """The nodes of a network whose blocks are these layers in a row, under their published names.

    Parameters
    ----------
    image : Image
    prefix_tokens : int
        Learnt tokens before the patches.
    dim : int
        Channels of a token.
    blocks : sequence of sequence of Layer
    embed_norm : NormSizes or None
        Of the embedding's node.
    """
    edge, sizes = Edge(tokens=image.patches + prefix_tokens, channels=dim), EmbeddingSizes(values=image.patch_values)
    nodes = [Node(name="embed", kind=sizes.kind, sizes=sizes, norm=embed_norm, inputs=(), output=edge)]
    for number, layers in enumerate(blocks):
        taken: dict[str, int] = {}
        for layer in layers:
            leaf = layer.sizes.leaf
            taken[leaf] = taken.get(leaf, 0) + 1
            nodes.append(
                Node(
                    name=f"blocks.{number}.{leaf}{taken[leaf] if taken[leaf] > 1 else ''}",
                    kind=layer.sizes.kind,
                    sizes=layer.sizes,
                    norm=layer.norm,
                    inputs=(nodes[-1].name,),
                    output=edge,
                    block=number,
                    origin=layer.origin,
                )
            )
    return tuple(nodes)


def edge_name(block: str, position: int, count: int) -> str:
    """Name of the residual stream behind a layer of a block of `count` layers: the block's own for the last."""
    if position + 1 == count:
        return block
    return f"{block}.mid{position + 1 if position else ''}"
