"""Activation functions in floats, by the names of `golden.layers.sizes.ACTIVATIONS`."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

__all__ = ["FUNCTIONS"]

FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}
