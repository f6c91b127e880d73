"""What layers that share their matrices save."""

from dataclasses import replace

import pytest

from moesaic.compiler.weights import shared_bytes
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.sizes import AttentionSizes, NormSizes
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, Sharing, chain_of

SIZES = {"k": 1, "q": 10, "v": 100, "proj": 1000}  # of the pieces that all three use
GAIN = 7


@pytest.mark.parametrize(("blocks", "more"), [(1, 0), (2, 1111), (3, 2222)])
def test_bytes_of_matrices_that_are_stored_once(blocks: int, more: int) -> None:
    """Once more for each block but the first; every block has a gain of its own instead of weights that have it."""
    image = Image(height=8, width=8, patch_height=4, patch_width=4)
    layer = Layer(sizes=AttentionSizes(heads=2, head_dim=4), norm=NormSizes())
    sharing = Sharing(owner="blocks.0.attn", own_norms=True)
    embed, *layers = chain_of(image, 0, 8, [[layer], [layer], [layer]])
    network = Network(tasks=("x",), image=image, nodes=(embed, *(replace(node, sharing=sharing) for node in layers)))
    pieces = {f"blocks.0.attn.{part}": size for part, size in SIZES.items()}
    pieces |= {f"blocks.{number}.attn.gain": GAIN for number in range(3)}
    assert shared_bytes(hollow_model(network), pieces, tasks=["x"], blocks=blocks) == more - blocks * GAIN
