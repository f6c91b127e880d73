"""The units of an accelerator: where each is in the hierarchy, what makes it work, and what its size goes with.

Synthesis counts by them, resources are estimated and energy is spent by them, and reports name them.
"""

from dataclasses import dataclass
from enum import Enum

__all__ = ["UNITS", "Group", "Unit", "Work", "unit_called", "unit_of"]


class Work(Enum):
    """The events for each of which a unit works a cycle."""

    VECTORS = "vectors"  # streamed past the stationary block
    RESULTS = "results"  # vectors of finished accumulators
    NORMALISED = "normalised"  # vectors streamed through LayerNorm
    ROUTED = "routed"  # vectors of gate logits
    BEATS = "beats"  # of the weight stream
    STORED = "stored"  # beats of results to DDR
    NOTHING = "nothing"  # a few cycles for each instruction, or for the whole run


class Group(Enum):
    """Units that a picture shows as one."""

    ARRAY = "array"
    RESULTS = "results"
    OPERANDS = "operands"
    ROUTER = "router"
    WEIGHT_STREAM = "weight stream"
    REST = "control and rest"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One of them.

    Parameters
    ----------
    title : str
        As reports call it.
    paths : tuple of str
        Instances below the top, the longest path that matches counts; the empty one is the top itself.
    grows : tuple of str
        What its logic goes with, as `boards.estimate` names it.
    work : Work
    group : Group
    """

    title: str
    paths: tuple[str, ...]
    grows: tuple[str, ...] = ("one",)
    work: Work = Work.VECTORS
    group: Group = Group.REST


def _result(title: str, *instances: str, grows: tuple[str, ...] = ("rows",)) -> Unit:
    """A function unit of the write-back."""
    paths = tuple(f"core.writeback.{instance}" for instance in instances)
    return Unit(title=title, paths=paths, grows=grows, work=Work.RESULTS, group=Group.RESULTS)


# In the order of reports.
UNITS: tuple[Unit, ...] = (
    Unit(
        title="array",
        paths=("core.array",),
        grows=("products", "products of short chains", "lanes"),
        group=Group.ARRAY,
    ),
    Unit(title="extra key", paths=("core.extra",), grows=("rows and lanes beside an extra key",), group=Group.ARRAY),
    Unit(title="accumulators", paths=("core.accumulator",), grows=("one", "rows"), group=Group.ARRAY),
    Unit(
        title="write-back",
        paths=("core.writeback",),
        grows=("one", "rows", "lanes"),
        work=Work.RESULTS,
        group=Group.RESULTS,
    ),
    _result("requantisers", "requantise", grows=("scores", "rows of 7 series")),
    _result("activations", "activate"),
    _result("gates", "gated"),
    _result("expert scores", "rescale"),
    _result("LayerNorm sums", "add"),
    _result("softmax", "softmax", "attend", grows=("one", "scores")),
    Unit(title="router", paths=("core.router",), grows=("one", "ranks"), work=Work.ROUTED, group=Group.ROUTER),
    Unit(title="feeder", paths=("core.feeder",), grows=("one", "lanes"), group=Group.OPERANDS),
    Unit(
        title="normalisation",
        paths=("core.feeder.normalise", "core.feeder.scalars"),
        grows=("one", "lanes"),
        work=Work.NORMALISED,
        group=Group.OPERANDS,
    ),
    Unit(title="loader", paths=("core.loader",), grows=("one", "rows", "word"), work=Work.BEATS, group=Group.OPERANDS),
    Unit(title="sequencer", paths=("core.sequencer",)),
    Unit(title="memories and core", paths=("core",), grows=("one", "lanes"), group=Group.OPERANDS),
    Unit(
        title="weight stream",
        paths=("weights",),
        grows=("one", "word", "stripe"),
        work=Work.BEATS,
        group=Group.WEIGHT_STREAM,
    ),
    Unit(title="instruction fetch", paths=("fetch",), work=Work.NOTHING),
    Unit(title="load unit", paths=("load",), grows=("one", "ports"), work=Work.BEATS, group=Group.WEIGHT_STREAM),
    Unit(
        title="results to DDR",
        paths=("store", "writers"),
        grows=("one", "ports", "lanes of all ports"),
        work=Work.STORED,
    ),
    Unit(title="registers", paths=("registers",), grows=("one", "ports"), work=Work.NOTHING),
    Unit(title="supervisor", paths=("supervisor",), work=Work.NOTHING),
    Unit(title="top", paths=("",), grows=("one", "ports")),
)

_BY_PATH = {path: unit for unit in UNITS for path in unit.paths}
_BY_TITLE = {unit.title: unit for unit in UNITS}


def unit_called(title: str) -> Unit:
    """The unit of that title; KeyError if there is none."""
    return _BY_TITLE[title]


def unit_of(path: tuple[str, ...]) -> Unit:
    """The unit of an instance path below the top (the empty path is the top itself)."""
    for length in range(len(path), 0, -1):
        unit = _BY_PATH.get(".".join(path[:length]))
        if unit is not None:
            return unit
    return _BY_PATH[""]
