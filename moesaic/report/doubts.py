"""What a run gives reason to doubt: images that were calibrated on, and values that had no room."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from moesaic.flow.execute import TaskOutcome
from moesaic.schema import Text, Whole

__all__ = ["CalibrationImages", "SaturatedTensor", "SkippedFile", "excessive", "saturated"]


@dataclass(frozen=True)
class SkippedFile:
    """A file that could not be calibrated on."""

    file: str
    reason: str


@dataclass(frozen=True)
class CalibrationImages:
    """What was wrong with the images that steps were chosen by."""

    skipped: tuple[SkippedFile, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SaturatedTensor:
    """A tensor of the integer model with values beyond its format.

    Parameters
    ----------
    name : str
        Of the matrix, the norm or the layer's tensor that saturated.
    values, saturated : int
    excessive : bool
        More than is expected there (`golden.saturation`).
    """

    name: Annotated[str, Text(r"[A-Za-z0-9._-]+", 200, "a name with dots")]
    values: Annotated[int, Whole(1)]
    saturated: Annotated[int, Whole(1)]
    excessive: bool

    @property
    def in_words(self) -> str:
        share = 100 * self.saturated / self.values
        return f"{self.name}: {self.saturated:,} of {self.values:,} values ({share:.2g} %) had no room"


def saturated(outcome: TaskOutcome) -> tuple[SaturatedTensor, ...]:
    """Tensors of a task with values that saturated, in the order in which they were made."""
    return tuple(
        SaturatedTensor(name, count.values, count.saturated, count.excessive)
        for name, count in outcome.saturation.items()
        if count.saturated
    )


def excessive(tensors: Iterable[SaturatedTensor]) -> list[SaturatedTensor]:
    """Those worth a warning, the largest share first."""
    return sorted((t for t in tensors if t.excessive), key=lambda t: -t.saturated / t.values)
