"""The list of kinds: a new one is added here."""

from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.embed_norm import QuantEmbedNorm
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.moe import QuantExpert, QuantMoE
from moesaic.golden.layers.norm import QuantNorm

__all__ = ["KINDS", "LAYERS", "PARTS"]

KINDS: tuple[type[QuantLayer], ...] = (QuantAttention, QuantMLP, QuantMoE)
LAYERS: dict[str, type[QuantLayer]] = {kind.kind: kind for kind in KINDS}
PARTS = (QuantLinear, QuantNorm, QuantExpert, QuantEmbedNorm, *KINDS)  # all that a file of a quantised network may hold
