"""The list of kinds: a new one is added here."""

from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.moe import QuantExpert, QuantMoE
from moesaic.golden.layers.norm import QuantNorm

__all__ = ["KINDS", "PARTS"]

KINDS = (QuantAttention, QuantMLP, QuantMoE)
PARTS = (QuantLinear, QuantNorm, QuantExpert, *KINDS)  # all that a file of a quantised network may hold
