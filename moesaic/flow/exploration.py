"""What an exploration found, as data: what explore.json holds, with the types of its parts."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from moesaic.boards.resources import Resources
from moesaic.compiler.batch import MOST_IMAGES
from moesaic.compiler.memory import IDEAL_MEMORY
from moesaic.flow.conditions import MemoryKind
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.records import Count
from moesaic.schema import Anything, Choice, Whole

__all__ = ["Confirmed", "DdrAssumed", "Exploration", "FrontPoint", "Searched"]

_Single = Annotated[Any, Anything(depth=0)]  # one number, text or truth value


@dataclass(frozen=True)
class Confirmed:
    """A configuration on RTL.

    Parameters
    ----------
    cycles : int
        Measured.
    error : float
        Of the exploration's estimate, as a fraction.
    routed_cycles : int
        Of the analytic model that knows the routing.
    routed_error : float
    bit_exact : bool
    """

    cycles: int
    error: float
    routed_cycles: int
    routed_error: float
    bit_exact: bool


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A configuration that no other beats.

    Parameters
    ----------
    number : int
        From 1, the fastest first.
    file : str
        The configuration, beside explore.json.
    name : str
    config : AcceleratorConfig
    config_hash, widths : str
    speculate : int or "auto"
    batch : int
        Images that a program computes.
    cycles, read_bytes : int
        Of a program.
    latency_ms, image_ms : float
        Of a program, and divided by its images.
    limit : str
        What the time goes by: `DDR`, `ports` or `array`.
    resources : Resources
    percent : mapping of str to float
        Of the board's, by kind.
    fullest : str
        The kind of which most is taken.
    energy_mj : float
    confirmed : Confirmed or None
        If it was simulated.
    """

    number: int
    file: str
    name: str
    config: AcceleratorConfig
    config_hash: str
    widths: str
    speculate: _Single
    batch: Annotated[int, Whole(1, MOST_IMAGES)]
    cycles: int
    read_bytes: int
    latency_ms: float
    image_ms: float
    limit: Annotated[str, Choice(("DDR", "ports", "array"))]
    resources: Resources
    percent: Mapping[str, float]
    fullest: str
    energy_mj: float  # of an image
    confirmed: Confirmed | None = None

    def __post_init__(self) -> None:
        if self.config.hash != self.config_hash:
            raise ValueError(f"config_hash of {self.file} must be {self.config.hash}, not {self.config_hash}")
        if self.fullest not in self.percent:
            raise ValueError(f"fullest of {self.file} must be one of {', '.join(self.percent)}, not {self.fullest!r}")


@dataclass(frozen=True)
class Searched:
    """How many configurations there were, were possible, fitted the board, held the model."""

    combinations: int
    possible: int
    fit: int
    hold_model: int


@dataclass(frozen=True)
class DdrAssumed:
    """DDR's latency, cycles; its peak, GB/s; and whether it was taken as the board's or as an ideal one."""

    latency: int
    gbs: float
    memory: MemoryKind = IDEAL_MEMORY


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What was asked, and found.

    Parameters
    ----------
    model, task : str
    blocks : int
    board : str
    ddr : DdrAssumed
    limit : float
        Share of each resource that may be taken.
    space : mapping of axis to its values
    searched : Searched
    refused, too_small : mapping of reason to count
        Of what is not possible, and of what does not hold the model.
    front : tuple of FrontPoint
    points : tuple of (latency in ms, share, mJ, ms an image)
        Of all that hold the model.
    energy_error : float
        As a fraction.
    wall_s : mapping of stage to seconds
    """

    model: str
    task: str
    blocks: Annotated[int, Whole(1, 1024)]
    board: str
    ddr: DdrAssumed
    limit: float
    space: Mapping[str, tuple[_Single, ...]]
    searched: Searched
    refused: Mapping[str, int]
    too_small: Mapping[str, int]
    front: Annotated[tuple[FrontPoint, ...], Count(1)]
    points: Annotated[tuple[tuple[float, float, float, float], ...], Count(1, 1 << 20)]
    energy_error: float
    wall_s: Mapping[str, float]

    def __post_init__(self) -> None:
        if [point.number for point in self.front] != list(range(1, len(self.front) + 1)):
            raise ValueError("numbers of the front must be 1, 2, and so on")

    def with_confirmed(self, number: int, confirmed: Confirmed) -> "Exploration":
        """The same, with what a run of one of the front's configurations gave."""
        front = tuple(
            dataclasses.replace(point, confirmed=confirmed) if point.number == number else point for point in self.front
        )
        return dataclasses.replace(self, front=front)
