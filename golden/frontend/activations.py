"""Activations by name: which function of a value each is, and which one a function is that was written out."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from moesaic.golden.layers.activations import FUNCTIONS, TITLES, Function

__all__ = ["GATES", "PLAIN", "TOLERANCE", "kind_of", "title_of"]

TOLERANCE = 1e-6  # of every value from -16 to 16, which is what the accelerator's activations take; relative above 1
_GRID = torch.linspace(-16, 16, 4097, dtype=torch.float64)

PLAIN = tuple(kind for kind in FUNCTIONS if kind != "sigmoid")  # between two linear layers
GATES = tuple(FUNCTIONS)  # of a gate, which a value is multiplied by

_OTHERS: Mapping[str, Function] = {
    "tanh": torch.tanh,
    "the square": torch.square,
    "the negative": torch.neg,
    "the absolute value": torch.abs,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "ReLU6": F.relu6,
    "mish": F.mish,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "ELU": F.elu,
    "SELU": F.selu,
    "leaky ReLU": F.leaky_relu,
    "log-sigmoid": F.logsigmoid,
    "the exponential": torch.exp,
    "the error function": torch.erf,
    "hardtanh": F.hardtanh,
}


def _same(values: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool(((values - wanted).abs() <= TOLERANCE * wanted.abs().clamp_min(1)).all())


_VALUES = {kind: function(_GRID) for kind, function in FUNCTIONS.items()}


def kind_of(function: Function) -> str | None:
    """Name of the activation that a function is, value by value, to `TOLERANCE`; None if it is none of them."""
    values = function(_GRID)
    return next((kind for kind, wanted in _VALUES.items() if _same(values, wanted)), None)


def title_of(function: Function) -> str:
    """What an activation is called, whether it is supported or not."""
    values, kind = function(_GRID), kind_of(function)
    if kind is not None:
        return TITLES[kind]
    return next(
        (title for title, other in _OTHERS.items() if _same(values, other(_GRID))),
        "an activation that is none of the known ones",
    )
