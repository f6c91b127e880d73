"""The built-in networks' shapes, quantised but without weights: what fits is known before anything is calibrated."""

import numpy as np

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.qmodel import QuantBlock, QuantModel

__all__ = ["hollow_model"]


def _block(model: M3ViTConfig, number: int, expert_bits: int) -> QuantBlock:
    name, wide = f"blocks.{number}", expert_bits > 8
    mlp: QuantLayer
    sizes = model.layer(number)
    if sizes.experts:
        mlp = QuantMoE.zeros(
            name,
            model.dim,
            sizes.hidden,
            sizes.experts,
            sizes.top_k,
            model.tasks,
            renormalise=model.gate_kind == "noisy",
            bits=expert_bits,
        )
    else:
        mlp = QuantMLP.zeros(name, model.dim, sizes.hidden, wide=wide)
    attention = QuantAttention.zeros(name, model.dim, model.heads, wide=wide)
    return QuantBlock(name=name, attention=attention, mlp=mlp, residual_step=1.0)


def hollow_model(model: M3ViTConfig, expert_bits: int = 8) -> QuantModel:
    """A quantised network of the right shapes and widths, all zeros, that takes next to no memory."""
    return QuantModel(
        config=model,
        embed=QuantLinear.zeros("embed", model.dim, model.patch_values, bits=max(8, expert_bits)),
        position=np.zeros((model.tokens, model.dim), np.int16),
        blocks=tuple(_block(model, number, expert_bits) for number in range(model.depth)),
        embed_step=1.0,
        weights="seeded",
    )
