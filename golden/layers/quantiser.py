"""What a layer is quantised with: its activity in calibration; gain and offset of its norm go into the weights."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from moesaic.errors import InputError
from moesaic.golden.layers.activity import LayerActivity
from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.layers.linear import QuantLinear, dropped_bits
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.norm_float import FloatNorm, quantise_norm
from moesaic.golden.nodes import Sharing
from moesaic.golden.qlinear import quantise_linear
from moesaic.golden.scales import TOP, FloatArray, mult_shift, tensor_step
from moesaic.golden.step_search import importance, step_for
from moesaic.hw.spec.functions import FUNCTIONS
from moesaic.hw.spec.tables import DIGITS_TOP, NORM_BITS, STREAMED_SHIFT

__all__ = ["HiddenSteps", "LayerQuantiser", "Reading", "floats"]

HEADROOM = 2.0  # of int16 over the largest value seen in calibration
MAX_POST_SHIFT = 31
MAX_SHIFT = 62  # of a matrix
FINEST = 2.0**-15  # of what a requantisation reads, what it makes: more bits than there are tell nothing
STREAMED_TOP = 255  # of a normalised value in one pass
NORM_TOP = (1 << (NORM_BITS - 1)) - 1  # of all its bits
MAX_GATE_SHIFT = 25  # an expert can then be barred by its bias (m3vit_int.force_experts)
SCORE_BITS = 16
LOG2E = math.log2(math.e)


def floats(tensor: torch.Tensor | None) -> FloatArray:
    """A parameter as float64."""
    assert tensor is not None
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)


@dataclass(frozen=True, kw_only=True)
class HiddenSteps:
    """Fixed points of hidden units.

    Parameters
    ----------
    up, gate : float or None
        Value of one unit of what the first matrix gives, and of its gates; None without gates.
    mult, shift : int
        Of the activation, or of the product with it; `mult` is 0 where something else multiplies.
    step : float
        Value of one unit of a hidden unit.
    """

    up: float
    gate: float | None
    mult: int
    shift: int
    step: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the first matrices of a layer read.

    Parameters
    ----------
    reads : str
        One of `linear.READS`.
    step : float
        Value of one unit.
    dropped : int
        Bits of a norm's output that are not read.
    values : [tokens, dim]
        In calibration.
    norm_step : float or None
        What one unit of the norm is to be as it is streamed; None where it is left to each layer.
    """

    reads: str
    step: float
    dropped: int
    values: FloatArray
    norm_step: float | None


class LayerQuantiser:
    """What a layer is quantised with; or several, in what their common matrices have to be (`together`).

    Parameters
    ----------
    float_norm : FloatNorm
        In front of it.
    norm_name : str
    activity : LayerActivity
        Of the layer in calibration.
    gates : mapping of task to (weight [experts, dim], bias [experts])
        The router of each task; empty without experts.
    old_step, step : float
        Value of one unit of the residual before and after the layer.
    method : str
        How steps are chosen.
    compensate : bool
        Round weights with regard to their inputs in calibration.
    acc_bits : int
        Width of the accumulators.
    expert_bits : int
        Of an expert's weight, in a layer that is not `wide`.
    sharing : Sharing or None
        With which layers it has its matrices in common.
    finer : str or None
        One of `linear.FINER`.
    reconstruct : bool
        Fit second matrices of experts of 4 bits to what the first ones' integers give (`golden.reconstruct`).
    """

    def __init__(
        self,
        float_norm: FloatNorm,
        norm_name: str,
        activity: LayerActivity,
        gates: Mapping[str, tuple[FloatArray, FloatArray]],
        *,
        old_step: float,
        step: float,
        method: str,
        compensate: bool,
        acc_bits: int,
        expert_bits: int,
        sharing: Sharing | None = None,
        finer: str | None = None,
        reconstruct: bool = False,
    ) -> None:
        self.float_norm, self.norm_name, self.activity, self.gates = float_norm, norm_name, activity, gates
        self.old_step, self.step = old_step, step
        self.method, self.compensate, self.acc_bits, self.finer = method, compensate, acc_bits, finer
        self.reconstruct = reconstruct
        self.wide = finer in ("activations", "wide")  # what is stored has 16 bits
        self.bits, self.expert_bits = (16, 16) if finer == "wide" else (8, expert_bits)
        self.stored = "int16" if self.wide else "int8"
        self.name, self.sharing = activity.name, sharing
        self.own_norms = sharing is not None and sharing.own_norms
        self.uses: tuple[LayerQuantiser, ...] = (self,)

    @classmethod
    def together(cls, uses: "Sequence[LayerQuantiser]") -> "LayerQuantiser":
        """What the matrices that layers have in common are quantised with: all their activity, their finest step."""
        if len(uses) == 1:
            return uses[0]
        result = copy.copy(uses[0])
        result.activity = LayerActivity.together([use.activity for use in uses])
        result.step, result.uses = min(use.step for use in uses), tuple(uses)
        return result

    @property
    def spread(self) -> int:
        """Bits between the finest step behind a layer of these matrices and the coarsest."""
        return round(math.log2(max(use.step for use in self.uses) / self.step))

    def own(self, linear: QuantLinear, leaf: str) -> QuantLinear:
        """A common matrix as this layer's."""
        name = f"{self.name}.{leaf}"
        return linear if name == linear.name else replace(linear, name=name, owner=linear.name)

    def own_last(self, linear: QuantLinear, leaf: str) -> QuantLinear:
        """A common matrix whose results are added to the residual as this layer's, in whose steps they then are."""
        coarser = round(math.log2(self.step / linear.out_step))
        if linear.shift + coarser > MAX_SHIFT:
            raise InputError(
                f"{self.name}.{leaf}: shift must be at most {MAX_SHIFT}, not {linear.shift + coarser!r}: weights are "
                f"too small for a residual that grows so much between the layers that share them"
            )
        return replace(self.own(linear, leaf), shift=linear.shift + coarser, out_step=self.step)

    @property
    def residual_shift(self) -> int:
        """By how much the old residual is shifted right when the layer adds to it."""
        return round(math.log2(self.step / self.old_step))

    def linear(
        self,
        name: str,
        weight: FloatArray,
        bias: FloatArray,
        in_step: float,
        out_step: float,
        inputs: Any,
        *,
        bits: int | None = None,
        reads: str | None = None,
        **options: Any,
    ) -> QuantLinear:
        return quantise_linear(
            f"{self.name}.{name}",
            weight,
            bias,
            in_step=in_step,
            out_step=out_step,
            method=self.method,
            inputs=inputs if self.compensate else None,
            acc_bits=self.acc_bits,
            bits=self.bits if bits is None else bits,
            reads=self.stored if reads is None else reads,
            **options,
        )

    def after_norm(
        self,
        name: str,
        weight: FloatArray,
        bias: FloatArray,
        norm: QuantNorm,
        reads: str,
        out_step: float,
        inputs: Any,
        **options: int,
    ) -> QuantLinear:
        """A matrix that reads what `norm` makes: streamed, in planes, or (int8) from the activation memory; with 16
        bits, all of it.
        """
        return self.reading(name, weight, bias, self._behind(norm, reads, inputs), out_step, inputs, **options)

    def reading(
        self,
        name: str,
        weight: FloatArray,
        bias: FloatArray,
        reading: Reading,
        out_step: float,
        inputs: Any,
        **options: int,
    ) -> QuantLinear:
        """A matrix that reads so, of `inputs` in calibration."""
        reads, dropped = reading.reads, reading.dropped
        return self.linear(name, weight, bias, reading.step, out_step, inputs, reads=reads, dropped=dropped, **options)

    def rows(self) -> FloatArray:
        """What the norm makes of the residual rows of calibration, without gain and offset."""
        return np.concatenate([use.float_norm.rows(np.concatenate(use.activity.before)) for use in self.uses])

    def gained_rows(self) -> FloatArray:
        """What the norm makes of the residual rows of calibration, with gain and offset."""
        norms = [use.float_norm for use in self.uses]
        rows = [norm.rows(np.concatenate(use.activity.before)) for norm, use in zip(norms, self.uses, strict=True)]
        return np.concatenate([x * floats(n.weight) + floats(n.bias) for n, x in zip(norms, rows, strict=True)])

    def norm_of(self, step: float) -> QuantNorm:
        """The norm in front of the layer, of whose output one pass is to take units of about `step`."""
        sizes, dim = self.float_norm.sizes, len(floats(self.float_norm.weight))
        return quantise_norm(self.norm_name, sizes, dim, residual_step=self.old_step, step=step)

    def norm(self, weight: FloatArray) -> tuple[QuantNorm, FloatArray]:
        """The norm in front of `weight`, and what it makes of the residual rows of calibration."""
        x = self.rows()
        return self.norm_of(self.stored_step(x, importance(weight), top=STREAMED_TOP)), x

    def first_reading(self, weight: FloatArray, reads: str, matters: FloatArray | None = None) -> Reading:
        """What first matrices `weight` (of all their outputs) read: the norm as `reads` says, in the step that is best
        for `matters` (`weight`, if left out); or, where it has a matrix of its own, what that stores.
        """
        if self.own_norms:
            values = self.gained_rows()
            step = self.stored_step(values, importance(weight))
            return Reading(reads=self.stored, step=step, dropped=0, values=values, norm_step=None)
        values = self.rows()
        matters = importance(weight if matters is None else matters)
        if self.finer == "planes" and reads == "streamed":
            reads = "planes"
        if reads == "planes" or self.finer == "activations":  # the best step of all bits; one pass has the upper ones
            step = math.ldexp(step_for(values, matters, self.method, top=NORM_TOP), STREAMED_SHIFT)
        else:
            step = self.stored_step(values, matters, top=STREAMED_TOP)
        return self._behind(self.norm_of(step), reads, values, step)

    def _behind(self, norm: QuantNorm, reads: str, values: Any, norm_step: float | None = None) -> Reading:
        reads = "planes" if self.wide else reads
        dropped = dropped_bits(reads)
        return Reading(
            reads=reads, step=math.ldexp(norm.step, dropped), dropped=dropped, values=values, norm_step=norm_step
        )

    def norm_before(self, reading: Reading, router: FloatArray | None = None) -> tuple[QuantNorm, QuantLinear | None]:
        """The norm in front of a layer whose first matrices read so, beside a `router` if it has one; and the matrix of
        its gain and offset if it has one of its own.
        """
        if reading.norm_step is not None:
            return self.norm_of(reading.norm_step), None
        gain = np.diag(floats(self.float_norm.weight))
        norm, _ = self.norm(gain if router is None else np.concatenate([gain, router]))
        bias, bits = floats(self.float_norm.bias), 16 if self.wide else 8
        return norm, self.after_norm("gain", gain, bias, norm, "streamed", reading.step, None, bits=bits)

    def stored_step(self, x: Any, matters: FloatArray, *, top: int = TOP) -> float:
        """Step of a tensor in the activation memory (`step_for`); with 16 bits there is room to spare."""
        if not self.wide:
            return step_for(x, matters, self.method, top=top)
        return HEADROOM * tensor_step(x, "minmax", top=top if top != TOP else DIGITS_TOP)

    def first(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[FloatArray, FloatArray]:
        """Weight and bias of a first matrix that take what it reads (`first_reading`)."""
        plain = floats(weight), floats(bias)
        return plain if self.own_norms else self.folded(*plain)

    def folded(self, weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weight and bias that take the plain normalised values."""
        return weight * floats(self.float_norm.weight), bias + weight @ floats(self.float_norm.bias)

    def hidden(
        self, activation: str, values: Any, weight: FloatArray, gate: Any = None, value: Any = None
    ) -> HiddenSteps:
        """Fixed points of hidden units.

        Parameters
        ----------
        activation : str
            One of `fixed_points.ACTIVATIONS`.
        values : [n, hidden]
            Hidden units in calibration.
        weight : [..., out, hidden]
            What reads them.
        gate, value : [n, hidden], optional
            Of gated ones: gates before their activation, and what they multiply.
        """
        known, what = ACTIVATIONS[activation], f"{self.name}: scale of hidden"
        if gate is not None:
            opened = self._sixteen(gate) if known.taken is None else known.taken
            given = opened if known.given is None else known.given
            up, shift, step = _exact(self.stored_step(values, importance(weight)), self._sixteen(value), given)
            return HiddenSteps(up=up, gate=opened, mult=0, shift=shift, step=step)
        if FUNCTIONS[known.function].squared:
            step = self.stored_step(values, importance(weight))
            finest = self._sixteen(np.sqrt(values))
            shift = min(max(math.floor(math.log2(step / finest**2)), 0), MAX_POST_SHIFT)
            up = max(math.sqrt(math.ldexp(step, -shift)), finest)
            return HiddenSteps(up=up, gate=None, mult=0, shift=shift, step=math.ldexp(up**2, shift))
        up = self._sixteen(values) if known.taken is None else known.taken
        unit = up if known.given is None else known.given
        # int16 holds all bits of an activation.
        step = unit if self.wide else step_for(values, importance(weight), self.method)
        step = max(step, FINEST * unit)
        mult, shift = mult_shift(unit / step, max_shift=MAX_POST_SHIFT, name=what)
        return HiddenSteps(up=up, gate=None, mult=mult, shift=shift, step=unit / math.ldexp(mult, -shift))

    @staticmethod
    def _sixteen(values: Any) -> float:
        """Step of an int16 that holds such values, with room to spare."""
        return HEADROOM * tensor_step(values, "minmax", top=32767)

    def first_matrices(
        self,
        name: str,
        up: tuple[FloatArray, FloatArray],
        gate: tuple[FloatArray, FloatArray] | None,
        steps: HiddenSteps,
        reading: Reading,
        inputs: Any,
        **options: int,
    ) -> tuple[QuantLinear | None, QuantLinear]:
        """An MLP's gate, if it has one, and its first matrix, each from weight and bias; they share an instruction, so
        they have one shift.
        """

        def quantised(which: str, part: tuple[FloatArray, FloatArray], step: float, shift: int) -> QuantLinear:
            weight, bias = part
            return self.reading(name + which, weight, bias, reading, step, inputs, max_shift=shift, **options)

        if gate is None or steps.gate is None:
            return None, quantised("fc1", up, steps.up, MAX_SHIFT)
        opened = quantised("gate_proj", gate, steps.gate, MAX_SHIFT)
        value = quantised("fc1", up, steps.up, opened.shift)
        if value.shift != opened.shift:
            opened = quantised("gate_proj", gate, steps.gate, value.shift)
        return opened, value


def _exact(step: float, finest: float, given: float) -> tuple[float, int, float]:
    """Step of values, shift and step of their products with gates of step `given`, where products should have `step`
    and values may not be finer than `finest`.
    """
    shift = min(max(math.floor(math.log2(step / (finest * given))), 0), MAX_POST_SHIFT)
    up = max(math.ldexp(step / given, -shift), finest)
    return up, shift, math.ldexp(up * given, shift)
