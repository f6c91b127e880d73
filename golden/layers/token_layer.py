"""The float layer that follows attention, from its sizes."""

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.float_layer import FloatLayer
from moesaic.golden.layers.mlp_float import Mlp
from moesaic.golden.layers.moe_float import MoE
from moesaic.golden.layers.sizes import MoESizes

__all__ = ["token_layer"]


def token_layer(config: M3ViTConfig, block: int) -> FloatLayer:
    """The layer of block number `block`, parameters uninitialised or torch's defaults."""
    sizes = config.layer(block)
    if isinstance(sizes, MoESizes):
        return MoE(config, sizes)
    return Mlp(config.dim, sizes.hidden, config.gelu)
