"""A float matrix to a `QuantLinear`: row scales that multipliers express exactly, rounding that looks at the inputs."""

import math
from typing import Any

import numpy as np

from moesaic.errors import InputError
from moesaic.golden.layers.linear import READS, QuantLinear
from moesaic.golden.scales import FloatArray, row_steps
from moesaic.hw.spec.tables import DIGITS_TOP, NORM_BITS, PLANE_BITS

__all__ = ["ACC_BITS", "RANGES", "WIDE_ACC_BITS", "check_accumulator", "quantise_inputs", "quantise_linear"]

ACC_BITS, WIDE_ACC_BITS = 27, 40  # of accumulators, and of those with wide operands
DAMPING = 0.01  # of the mean of the second moments' diagonal
MOST_INPUTS = 8192
MOST_BIAS = (1 << 31) - (
    1 << 24
)  # of a bias of 32 bits, before the step is rounded to a multiplier and errors are added
PANEL = 32  # columns rounded before the rest is updated
RANGES = {16: (-DIGITS_TOP, DIGITS_TOP), 8: (-127, 127), 4: (-8, 7)}  # of a weight, by its bits
STEP_FACTORS = (0.8, 0.9, 1.0, 1.1, 1.2)  # of the steps that fit 4-bit weights best, tried on the inputs


def quantise_inputs(x: np.ndarray[Any, Any], step: float, *, reads: str = "int8", dropped: int = 0) -> FloatArray:
    """Float values as the hardware will see them: whole units of `step`.

    Parameters
    ----------
    reads : str
        One of `golden.qmodel.READS`.
    dropped : int
        Bits that are floored away of an integer with so much finer a step.
    """
    bits = 16 if reads == "int16" else NORM_BITS if dropped or reads != "int8" else 8
    whole = np.rint(np.asarray(x, np.float64) * ((1 << dropped) / step))
    finer = np.clip(whole, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return np.asarray(np.maximum(np.floor(finer / (1 << dropped)), -READS[reads]) * step, np.float64)


class _Rounding:
    """Rounding that looks at the inputs: what rounding a column costs is made up for by the columns not yet rounded,
    as far as their inputs are correlated (GPTQ, Frantar et al. 2022). Columns with the largest inputs go first.

    Parameters
    ----------
    moments : [in, in]
        Covariance of the inputs: what rounding makes of their mean, the bias takes up.
    low, high : int
        Range of an integer weight.
    """

    def __init__(self, moments: FloatArray, low: int, high: int) -> None:
        n = len(moments)
        self.moments, self.low, self.high = moments, low, high
        damped = moments + np.eye(n) * (DAMPING * float(np.mean(np.diag(moments))) + 1e-12)
        self.order = np.argsort(-np.diag(damped), kind="stable")
        inverse = np.linalg.inv(damped[np.ix_(self.order, self.order)])
        self.upper = np.linalg.cholesky((inverse + inverse.T) / 2).T

    def __call__(self, weight: FloatArray) -> FloatArray:
        """Integers near `weight` [out, in], which is in units of its row steps."""
        upper, n = self.upper, len(self.order)
        rest = np.ascontiguousarray(weight[:, self.order].T)  # a column of the matrix in a row of memory
        rounded = np.empty_like(rest)
        for first in range(0, n, PANEL):
            last = min(first + PANEL, n)
            errors = np.empty((last - first, len(weight)))
            for j in range(first, last):
                rounded[j] = np.clip(np.rint(rest[j]), self.low, self.high)
                error = (rest[j] - rounded[j]) / upper[j, j]
                rest[j + 1 : last] -= upper[j, j + 1 : last, None] * error
                errors[j - first] = error
            rest[last:] -= upper[first:last, last:].T @ errors
        result = np.empty_like(rounded)
        result[self.order] = rounded
        return np.ascontiguousarray(result.T)

    def better_steps(self, weight: FloatArray, steps: FloatArray) -> FloatArray:
        """For each row the multiple of its step with which the rounded row errs least on these inputs."""
        trials = [np.maximum(steps * factor, 1e-30) for factor in STEP_FACTORS]
        rounded = self(np.concatenate([weight / trial[:, None] for trial in trials]))
        errors = []
        for number, trial in enumerate(trials):
            wrong = weight - rounded[number * len(weight) : (number + 1) * len(weight)] * trial[:, None]
            errors.append(np.einsum("ri,ri->r", wrong @ self.moments, wrong))
        best = np.array(STEP_FACTORS)[np.argmin(errors, axis=0)]
        return np.asarray(steps * best, np.float64)


def quantise_linear(
    name: str,
    weight: FloatArray,
    bias: FloatArray,
    *,
    in_step: float,
    out_step: float,
    method: str = "mse",
    inputs: np.ndarray[Any, Any] | None = None,
    acc_bits: int = ACC_BITS,
    max_shift: int = 62,
    bits: int = 8,
    reads: str = "int8",
    dropped: int = 0,
) -> QuantLinear:
    """Quantise one matrix.

    Parameters
    ----------
    name : str
        For messages.
    weight, bias : [out, in], [out] float
    in_step, out_step : float
        Value of one unit of the input and of the result.
    method : "minmax", "percentile" or "mse"
        How the step of a weight row is chosen.
    inputs : [n, in] float, optional
        Inputs in calibration (an even selection of at most 8,192). With them rounding errors are compensated, and the
        bias takes up the mean of what is left.
    acc_bits : int
        Width of the accumulator that must never overflow.
    max_shift : int
        Largest shift, 62 at most.
    bits : int
        Of a weight: 16, 8 or 4. Of 16, rounding is not compensated: there is next to nothing to make up for.
    reads : str
        One of `golden.qmodel.READS`.
    dropped : int
        Bits of a finer integer that are floored away before the matrix reads it; the bias takes up their mean.

    Raises
    ------
    InputError
        If `bits` is neither, the accumulator could overflow or a multiplier does not fit; the message names the layer.
    """
    if bits not in RANGES:
        raise InputError(f"{name}: bits must be 16, 8 or 4, not {bits!r}")
    weight, bias = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    columns = weight.shape[1]
    low, high = RANGES[bits]
    peak = READS[reads]
    bias_unit = 1 << PLANE_BITS if bits > 8 else 1
    inputs = None if bits > 8 else inputs
    most = (1 << (acc_bits - 1)) - 1
    # Full-size weights fit beside each other, except where an input has more bits than a row should need.
    if most <= (peak * 127 * columns if reads in ("int8", "streamed") and bits <= 8 else peak * columns):
        raise InputError(f"{name}: inputs must be fewer for accumulators of {acc_bits} bits, not {columns!r}")
    rounding, seen = None, np.zeros((0, columns))
    if inputs is not None and len(inputs):
        inputs = np.asarray(inputs[:: -(-len(inputs) // MOST_INPUTS)], np.float64)
        seen = quantise_inputs(inputs, in_step, reads=reads, dropped=dropped)
        rounding = _Rounding(np.cov(seen, rowvar=False, bias=True).reshape(columns, columns), low, high)
    steps = row_steps(weight, method, bits=bits)
    if rounding is not None and bits < 8 and method == "mse":
        steps = rounding.better_steps(weight, steps)
    # Sums too large for the accumulator (a bias far larger than its weights, inputs of many bits) coarsen the row's
    # step.
    largest_sum = peak * np.abs(weight).sum(axis=1) + 2.0 * np.abs(bias) / in_step
    steps = np.maximum(steps, largest_sum / (most - peak * columns))
    steps = np.maximum(steps, np.abs(bias) / (in_step * bias_unit * MOST_BIAS))
    largest = float(steps.max()) * in_step / out_step
    shift = max_shift if largest == 0 else min(max_shift, 16 - math.frexp(largest)[1])
    if math.ceil(math.ldexp(largest, shift)) > 65535:
        shift -= 1
    if shift < 0:
        raise InputError(f"{name}: output step must be above {largest / 65535 * out_step:.3g}, not {out_step!r}")
    # Whole multipliers first, steps from them: so the multiplier's rounding costs nothing.
    mult = np.clip(np.ceil(np.ldexp(steps * in_step / out_step, shift)), 1, 65535)
    steps = np.ldexp(mult, -shift) * out_step / in_step

    scaled = weight / steps[:, None]
    if rounding is None or inputs is None:
        rounded = np.clip(np.rint(scaled), low, high)
        offset = bias + rounded.sum(axis=1) * steps * in_step * ((1 << dropped) - 1) / (2 << dropped)
    else:
        rounded = rounding(scaled)
        offset = bias + weight @ inputs.mean(axis=0) - (rounded @ seen.mean(axis=0)) * steps
    whole_bias = np.rint(offset / (steps * in_step * bias_unit))
    result = QuantLinear(
        name=name,
        weight=rounded.astype(np.int16 if bits > 8 else np.int8),
        bias=np.clip(whole_bias, -(2**31), 2**31 - 1).astype(np.int32),
        mult=mult.astype(np.uint16),
        shift=shift,
        in_step=in_step,
        out_step=out_step,
        bits=bits,
        reads=reads,
    )
    check_accumulator(result, acc_bits=acc_bits)
    return result


def check_accumulator(linear: QuantLinear, *, acc_bits: int = ACC_BITS) -> None:
    """`InputError` naming the layer if any input could overflow its accumulator of `acc_bits` bits."""
    bias = np.abs(linear.bias.astype(np.int64)) << linear.bias_shift
    bound = READS[linear.reads] * np.abs(linear.weight.astype(np.int64)).sum(axis=1) + bias
    if int(bound.max()) >= 1 << (acc_bits - 1):
        raise InputError(
            f"{linear.name}: sums must be below 2^{acc_bits - 1} for accumulators of {acc_bits} bits, "
            f"not {int(bound.max())!r}"
        )
