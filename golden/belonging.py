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
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.patch_matrix import patch_matrix
from moesaic.golden.qlinear import RANGES
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.threads import one_thread

__all__ = ["LIMITS", "Belonging", "ForeignWeights", "check_belonging"]

# Largest root mean square of a matrix's rounding errors, in steps of its rows, by bits. Rounding to nearest leaves
# 0.29, rounding that makes up for earlier errors (`qlinear`) 0.9 in the worst case seen; the integers of another
# matrix differ by 30 or more, of 4 bits by 3.
LIMITS = {16: 1.0, 8: 4.0, 4: 2.0}
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

    def __init__(self, held: dict[int, torch.Tensor]) -> None:
        super().__init__(lambda block, part: 0, held=held, watch=None)
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
    network = model.network
    tokens = torch.arange(max(1, network.most_experts))[:, None]  # one for each expert: all are asked
    turns = {block: (tokens + torch.arange(top_k)) % experts for block, (top_k, experts) in network.mixtures.items()}
    x = torch.zeros(1, len(tokens), network.dim)
    pairs = _Pairs(turns)
    quantised = (layer for block in qmodel.blocks for layer in block.layers)
    for step, quant in zip(model.steps(), quantised, strict=True):
        for number, task in enumerate(network.tasks if step.layer.routes else network.tasks[:1]):
            gate = None
            if step.layer.routes:
                weight, bias = model.folded_gate(step.block, number)
                gate = weight.T, bias
            step.layer.rounded(pairs, x, quant, Place(norm=step.norm, block=step.block, task=task, gate=gate))
    if model.embed_norm is not None and qmodel.embed_norm is not None:
        pairs.found[qmodel.embed_norm.gain.name] = qmodel.embed_norm.gain, torch.diag(model.embed_norm.weight)
    pairs.found[qmodel.embed.name] = (qmodel.embed, torch.from_numpy(patch_matrix(model)[0]).float())
    return pairs.found


def _scaled(weight: torch.Tensor, meant: torch.Tensor, axis: int) -> torch.Tensor:
    """`weight` with its rows (1) or columns (0) scaled to come nearest to what is meant."""
    power = (weight * weight).sum(dim=axis, keepdim=True)
    return weight * ((weight * meant).sum(dim=axis, keepdim=True) / torch.where(power == 0, 1, power))


def _rms_steps(quant: QuantLinear, weight: torch.Tensor, axis: int | None) -> float:
    """Root mean square over an even selection of rows; `axis` as in `_scaled`, None for what was not scaled."""
    rows = slice(None, None, -(-len(weight) // ROWS))
    weight, whole = weight[rows], torch.from_numpy(quant.weight[rows]).float()
    steps = np.ldexp(quant.mult[rows].astype(np.float64), -quant.shift) * quant.out_step / quant.in_step
    step = torch.from_numpy(steps).float()[:, None]
    if axis is not None:
        weight = _scaled(weight, whole * step, axis)
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
    if model.network != qmodel.network:
        raise ForeignWeights(f"quantised network must be of {model.network.name}, not {qmodel.network.name}")
    worst, scaled = Belonging("", 0.0), dict[str, int]()
    for block in qmodel.blocks:
        for layer in block.layers:
            scaled |= layer.balanced
    for name, (quant, weight) in _pairs(model, qmodel).items():
        if weight.shape != quant.weight.shape:
            raise ForeignWeights(
                f"{name}: quantised weights must be {list(weight.shape)}, not {list(quant.weight.shape)}"
            )
        distance = _rms_steps(quant, weight, scaled.get(name))
        if not distance <= LIMITS[quant.bits]:
            raise ForeignWeights(
                f"{name}: quantised weights must be those of the float network to {LIMITS[quant.bits]} steps "
                f"(root mean square), not to {distance:.1f}: delete the cache or the program, and make it again"
            )
        if distance >= worst.rms_steps:
            worst = Belonging(name, distance)
    return worst
