"""What every kind of layer answers in floats."""

from abc import abstractmethod
from typing import Any

import torch
from torch import nn

from moesaic.golden.gate import Routing
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.quantiser import BlockQuantiser
from moesaic.golden.layers.rounding import Place, Rounding

__all__ = ["FloatLayer"]


class FloatLayer(nn.Module):
    """A layer behind a norm; its output is added to the residual stream.

    Members
    -------
    routes : bool
        Whether it sends each token to some of its experts, as the task's gate says.
    """

    routes = False

    def gate_of_task(self, task: int, embedding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Weight [dim, experts] and bias [experts] of a task's gate, its embedding folded in; None without a gate."""
        return None

    @abstractmethod
    def quantise(self, quantiser: BlockQuantiser) -> QuantLayer:
        """The integers of this layer, from its activity in calibration."""

    @abstractmethod
    def rounded(self, rounding: Rounding, x: torch.Tensor, quant: Any, place: Place) -> torch.Tensor:
        """What is added to the residual x [B, tokens, dim], with the roundings of `quant` that were chosen."""

    @abstractmethod
    def batched(self, x: torch.Tensor, routing: Routing | None = None) -> torch.Tensor:
        """The layer on normalised tokens x [B, tokens, dim], as training runs it; `routing` of all of them in a row."""
