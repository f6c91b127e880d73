"""Activation functions in floats, with their titles, by the names of `golden.layers.fixed_points.ACTIVATIONS`."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

__all__ = ["FUNCTIONS", "TITLES", "Function"]

Function = Callable[[torch.Tensor], torch.Tensor]

_TITLED: Mapping[str, tuple[str, Function]] = {
    "gelu": ("GELU", F.gelu),
    "gelu_tanh": ("GELU by tanh", lambda x: F.gelu(x, approximate="tanh")),
    "relu": ("ReLU", F.relu),
    "relu2": ("squared ReLU", lambda x: F.relu(x).square()),
    "silu": ("SiLU, x * sigmoid(x)", F.silu),
    "quick_gelu": ("quick GELU, x * sigmoid(1.702 x)", lambda x: x * torch.sigmoid(1.702 * x)),
    "sigmoid": ("sigmoid", torch.sigmoid),
}
TITLES = {name: title for name, (title, _) in _TITLED.items()}
FUNCTIONS = {name: function for name, (_, function) in _TITLED.items()}
