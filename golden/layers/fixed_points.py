"""Activations on integers: by name, the function of the accelerator and the fixed points of what it takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from moesaic.hw.spec.functions import Function
from moesaic.hw.spec.tables import GELU_FRACTION_BITS

__all__ = ["ACTIVATIONS", "FixedPoint"]

_UNIT = 2.0**-GELU_FRACTION_BITS
_QUICK = 1.702  # x * sigmoid(1.702 x) = SiLU(1.702 x) / 1.702


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """An activation as the accelerator computes it.

    Parameters
    ----------
    function : Function
    taken, given : float or None
        Value of one unit of its input, and of its output; None: any, as calibration says, the same for both (its square
        in a squared function's output).
    """

    function: Function
    taken: float | None
    given: float | None


ACTIVATIONS: Mapping[str, FixedPoint] = MappingProxyType(
    {
        "gelu": FixedPoint(function=Function.GELU, taken=_UNIT, given=_UNIT),
        "gelu_tanh": FixedPoint(function=Function.GELU, taken=_UNIT, given=_UNIT),
        "relu": FixedPoint(function=Function.RELU, taken=None, given=None),
        "relu2": FixedPoint(function=Function.RELU2, taken=None, given=None),
        "silu": FixedPoint(function=Function.SILU, taken=_UNIT, given=_UNIT),
        "quick_gelu": FixedPoint(function=Function.SILU, taken=_UNIT / _QUICK, given=_UNIT / _QUICK),
        "sigmoid": FixedPoint(function=Function.SIGMOID, taken=2 * _UNIT, given=_UNIT),
    }
)
"""By name: a new activation is added here."""
