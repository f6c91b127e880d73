"""Choice of scales: the step of a tensor, and multiplier and shift of a ratio."""

import math
from typing import Any

import numpy as np

from moesaic.errors import InputError
from moesaic.hw.spec.tables import DIGITS_TOP

__all__ = ["METHODS", "FloatArray", "mult_shift", "row_steps", "tensor_step"]

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

METHODS = ("minmax", "percentile", "mse")
PERCENTILE = 99.99
BINS = 1 << 14  # of the histogram of magnitudes that a search looks at
TOP = 127


def _search(values: FloatArray, peak: FloatArray, factors: FloatArray, top: int = TOP) -> FloatArray:
    """Step of each row of `values` [rows, n] with the least squared error, among ``peak * factor / top``."""
    best = np.full(len(values), np.inf)
    step = peak / top
    for factor in factors:
        trial = np.maximum(peak * factor / top, 1e-30)[:, None]
        error = np.square(np.clip(np.rint(values / trial), -top - 1, top) * trial - values).sum(axis=1)
        better = error < best
        best, step = np.where(better, error, best), np.where(better, trial[:, 0], step)
    return step


def tensor_step(values: np.ndarray[Any, Any], method: str, *, top: int = TOP) -> float:
    """Step of an integer tensor, symmetric, from its float values in calibration; 1/top if they are all zero.

    Parameters
    ----------
    values : array
        Any shape.
    method : "minmax", "percentile" or "mse"
        Largest magnitude, the 99.99th percentile of the magnitudes, or the least squared error.
    top : int
        Largest integer: 127 for int8.

    Raises
    ------
    InputError
        If the method is not known or a value is not finite.
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    flat = np.asarray(values, np.float64).ravel()
    peak = float(np.abs(flat).max()) if flat.size else 0.0
    if not math.isfinite(peak):
        raise InputError(f"calibration values must be finite, not {peak!r}")
    if peak == 0.0:
        return 1.0 / top
    if method == "minmax":
        return peak / top
    if method == "percentile":
        return float(np.percentile(np.abs(flat), PERCENTILE)) / top or peak / top
    # On a histogram, which no value escapes: the best step is decided by the few largest and by all the small ones.
    counts, edges = np.histogram(np.abs(flat), BINS, (0.0, peak))
    middles = (edges[:-1] + edges[1:]) / 2

    def best(steps: FloatArray) -> float:
        trials = steps[:, None]
        errors = np.square(np.minimum(np.rint(middles / trials), top) * trials - middles) @ counts
        return float(steps[np.argmin(errors)])

    coarse = best(np.geomspace(0.05, 1.0, 48) * peak / top)
    return best(np.minimum(coarse * np.geomspace(0.94, 1.06, 9), peak / top))


def row_steps(weight: FloatArray, method: str, *, bits: int = 8) -> FloatArray:
    """Step of each row [out] of a weight matrix [out, in]; 0 for a row of zeros. `percentile` means `minmax` here.

    Fewer bits pay for clipping more: the search goes down to 0.4 of the largest magnitude for 4, 0.7 for 8; 16 bits
    clip nothing.
    """
    peak = np.abs(weight).max(axis=1)
    top = DIGITS_TOP if bits > 8 else (1 << (bits - 1)) - 1
    factors = np.linspace(0.7, 1.0, 16) if bits == 8 else np.linspace(0.4, 1.0, 31)
    return _search(weight, peak, factors, top) if method == "mse" and bits <= 8 else peak / top


def mult_shift(ratio: float, *, bits: int = 16, max_shift: int = 62, name: str = "ratio") -> tuple[int, int]:
    """``(mult, shift)`` with ratio ~ mult * 2^-shift and mult of `bits` bits, or fewer if shift would pass its limit.

    Raises
    ------
    InputError
        If the ratio is not positive or takes a negative shift.
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise InputError(f"{name} must be positive and finite, not {ratio!r}")
    shift = min(bits - math.frexp(ratio)[1], max_shift)
    if round(math.ldexp(ratio, shift)) >= 1 << bits:
        shift -= 1
    if shift < 0:
        raise InputError(f"{name} must be below 2^{bits}, not {ratio!r}")
    return max(round(math.ldexp(ratio, shift)), 1), shift
