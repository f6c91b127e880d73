"""The quantised network: every integer the accelerator needs, and the float steps that give them meaning."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.tables import PLANE_BITS

__all__ = [
    "DEFAULT_WIDTHS",
    "READS",
    "WEIGHTS",
    "WIDE_READS",
    "WIDTHS",
    "IntArray",
    "QuantAttention",
    "QuantBlock",
    "QuantExpert",
    "QuantLinear",
    "QuantMLP",
    "QuantMoE",
    "QuantModel",
    "QuantNorm",
]

WEIGHTS = ("trained", "seeded", "imported", "partly seeded")  # where parameters come from, for reports
# Bits of the experts' weights. All other weights, and activations, have 8; with w16a16 they have 16 too.
WIDTHS = {"w8a8": 8, "w4a8": 4, "w16a16": 16}
DEFAULT_WIDTHS = "w8a8"

# What a matrix reads, and the largest magnitude there: int8 of the activation memory; normalised values as the array
# takes
# them in one pass (`numerics.norm_streamed`); or all their bits, in two planes (`numerics.norm_planes`); or 16-bit
# results
# (`numerics.digits`).
READS = {"int8": 128, "streamed": 255, "planes": 4096, "int16": 32768}
WIDE_READS = ("planes", "int16")  # of these, what takes two passes of the array

IntArray = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class QuantNorm:
    """Constants of a LayerNorm (the NORM instruction); gain and offset live in the weights that follow.

    `step` is the float value of one unit of the output, which has `tables.NORM_BITS` bits.
    """

    name: str
    dim: int
    inv_dim: int
    inv_dim_shift: int
    scale: int
    shift: int
    epsilon: int
    step: float


@dataclass(frozen=True)
class QuantLinear:
    """A matrix with what happens to its accumulators: ``round_shift((x @ weight.T + (bias << bias_shift)) * mult,
    shift)``.

    Parameters
    ----------
    weight : [out, in] int8, or int16 of 16 bits
    bias : [out] int32, in accumulator units, of 16-bit weights in 256 of them
    mult : [out] uint16
    shift : int
        0..62, one for the whole matrix.
    in_step, out_step : float
        Value of one unit of the input, and of the requantised output.
    bits : int
        Of a weight: 8, or 4 if all are -8..7, or 16 if all fit two signed bytes.
    reads : str
        One of `READS`: what its input is.
    """

    name: str
    weight: IntArray
    bias: IntArray
    mult: IntArray
    shift: int
    in_step: float
    out_step: float
    bits: int = 8
    reads: str = "int8"

    @property
    def passes(self) -> int:
        """Of the array for a block of inputs: two for each operand of two bytes."""
        return (2 if self.reads in WIDE_READS else 1) * (2 if self.bits > 8 else 1)

    @property
    def bias_shift(self) -> int:
        """Of the bias, when it is added."""
        return PLANE_BITS if self.bits > 8 else 0


@dataclass(frozen=True)
class QuantAttention:
    """Multi-head attention; `proj` requantises into the residual (function ADD).

    `score_mult`/`score_shift` take the accumulator of q.k to log2 units with 8 fraction bits;
    `context_mult`/`context_shift` are the SOFTMAX/ATTEND scalars; `residual_shift` is applied to the old residual when
    `proj` is added.
    """

    norm: QuantNorm
    q: QuantLinear
    k: QuantLinear
    v: QuantLinear
    score_mult: int
    score_shift: int
    context_mult: int
    context_shift: int
    context_step: float
    proj: QuantLinear
    residual_shift: int


@dataclass(frozen=True)
class QuantMLP:
    """Dense MLP: fc1 to Q5.10, GELU, times `hidden_mult` >> `hidden_shift` to int8, fc2 into the residual."""

    norm: QuantNorm
    fc1: QuantLinear
    hidden_mult: int
    hidden_shift: int
    hidden_step: float
    fc2: QuantLinear


@dataclass(frozen=True)
class QuantExpert:
    """One expert's two matrices."""

    fc1: QuantLinear
    fc2: QuantLinear


@dataclass(frozen=True)
class QuantMoE:
    """Mixture of experts. fc2 requantises to int16 of ``out_step``; that times the 16-bit score, shifted by
    `score_shift`, is added to the residual.

    `gates` maps a task to its gate matrix, whose requantised output is logits * log2(e) with 10 fraction bits; a
    task-conditioned gate has its task's constant in `bias`. `order` maps a task to the order in which experts are run,
    most used first.
    """

    norm: QuantNorm
    gates: dict[str, QuantLinear]
    top_k: int
    renormalise: bool
    experts: tuple[QuantExpert, ...]
    hidden_mult: int
    hidden_shift: int
    hidden_step: float
    score_shift: int
    order: dict[str, tuple[int, ...]]
    usage: dict[str, tuple[float, ...]] = field(
        default_factory=dict
    )  # share of calibration images that use each expert


@dataclass(frozen=True)
class QuantBlock:
    """One transformer block; `residual_step` is the float value of one unit of the residual after it."""

    name: str
    attention: QuantAttention
    mlp: QuantMLP | QuantMoE
    residual_step: float


@dataclass(frozen=True)
class QuantModel:
    """A whole network.

    `embed` maps patch vectors to the residual: its input is ``pixel - 128`` in the order (channel, row, column) of the
    patch, with an all-zero vector in the place of each learnt token (the class token); `position` [tokens, dim] int16
    is the residual before it is added (position plus learnt token; those rows have the embedding's bias taken out, so
    that adding it back gives the token).
    """

    config: M3ViTConfig
    embed: QuantLinear
    position: IntArray
    blocks: tuple[QuantBlock, ...]
    embed_step: float
    weights: str  # one of `WEIGHTS`

    @property
    def wide(self) -> bool:
        """Whether weights and activations have 16 bits."""
        return self.embed.bits > 8

    @property
    def widths(self) -> str:
        """Name in `WIDTHS`."""
        if self.wide:
            return "w16a16"
        bits = {
            part.bits
            for block in self.blocks
            if isinstance(block.mlp, QuantMoE)
            for expert in block.mlp.experts
            for part in (expert.fc1, expert.fc2)
        }
        return "w4a8" if 4 in bits else DEFAULT_WIDTHS
