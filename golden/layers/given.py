"""Hidden units as integers give them in calibration."""

from typing import Any

import numpy as np

from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import hidden_units
from moesaic.golden.layers.quantiser import HiddenSteps, LayerQuantiser, Reading
from moesaic.golden.qlinear import quantise_inputs
from moesaic.golden.saturation import Saturation
from moesaic.golden.scales import FloatArray

__all__ = ["given_units"]


def given_units(
    quantiser: LayerQuantiser,
    first: tuple[QuantLinear | None, QuantLinear],
    activation: str,
    steps: HiddenSteps,
    reading: Reading,
    inputs: Any,
) -> FloatArray:
    """Hidden units [n, hidden] of `inputs` [n, in], with the roundings of `first`: gate and fc1, as
    `LayerQuantiser.first_matrices` gives them.
    """
    gate, fc1 = first
    read = quantise_inputs(inputs, reading.step, reads=reading.reads, dropped=reading.dropped) / reading.step
    units = hidden_units(
        np.rint(read).astype(np.int64),
        fc1,
        gate,
        quantiser.name,
        Saturation(),
        activation=activation,
        mult=steps.mult,
        shift=steps.shift,
        wide=quantiser.wide,
    )
    return np.asarray(units["hidden"] * steps.step, np.float64)
