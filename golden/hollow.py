"""A network's shapes, quantised but without weights: what fits is known before anything is calibrated."""

import numpy as np

from moesaic.golden.layers.kinds import LAYERS
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.network import Network, check_supported
from moesaic.golden.qmodel import QuantBlock, QuantModel

__all__ = ["hollow_model"]


def hollow_model(network: Network, expert_bits: int = 8) -> QuantModel:
    """A quantised network of the right shapes and widths, all zeros, that takes next to no memory.

    Raises
    ------
    InputError
        If a layer has something that is not supported; the message names both.
    """
    check_supported(network)
    blocks = []
    for block in network.blocks:
        layers = tuple(
            LAYERS[node.kind].zeros(node, f"{block.name}.{block.norm_leaf(position)}", network.tasks, bits=expert_bits)
            for position, node in enumerate(block.nodes)
        )
        blocks.append(QuantBlock(name=block.name, layers=layers, residual_step=1.0))
    return QuantModel(
        network=network,
        embed=QuantLinear.zeros("embed", network.dim, network.image.patch_values, bits=max(8, expert_bits)),
        position=np.zeros((network.tokens, network.dim), np.int16),
        blocks=tuple(blocks),
        embed_step=1.0,
        weights="seeded",
    )
