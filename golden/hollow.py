"""A network's shapes, quantised but without weights: what fits is known before anything is calibrated."""

from collections.abc import Mapping

import numpy as np

from moesaic.errors import InputError
from moesaic.golden.finer import NO_FINER
from moesaic.golden.layers.embed_norm import QuantEmbedNorm
from moesaic.golden.layers.kinds import LAYERS
from moesaic.golden.layers.linear import FINER, QuantLinear
from moesaic.golden.network import Network, check_runs, check_supported
from moesaic.golden.qmodel import QuantBlock, QuantModel

__all__ = ["check_finer", "hollow_model"]


def hollow_model(network: Network, expert_bits: int = 8, finer: Mapping[str, str] = NO_FINER) -> QuantModel:
    """A quantised network of the right shapes and widths, all zeros, that takes next to no memory.

    Parameters
    ----------
    network : Network
    expert_bits, finer
        As in `quantize.quantize`.

    Raises
    ------
    InputError
        If a layer has something that is not supported; the message names both.
    """
    check_supported(network)
    check_runs(network)
    blocks = []
    for block in network.blocks:
        layers = tuple(
            LAYERS[node.kind].zeros(
                node,
                f"{block.name}.{block.norm_leaf(position)}",
                network.tasks,
                bits=min(expert_bits, 8),
                finer="wide" if expert_bits > 8 else finer.get(node.owner),
            )
            for position, node in enumerate(block.nodes)
        )
        blocks.append(QuantBlock(name=block.name, layers=layers, residual_step=1.0))
    embed_norm = None
    if network.embed_norm is not None:
        embed_norm = QuantEmbedNorm.zeros(network.nodes[0], wide=expert_bits > 8)
    return QuantModel(
        network=network,
        embed=QuantLinear.zeros("embed", network.dim, network.image.patch_values, bits=max(8, expert_bits)),
        position=np.zeros((network.tokens, network.dim), np.int16),
        blocks=tuple(blocks),
        embed_step=1.0,
        weights="seeded",
        embed_norm=embed_norm,
    )


def check_finer(network: Network, finer: Mapping[str, str]) -> None:
    """Whether layers of a network can be finer than 8 bits as `quantize.quantize` is asked to make them.

    Raises
    ------
    InputError
        If there is no such layer, or it cannot: the message names it.
    """
    owners = {node.owner for node in network.layers}
    for name, how in finer.items():
        if name not in owners:
            raise InputError(f"finer layers must be of {', '.join(sorted(owners))}, not {name!r}")
        if how not in FINER:
            raise InputError(f"{name}: what is finer must be one of {', '.join(FINER)}, not {how!r}")
    made = hollow_model(network, finer=finer) if finer else None
    for node, layer in zip(network.layers, () if made is None else made.layers(), strict=made is not None):
        if finer.get(node.owner, layer.finer) != layer.finer:
            raise InputError(f"{node.name}: inputs must be of 8 bits, which are stored before they are read, not 13")
