"""What every kind of layer answers in floats."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from moesaic.golden.gate import Routing
from moesaic.golden.layers.activity import LayerActivity
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.quantiser import LayerQuantiser
from moesaic.golden.layers.rounding import Place, Rounding
from moesaic.golden.trace import Trace

__all__ = ["FloatLayer", "Run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a batch through the layers.

    Parameters
    ----------
    task : int
    embedding : Tensor or None
        Of the task, if routers see one.
    trace : Trace
        Receives every tensor.
    """

    task: int
    embedding: torch.Tensor | None
    trace: Trace


class FloatLayer(nn.Module):
    """A layer behind a norm; its output is added to the residual stream.

    Parameters
    ----------
    dim : int
        Channels of a token.
    sizes : LayerSizes
        Of its kind.
    tasks : sequence of str

    Members
    -------
    added : str
        What its trace calls that output.
    parts : tuple of str
        Of `rounding.PARTS`: what is rounded in it.
    routes : bool
        Whether it sends each token to some of its experts, as the task's gate says.
    rescales : bool
        Whether it adds to each token once, so that it can change the step of the residual as it does.
    """

    added: ClassVar[str] = "out"
    parts: ClassVar[tuple[str, ...]]
    routes: ClassVar[bool] = False
    rescales: ClassVar[bool] = True

    def __init__(self, dim: int, sizes: Any, tasks: Sequence[str]) -> None:
        super().__init__()

    def gate_of_task(self, task: int, embedding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Weight [dim, experts] and bias [experts] of a task's gate, its embedding folded in; None without a gate."""
        return None

    def choose(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and experts [tokens, k] of each token from its router's logits [tokens, experts]."""
        raise TypeError(f"a layer must have a router to choose experts, not be {type(self).__name__}")

    def ranges(self, activity: LayerActivity, *, wide: bool) -> Any:
        """What `balance` wants to know of the layer's activity, for operands of 16 bits if `wide`; None if it does
        nothing.
        """
        return None

    def balance(self, ranges: Sequence[Any]) -> None:
        """Change parameters, and as good as nothing that the network computes, so that one step for a tensor wastes
        less; `ranges` of all layers of the same matrices.
        """

    @abstractmethod
    def written(self) -> Iterator[tuple[torch.Tensor, int]]:
        """Parameters in which what is added is linear, and the axis of each along a token's channels."""

    @abstractmethod
    def forward(self, x: torch.Tensor, name: str, run: Run) -> tuple[torch.Tensor, Routing | None]:
        """What is added, and where tokens went, of normalised tokens x [B, tokens, dim]; `name` is for the trace."""

    def share(self, owner: Any) -> None:
        """Use the matrices of an earlier layer of the kind."""
        raise TypeError(f"a layer must have matrices to share, not be {type(self).__name__}")

    def common(self, quantiser: LayerQuantiser) -> Any:
        """What of its integers all layers of the same matrices have in common, from the activity of all of them."""
        return None

    @abstractmethod
    def quantise(self, quantiser: LayerQuantiser, common: Any) -> QuantLayer:
        """The integers of this layer, from its activity in calibration, and what `common` gave."""

    @abstractmethod
    def rounded(self, rounding: Rounding, x: torch.Tensor, quant: Any, place: Place) -> torch.Tensor:
        """What is added to the residual x [B, tokens, dim], with the roundings of `quant` that were chosen."""

    @abstractmethod
    def batched(self, x: torch.Tensor, routing: Routing | None = None) -> torch.Tensor:
        """The layer on normalised tokens x [B, tokens, dim], as training runs it; `routing` of all of them in a row."""
