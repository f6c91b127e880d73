"""The network for an accelerator that stores normalised tokens before it reads them: int8, not what one pass
can take.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from moesaic.golden import numerics
from moesaic.golden.qmodel import QuantAttention, QuantBlock, QuantLinear, QuantMLP, QuantModel, QuantMoE
from moesaic.hw.spec.tables import STORED_SHIFT, STREAMED_SHIFT

__all__ = ["stored_norm"]

_FINER = {"int8": 0, "streamed": STORED_SHIFT - STREAMED_SHIFT, "planes": STORED_SHIFT}


def _stored(linear: QuantLinear) -> QuantLinear:
    """The same matrix on inputs whose unit is larger: its sums are smaller by as much, and so are biases and shift."""
    finer = _FINER[linear.reads]
    if linear.shift < finer:
        raise ValueError(f"{linear.name}: shift must be at least {finer} to read stored values, not {linear.shift!r}")
    bias: Any = numerics.round_shift(linear.bias.astype(np.int64), finer)
    return replace(
        linear,
        bias=bias.astype(np.int32),
        shift=linear.shift - finer,
        in_step=linear.in_step * (1 << finer),
        reads="int8",
    )


def _attention(attention: QuantAttention) -> QuantAttention:
    return replace(attention, q=_stored(attention.q), k=_stored(attention.k), v=_stored(attention.v))


def _mlp(mlp: QuantMLP | QuantMoE) -> QuantMLP | QuantMoE:
    if isinstance(mlp, QuantMLP):
        return replace(mlp, fc1=_stored(mlp.fc1))
    return replace(mlp, gates={task: _stored(gate) for task, gate in mlp.gates.items()})


def _block(block: QuantBlock) -> QuantBlock:
    return replace(block, attention=_attention(block.attention), mlp=_mlp(block.mlp))


def stored_norm(qmodel: QuantModel) -> QuantModel:
    """`qmodel` with every matrix after a LayerNorm reading int8; less exact, for a program with LayerNorm passes of
    their own.

    Raises
    ------
    ValueError
        If a multiplier would need a negative shift; the message names the layer.
    """
    return replace(qmodel, blocks=tuple(_block(block) for block in qmodel.blocks))
