"""A matrix behind a norm, for an accelerator that stores normalised tokens before it reads them."""

from dataclasses import replace
from typing import Any

import numpy as np

from moesaic.errors import InputError
from moesaic.golden import numerics
from moesaic.golden.layers.linear import QuantLinear
from moesaic.hw.spec.tables import STORED_SHIFT, STREAMED_SHIFT

__all__ = ["reading_stored"]

_FINER = {"int8": 0, "streamed": STORED_SHIFT - STREAMED_SHIFT, "planes": STORED_SHIFT}


def reading_stored(linear: QuantLinear) -> QuantLinear:
    """The same matrix on inputs whose unit is larger: its sums are smaller by as much, and so are biases and shift.

    Raises
    ------
    InputError
        If the multiplier would need a negative shift; the message names the matrix.
    """
    finer = _FINER[linear.reads]
    if linear.shift < finer:
        raise InputError(f"{linear.name}: shift must be at least {finer} to read stored values, not {linear.shift!r}")
    bias: Any = numerics.round_shift(linear.bias.astype(np.int64), finer)
    return replace(
        linear,
        bias=bias.astype(np.int32),
        shift=linear.shift - finer,
        in_step=linear.in_step * (1 << finer),
        reads="int8",
    )
