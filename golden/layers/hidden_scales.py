"""Hidden units made alike in size, so that one step suits all of them.

A unit's input is divided, and the weights that read the unit are multiplied. Where the activation is homogeneous
(ReLU, its square) or something else multiplies (the values of a gated MLP) the network computes the same. GELU and its
like are homogeneous only far from zero: ``c * f(x / c)`` is ``f(x)`` but for a bump around zero. For the few units that
are far larger than the others that costs less than the coarse step that all would need without (after SmoothQuant, Xiao
et al. 2023, which stops at activations). What the bump is worth on the average goes into the bias.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.golden.layers.activations import FUNCTIONS, Function
from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.scales import TOP, FloatArray
from moesaic.hw.spec.tables import DIGITS_TOP

__all__ = ["HiddenRanges", "Units", "exact_scales", "ranges_of", "scale_matrices", "tried_scales"]

Array = np.ndarray[Any, Any]

SCALES = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
COARSE = np.geomspace(1.0, 0.02, 11)  # steps, of what holds the largest unit
FINE = (0.75, 0.87, 1.15, 1.32)  # of the best of these
WORTH = 0.9  # of what is lost without scales, at most: else there are none
MUCH = 1.5
ROWS = 1024  # tokens that are looked at
SHARE = 0.75  # of a unit's size that moves into the weights behind it
LEAST = 0.1  # of the largest unit: smaller ones count as that, for what is rare is seldom seen
FEW = 32  # tokens that say too little


@dataclass(frozen=True)
class HiddenRanges:
    """What to do to hidden units, [units] or [experts, units].

    Parameters
    ----------
    scales
        What a unit is divided by.
    lost
        Mean of what that takes from the unit.
    degree : int
        Of the activation: of the square of ReLU 2, if nothing else multiplies.
    """

    scales: Array
    lost: Array
    degree: int

    @classmethod
    def together(cls, parts: Sequence["HiddenRanges"]) -> "HiddenRanges":
        """Of layers of the same matrices: what the largest needs."""
        if len(parts) == 1:
            return parts[0]
        scales, lost = np.max([part.scales for part in parts], axis=0), np.mean([part.lost for part in parts], axis=0)
        return cls(scales, lost, parts[0].degree)


@dataclass(frozen=True)
class Units:
    """Hidden units of one MLP, or of one expert, on the tokens that it sees.

    Parameters
    ----------
    values : [tokens, units]
        Before the activation; where another matrix's outputs multiply it, what they are in the end.
    matters : [units]
        `step_search.importance` of the matrix behind them.
    """

    values: Array
    matters: FloatArray


def degree(function: Function) -> int:
    """Which power of x an activation becomes for large x, being next to nothing for large negative ones; 0 if none."""
    low, one, two = (float(y) for y in function(torch.tensor([-64.0, 64.0, 128.0])))
    return round(math.log2(two / one)) if abs(low) < 1e-6 * one else 0


def exact_scales(groups: Sequence[Units]) -> list[Array]:
    """Of units that may be scaled at no cost: 1 on the (geometric) average, the larger the larger their peaks."""
    scales = [np.ones(group.values.shape[1]) for group in groups]
    known = [number for number, group in enumerate(groups) if len(group.values) >= FEW]
    peaks = {number: np.abs(groups[number].values).max(axis=0).astype(np.float64) for number in known}
    largest = max((float(peak.max()) for peak in peaks.values()), default=0.0)
    if largest > 0:
        sizes = {number: np.maximum(peak, LEAST * largest) ** SHARE for number, peak in peaks.items()}
        mean = math.exp(float(np.mean([np.log(size).mean() for size in sizes.values()])))
        for number, size in sizes.items():
            scales[number] = size / mean
    return scales


def _errors(units: Units, function: Function, limit: float, step: float, top: int) -> FloatArray:
    """What rounding, clipping and scaling by each of `SCALES` cost each unit: [scales, units]."""
    few = torch.from_numpy(np.asarray(units.values[:: -(-len(units.values) // ROWS)], np.float32))
    weight = torch.from_numpy(units.matters).float() * len(units.values)
    costs, wanted = torch.full((len(SCALES), few.shape[1]), torch.inf), function(few)
    peaks = wanted.amax(dim=0)
    for number, scale in enumerate(SCALES):
        # A unit that fits needs no larger scale.
        some = (peaks > (SCALES[number - 1] * top * step if number else -1.0)).nonzero()[:, 0]
        if not len(some):
            continue
        made = function((few[:, some] / scale).clamp_(max=limit))
        held = (made / step).round_().clamp_(-top - 1, top).mul_(step * scale)
        costs[number, some] = held.sub_(wanted[:, some]).var(dim=0, correction=0) * weight[some]
    return np.asarray(costs.numpy(), np.float64)


def tried_scales(groups: Sequence[Units], function: Function, *, limit: float, wide: float | None) -> list[Array]:
    """Of units whose activation is homogeneous far from zero only: with which, and one step for all, least is lost.

    Parameters
    ----------
    groups : sequence of Units
    function : callable of Tensor
        The activation.
    limit : float
        The largest input that it can have.
    wide : float or None
        The step of 16-bit units; None: 8 bits, of a step to be found.
    """
    scales = [np.ones(group.values.shape[1]) for group in groups]
    known = [number for number, group in enumerate(groups) if len(group.values) >= FEW]
    peak = max((float(groups[number].values.max()) for number in known), default=0.0)
    if peak <= 0:
        return scales
    search = _Search([groups[number] for number in known], function, limit, TOP if wide is None else DIGITS_TOP)
    if wide is not None:
        search.look(wide)
    else:
        for factor in COARSE:
            if not search.look(peak / TOP * factor):
                break  # finer steps clip ever more units
        for factor in FINE:
            search.look(search.first * factor)
    if search.least < WORTH * search.plain:
        for number, found in zip(known, search.scales, strict=True):
            scales[number] = found
    return scales


class _Search:
    """The scales with which least is lost, over the steps that have been looked at.

    Members
    -------
    first : float
        The best step up to then.
    least, plain : float
        What is lost with it, and with the best step if no unit is scaled.
    scales : list of [units]
    """

    def __init__(self, groups: Sequence[Units], function: Function, limit: float, top: int) -> None:
        self.groups, self.function, self.limit, self.top = groups, function, limit, top
        self.first, self.least, self.plain, self.scales = 0.0, math.inf, math.inf, list[Array]()

    def look(self, step: float) -> bool:
        """Whether a step is not much worse than the best."""
        costs = [_errors(group, self.function, self.limit, step, self.top) for group in self.groups]
        self.plain = min(self.plain, sum(float(cost[0].sum()) for cost in costs))
        total = sum(float(cost.min(axis=0).sum()) for cost in costs)
        if total < self.least:
            self.first, self.least = step, total
            self.scales = [np.array(SCALES)[np.argmin(cost, axis=0)] for cost in costs]
        return total < MUCH * self.least


def ranges_of(groups: Sequence[Units], activation: str, *, free: bool, wide: bool) -> HiddenRanges | None:
    """How hidden units of an MLP, or of experts, are to be scaled; None if not at all.

    Parameters
    ----------
    groups : sequence of Units
        One, or one for each expert.
    activation : str
        One of `fixed_points.ACTIVATIONS`.
    free : bool
        Whether another matrix's outputs multiply the activation, and can be scaled in place of its inputs.
    wide : bool
        Whether units have 16 bits.
    """
    function, known = FUNCTIONS[activation], ACTIVATIONS[activation]
    power = 1 if free else degree(function)
    if power == 0:
        return None
    if free or known.taken is None or known.given is None:  # homogeneous
        if wide:
            return None
        made = groups if free else [Units(function(torch.from_numpy(g.values)).numpy(), g.matters) for g in groups]
        scales = np.stack(exact_scales(made))
        return HiddenRanges(scales, np.zeros_like(scales), power)
    step = known.given if wide else None
    scales = np.stack(tried_scales(groups, function, limit=32767 * known.taken, wide=step))
    lost = np.zeros_like(scales)
    for row, group, scale in zip(lost, groups, scales, strict=True):
        some = np.flatnonzero(scale != 1)
        if len(group.values) and len(some):
            x, by = torch.from_numpy(group.values[:, some]), torch.from_numpy(scale[some]).float()
            row[some] = (function(x) - function(x / by) * by).double().mean(dim=0).numpy()
    return HiddenRanges(scales, lost, power)


def scale_matrices(
    ranges: HiddenRanges, first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Scale hidden units in place, by weight [..., units, in] and bias [..., units] of the matrix that makes them (or
    multiplies them) and weight [..., out, units] and bias [..., out] of the matrix behind them.
    """
    (weight, bias), (behind, behind_bias) = first, second

    def like(values: Array) -> torch.Tensor:
        return torch.from_numpy(values).to(bias.dtype).reshape(bias.shape)

    smaller, larger = like(ranges.scales ** (-1 / ranges.degree)), like(ranges.scales)
    behind_bias.add_((behind * like(ranges.lost)[..., None, :]).sum(dim=-1))
    weight.mul_(smaller[..., None])
    bias.mul_(smaller)
    behind.mul_(larger[..., None, :])
