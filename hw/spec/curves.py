"""Activations as curves: straight lines, and a small even correction from a table.

GELU and SiLU are ``ReLU(x) - delta(|x|)``; the sigmoid is ``step(x)`` with ``tau(|x|)`` below it on the right and above
it on the left. One interpolator and a table each serve all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from moesaic.hw.spec.tables import (
    GELU_FRACTION_BITS,
    GELU_KNOT_FRACTION_BITS,
    GELU_STEP_LOG2,
    gelu_knots,
    sigmoid_knots,
    silu_knots,
)

__all__ = [
    "CURVES",
    "EXACT_FRACTION_BITS",
    "POSITION_BITS",
    "Curve",
]

POSITION_BITS = GELU_FRACTION_BITS - GELU_STEP_LOG2  # of the input, below a knot: knots are 32 codes apart
EXACT_FRACTION_BITS = GELU_KNOT_FRACTION_BITS + POSITION_BITS  # of an interpolated value, before it is rounded


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A function of int16, with int16 of 10 fraction bits as its result.

    Parameters
    ----------
    knots : tuple of int
        The correction every 32 codes of abs(x), in units of 2^-16, zero from the last on; empty: there is none.
    step : bool
        The lines are 0 on the left and 1 on the right, and the correction is added on the left. Else they are ReLU.
    fraction_bits : int or None
        Of the input. None: any step does, the output has the same.
    """

    knots: tuple[int, ...] = ()
    step: bool = False
    fraction_bits: int | None = GELU_FRACTION_BITS


CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "relu": Curve(fraction_bits=None),
        "gelu": Curve(knots=gelu_knots()),
        "silu": Curve(knots=silu_knots()),
        "sigmoid": Curve(knots=sigmoid_knots(), step=True, fraction_bits=GELU_FRACTION_BITS - 1),
    }
)
