"""The folder of an exploration: explore.json, the picture of the front, and a file for each configuration on it."""

from pathlib import Path

from moesaic.boards.configuration import configuration_text
from moesaic.boards.synthesis.budget import TITLES
from moesaic.errors import InputError
from moesaic.flow.exploration import Exploration, FrontPoint
from moesaic.flow.explore import Found, Point
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.report.explore_chart import chart
from moesaic.report.kept import read_kept, write_kept

__all__ = ["MARKER", "PICTURE", "read_exploration", "update_exploration", "write_exploration"]

MARKER, PICTURE = "explore.json", "front"


def _text(entry: FrontPoint, result: Exploration, point: Point) -> str:
    more = "" if point.choice.widths == DEFAULT_WIDTHS else f" --widths {point.choice.widths}"
    more += "" if point.choice.speculate is None else f" --speculate {point.choice.speculate}"
    more += "" if entry.batch == 1 else f" --batch {entry.batch}"
    each = "" if entry.batch == 1 else f", {entry.image_ms:.4g} ms an image in a batch of {entry.batch}"
    used = ", ".join(f"{percent} % of {TITLES[kind]}" for kind, percent in entry.percent.items())
    return configuration_text(
        point.choice.accelerator,
        [
            f"Number {entry.number} of the front of {result.model} on {result.board}, by moesaic explore.",
            f"Expected: {entry.cycles:,} cycles, {entry.latency_ms:.4g} ms{each}; {used}.",
            f"moesaic run --model {result.model} --board {result.board} --config {entry.file}{more}",
        ],
    )


def read_exploration(folder: Path) -> Exploration:
    """The numbers of a folder.

    Raises
    ------
    InputError
        If there are none, or they are damaged.
    """
    path = folder / MARKER
    if not path.is_file():
        raise InputError(f"folder must hold a {MARKER} that `moesaic explore` wrote, not {str(folder)!r}")
    return read_kept(Exploration, path, "exploration")


def update_exploration(result: Exploration, folder: Path) -> None:
    """Numbers and picture of a folder that is there, each whole or not at all."""
    write_kept(result, folder / MARKER)
    chart(result, PICTURE).write(folder)


def write_exploration(found: Found, folder: Path) -> None:
    """The whole folder.

    Raises
    ------
    InputError, OSError
        If the folder cannot be written, or holds something else.
    """
    check_replaceable(folder, marker=MARKER)
    with new_folder(folder) as new:
        for entry, point in zip(found.exploration.front, found.best, strict=True):
            (new / entry.file).write_text(_text(entry, found.exploration, point), encoding="utf-8")
        update_exploration(found.exploration, new)
