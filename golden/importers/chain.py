"""The network of a model from files: blocks of attention and then an MLP or a mixture, each of its own size."""

from collections.abc import Mapping, Sequence

from moesaic.golden.layers.sizes import AttentionSizes, LayerSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, TaskEmbeddingSizes, chain_of

__all__ = ["chain_network", "square_image"]

EPS = 1e-6  # of M3ViT's norms


def square_image(size: tuple[int, int], patch: int, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Image:
    """An RGB image of `size` pixels in square patches of side `patch`."""
    height, width = size
    return Image(
        height=height, width=width, patch_height=patch, patch_width=patch, pixel_mean=mean, pixel_std=deviation
    )


def chain_network(
    *,
    name: str,
    tasks: tuple[str, ...],
    image: Image,
    dim: int,
    heads: int,
    hidden: Sequence[int],
    mixtures: Mapping[int, MoESizes] = {},
    class_token: bool,
    extra_tokens: int = 0,
    activation: str = "gelu",
    eps: float = EPS,
    task_channels: int = 0,
) -> Network:
    """The network whose blocks have these sizes.

    Parameters
    ----------
    name : str
    tasks : tuple of str
    image : Image
    dim, heads : int
        Channels of a token; attention heads of every block, among which they are divided.
    hidden : sequence of int
        Hidden units of the dense MLP of each block.
    mixtures : mapping of block to MoESizes
        Blocks that have a mixture in place of the MLP.
    class_token : bool
    extra_tokens : int
        Further learnt tokens.
    activation : str
        Of the dense MLPs.
    eps : float
        Of every norm.
    task_channels : int
        Channels of the task embedding; 0 for none.

    Raises
    ------
    InputError
        If a size is out of range or two do not fit each other.
    """
    norm = NormSizes(eps=eps)
    attention = Layer(sizes=AttentionSizes(heads=heads, head_dim=dim // heads), norm=norm)

    def second(block: int, units: int) -> LayerSizes:
        return mixtures[block] if block in mixtures else MLPSizes(hidden=units, activation=activation)

    blocks = [(attention, Layer(sizes=second(block, units), norm=norm)) for block, units in enumerate(hidden)]
    return Network(
        name=name,
        tasks=tasks,
        image=image,
        class_token=class_token,
        extra_tokens=extra_tokens,
        task_embedding=TaskEmbeddingSizes(channels=task_channels, eps=eps) if task_channels and mixtures else None,
        nodes=chain_of(image, class_token + extra_tokens, dim, blocks),
    )
