"""Whether a quantised network belongs to a float one: each matrix's integers against the float weights they stand for.

That golden model, program and RTL agree says nothing about it: all three are made from the quantised network.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from moesaic.errors import FailedRun
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.rounding import Place, Rounding
from moesaic.golden.m3vit import Block, M3ViT
from moesaic.golden.qlinear import RANGES
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.threads import one_thread

__all__ = ["LIMITS", "Belonging", "ForeignWeights", "check_belonging"]

# Largest root mean square of a matrix's rounding errors, in steps of its rows, by bits. Rounding to nearest leaves
# 0.29, rounding that makes up for earlier errors (`qlinear`) 0.9 in the worst case seen; the integers of another
# matrix differ by 30 or more, of 4 bits by 3.
LIMITS = {16: 1.0, 8: 4.0, 4: 2.0}
# What `balance` may scale: rows of one matrix against columns of another.
_BY_ROW, _BY_COLUMN = ("attn.q", "attn.k", "attn.v"), ("attn.proj",)
ROWS = 64  # of each matrix that are compared, evenly: enough to tell one from another


class ForeignWeights(FailedRun):
    """A quantised network whose weights are not those of the float network; the message names the matrix."""


@dataclass(frozen=True)
class Belonging:
    """The matrix whose integers are farthest from the float weights.

    Parameters
    ----------
    matrix : str
    rms_steps : float
        Root mean square of its errors in steps of its rows, without weights at the ends of their range.
    """

    matrix: str
    rms_steps: float


class _Pairs(Rounding):
    """No rounding; keeps each quantised matrix with the float one in whose place it stands."""

    def __init__(self, *, wide: bool, held: dict[int, torch.Tensor]) -> None:
        super().__init__(lambda block, part: 0, wide=wide, held=held, watch=None)
        self.found: dict[str, tuple[QuantLinear, torch.Tensor]] = {}

    def linear(
        self,
        x: torch.Tensor,
        quant: QuantLinear,
        parameters: tuple[torch.Tensor, torch.Tensor],
        rounded: float,
        dropped: int = 0,
    ) -> torch.Tensor:
        self.found[quant.name] = (quant, parameters[0])
        return F.linear(x, *parameters)


def _pairs(model: M3ViT, qmodel: QuantModel) -> dict[str, tuple[QuantLinear, torch.Tensor]]:
    """Every matrix with its float weights [out, in], norms folded in."""
    config = model.config
    tokens = torch.arange(max(1, config.most_experts))[:, None]  # one for each expert: all are asked
    sizes = {block: config.layer(block) for block in config.moe_blocks}
    turns = {block: (tokens + torch.arange(mixture.top_k)) % mixture.experts for block, mixture in sizes.items()}
    x = torch.zeros(1, len(tokens), config.dim)
    pairs = _Pairs(wide=qmodel.wide, held=turns)
    for i, (block, quant) in enumerate(zip(model.blocks, qmodel.blocks, strict=True)):
        assert isinstance(block, Block)
        block.attn.rounded(pairs, x, quant.attention, Place(norm=block.norm1, block=i, task=""))
        for number, task in enumerate(config.tasks):
            gate = None
            if quant.mlp.routed is not None:
                weight, bias = model.folded_gate(i, number)
                gate = weight.T, bias
            block.mlp.rounded(pairs, x, quant.mlp, Place(norm=block.norm2, block=i, task=task, gate=gate))
    pixels = model.patch_embed.proj.weight / (255 * model.get_buffer("pixel_std")).view(1, 3, 1, 1)
    pairs.found[qmodel.embed.name] = (qmodel.embed, pixels.flatten(1))
    return pairs.found


def _scaled(weight: torch.Tensor, meant: torch.Tensor, axis: int) -> torch.Tensor:
    """`weight` with its rows (1) or columns (0) scaled to come nearest to what is meant."""
    power = (weight * weight).sum(dim=axis, keepdim=True)
    return weight * ((weight * meant).sum(dim=axis, keepdim=True) / torch.where(power == 0, 1, power))


def _rms_steps(quant: QuantLinear, weight: torch.Tensor) -> float:
    """Root mean square over an even selection of rows."""
    rows = slice(None, None, -(-len(weight) // ROWS))
    weight, whole = weight[rows], torch.from_numpy(quant.weight[rows]).float()
    steps = np.ldexp(quant.mult[rows].astype(np.float64), -quant.shift) * quant.out_step / quant.in_step
    step = torch.from_numpy(steps).float()[:, None]
    if quant.name.endswith(_BY_ROW):
        weight = _scaled(weight, whole * step, 1)
    elif quant.name.endswith(_BY_COLUMN):
        weight = _scaled(weight, whole * step, 0)
    low, high = RANGES[quant.bits]
    inside = (whole > low) & (whole < high)
    errors = (weight / step - whole) * inside
    return math.sqrt(float(errors.square().sum(dtype=torch.float64)) / max(1, int(inside.sum())))


@one_thread()
@torch.inference_mode()
def check_belonging(model: M3ViT, qmodel: QuantModel) -> Belonging:
    """Compare the weights of all matrices, `ROWS` rows of each.

    Raises
    ------
    ForeignWeights
        If a matrix is of another shape, or farther from the float weights than rounding goes (`LIMITS`).
    """
    if model.config != qmodel.config:
        raise ForeignWeights(f"quantised network must be of {model.config.name}, not {qmodel.config.name}")
    worst = Belonging("", 0.0)
    for name, (quant, weight) in _pairs(model, qmodel).items():
        if weight.shape != quant.weight.shape:
            raise ForeignWeights(
                f"{name}: quantised weights must be {list(weight.shape)}, not {list(quant.weight.shape)}"
            )
        rms = _rms_steps(quant, weight)
        if not rms <= LIMITS[quant.bits]:
            raise ForeignWeights(
                f"{name}: quantised weights must be those of the float network to {LIMITS[quant.bits]} steps "
                f"(root mean square), not to {rms:.1f}: delete the cache or the program, and make it again"
            )
        if rms >= worst.rms_steps:
            worst = Belonging(name, rms)
    return worst
