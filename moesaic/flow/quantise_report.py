"""What quantisation costs, as data: what quantise.json holds, with the types of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from moesaic.golden.finer import FinerLayer
from moesaic.golden.image_choice import Coverage
from moesaic.records import Count
from moesaic.schema import Choice, Number, Whole

__all__ = ["Beyond", "BlockAgreement", "LayerCost", "LayerWorth", "QuantiseReport", "SkippedFile"]

_Share = Annotated[float, Number(0, 1 + 1e-6)]


@dataclass(frozen=True, kw_only=True)
class BlockAgreement:
    """Integers against float behind a block.

    Parameters
    ----------
    name : str
    kind : "dense" or "moe"
    sqnr_db, cosine : float
        Of the residual.
    routing_agreement : float or None
        Fraction of tokens that go to the same experts; None without a mixture.
    """

    name: str
    kind: Annotated[str, Choice(("dense", "moe"))]
    sqnr_db: float
    cosine: float
    routing_agreement: _Share | None


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One rounding.

    Parameters
    ----------
    name : str
    sqnr_db : float or None
        Of the tensor with all roundings on; None for weights.
    alone_db : float or None
        SQNR of the block's output if it were the only one; None if it costs nothing.
    share : float
        Of the sum of all those errors.
    rerouted : float
        Fraction of tokens that it sends to other experts.
    """

    name: str
    sqnr_db: float | None
    alone_db: float | None
    share: _Share
    rerouted: _Share


@dataclass(frozen=True, kw_only=True)
class LayerWorth:
    """A layer that more bits would help; members as of `LayerCost`."""

    name: str
    share: _Share
    rerouted: _Share


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """How far the images to judge by lie from those of calibration (`golden.evaluation.beyond`)."""

    range: float
    block: str
    saturated: _Share
    most: str | None
    most_share: _Share


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that could not be used, and why."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class QuantiseReport:
    """What `moesaic quantise` found.

    Parameters
    ----------
    model, weights, widths : str
    finer : tuple of FinerLayer
        Layers that were given more bits.
    recentred : bool
        Whether RMSNorm took LayerNorm's place.
    reconstructed : bool
        Whether experts of 4 bits were fitted to what their integers give.
    calibrated_on, measured_on : str
    skipped : tuple of SkippedFile
    warnings : tuple of str
    layers_measured_on : int
        Images.
    beyond_calibration : Beyond
    sqnr_db : float
        The least of `blocks`.
    routing_agreement : float or None
        The least of `blocks`.
    blocks : tuple of BlockAgreement
        Of each figure the worst of all tasks.
    tasks : mapping of task to the same
    layers : tuple of LayerCost
    spend : tuple of LayerWorth
        The best first.
    coverage : Coverage or None
        Of the experts, where images were chosen for them.
    """

    model: str
    weights: str
    widths: str
    finer: tuple[FinerLayer, ...]
    recentred: bool
    reconstructed: bool
    calibrated_on: str
    skipped: tuple[SkippedFile, ...]
    warnings: tuple[str, ...]
    measured_on: str
    layers_measured_on: Annotated[int, Whole(1)]
    beyond_calibration: Beyond
    sqnr_db: float
    routing_agreement: _Share | None
    blocks: Annotated[tuple[BlockAgreement, ...], Count(1)]
    tasks: Mapping[str, tuple[BlockAgreement, ...]]
    layers: tuple[LayerCost, ...]
    spend: tuple[LayerWorth, ...]
    coverage: Coverage | None = None

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        for task, rows in self.tasks.items():
            if [row.name for row in rows] != names:
                raise ValueError(f"blocks of task {task!r} must be {', '.join(names)}")
