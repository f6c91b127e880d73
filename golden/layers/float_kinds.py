"""Float layers by kind: a new one is added here."""

from collections.abc import Sequence

from moesaic.golden.layers.attention_float import Attention
from moesaic.golden.layers.float_layer import FloatLayer
from moesaic.golden.layers.mlp_float import Mlp
from moesaic.golden.layers.moe_float import MoE
from moesaic.golden.layers.norm_float import FloatNorm
from moesaic.golden.layers.sizes import AttentionSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.nodes import Node

__all__ = ["FLOAT_KINDS", "layer_of", "norm_of"]

FLOAT_KINDS: dict[str, type[FloatLayer]] = {
    AttentionSizes.kind: Attention,
    MLPSizes.kind: Mlp,
    MoESizes.kind: MoE,
}


def layer_of(node: Node, tasks: Sequence[str]) -> FloatLayer:
    """The layer of a node, parameters uninitialised or torch's defaults."""
    return FLOAT_KINDS[node.kind](node.output.channels, node.sizes, tasks)


def norm_of(sizes: NormSizes | None, dim: int) -> FloatNorm:
    """A norm of `dim` channels."""
    assert sizes is not None
    return FloatNorm(dim, sizes)
