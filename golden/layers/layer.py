"""What every kind of layer answers: its matrices, its work, its integers."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.nodes import Node
from moesaic.golden.numerics import Array
from moesaic.golden.saturation import Saturation
from moesaic.golden.trace import Trace

__all__ = ["Inference", "Matrix", "QuantLayer", "Source"]


class Source(enum.Enum):
    """Where a matrix's input comes from."""

    NORMALISED = "the residual, normalised as it is read"
    TAPPED = "normalised tokens in the activation memory"
    STORED = "another layer's results in the activation memory"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A matrix of a layer, with its place in it.

    Parameters
    ----------
    linear : QuantLinear
    shape : (int, int)
        Outputs and inputs that the rest of the layer gives it.
    source : Source
    expert : int or None
        Its expert; None for what every token passes.
    task : str or None
        The one task that uses it; None for all.
    """

    linear: QuantLinear
    shape: tuple[int, int]
    source: Source
    expert: int | None = None
    task: str | None = None


@dataclass(frozen=True, kw_only=True)
class Inference:
    """One image of one task on its way through the layers.

    Parameters
    ----------
    task : str
    key_block : callable
        Keys in one block of the softmax of a head of so many channels.
    probability_bits : int
        Of a probability where it meets the values.
    trace : Trace
        Receives the integers of every tensor.
    order : mapping of task to experts, optional
        Order in which experts add to the residual; each mixture's own if left out.
    saturation : Saturation
        Counts what does not fit.
    unbounded : bool
        Gates' logits have further fraction bits and no range, which no hardware has: what theirs cost is measured so.
    """

    task: str
    key_block: Callable[[int], int]
    probability_bits: int
    trace: Trace
    order: Mapping[str, Sequence[int]] | None = None
    saturation: Saturation = field(default_factory=Saturation)
    unbounded: bool = False


class QuantLayer(ABC):
    """A layer of a residual network: what it adds to the residual stream, on integers.

    Members
    -------
    kind : str
        Name of the room: `golden/layers/<kind>.py`, `compiler/layers/<kind>.py`.
    name : str
        Of its node.
    norm : QuantNorm
        Of the residual that it reads.
    gain : QuantLinear or None
        Gain and offset of that norm as a matrix, where they are not in those that follow.
    """

    kind: ClassVar[str]
    name: str
    norm: QuantNorm
    gain: QuantLinear | None

    @classmethod
    @abstractmethod
    def zeros(cls, node: Node, norm_name: str, tasks: Sequence[str], *, bits: int, finer: str | None = None) -> Self:
        """The layer of a node, without weights, in next to no memory; weights that may be narrow have `bits` bits, 8 at
        most; `finer` as the member.
        """

    @abstractmethod
    def matrices(self, tasks: Sequence[str]) -> Iterator[Matrix]:
        """All matrices that `tasks` use, in the order in which the first of them streams their weights."""

    @abstractmethod
    def macs(self, tokens: int) -> int:
        """Multiply-accumulates of one image of `tokens` tokens."""

    @abstractmethod
    def run(self, x: Array, inference: Inference) -> Array:
        """The residual [tokens, dim] after the layer, from the one before."""

    @abstractmethod
    def reading_stored(self) -> Self:
        """The same layer with every matrix behind the norm reading stored int8: less exact, for an accelerator that
        normalises in a pass of its own.
        """

    @property
    @abstractmethod
    def first(self) -> QuantLinear:
        """The matrix that reads its tokens first, or one of several that read the same."""

    @property
    @abstractmethod
    def wide(self) -> bool:
        """Whether what it stores has 16 bits."""

    @property
    def finer(self) -> str | None:
        """In what it is finer than layers of 8 bits: one of `linear.FINER`, or None."""
        if self.wide:
            return "wide" if self.first.bits > 8 else "activations"
        return "planes" if self.first.reads == "planes" else None

    def as_dense(self) -> "QuantLayer":
        """A layer of as many parameters without a choice of experts; this one, if it has none."""
        return self

    def only_experts(self, experts: Collection[int]) -> Self:
        """This layer with a router that can only choose from `experts`; itself, if it has none."""
        return self

    @property
    def balanced(self) -> dict[str, int]:
        """Matrices that `FloatLayer.balance` may have scaled, by name: 1 by row, 0 by column."""
        return {}

    @property
    def unused(self) -> tuple[int, ...]:
        """Experts that no image of calibration used, of any task."""
        return ()

    @property
    def routed(self) -> tuple[int, int] | None:
        """Experts for each token, and experts; None without a router."""
        return None
