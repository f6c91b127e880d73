"""The folder of an exploration: explore.json, the picture of the front, and a file for each configuration on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moesaic.boards.configuration import configuration_text
from moesaic.boards.synthesis.budget import TITLES
from moesaic.flow.explore import Point
from moesaic.flow.folder import check_replaceable, new_folder, put_file
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.report.explore import picture

__all__ = ["MARKER", "PICTURE", "plain_exploration", "update_exploration", "write_exploration"]

MARKER, PICTURE = "explore.json", "front.png"


def plain_exploration(result: Mapping[str, Any]) -> dict[str, Any]:
    """What explore.json holds: all but the points themselves."""
    return {key: value for key, value in result.items() if key != "best"}


def _text(entry: Mapping[str, Any], result: Mapping[str, Any], point: Point) -> str:
    more = "" if point.choice.widths == DEFAULT_WIDTHS else f" --widths {point.choice.widths}"
    more += "" if point.choice.speculate is None else f" --speculate {point.choice.speculate}"
    used = ", ".join(f"{percent} % of {TITLES[kind]}" for kind, percent in entry["percent"].items())
    return configuration_text(
        point.choice.accelerator,
        [
            f"Number {entry['number']} of the front of {result['model']} on {result['board']}, by moesaic explore.",
            f"Expected: {entry['cycles']:,} cycles, {entry['latency_ms']:.4g} ms; {used}.",
            f"moesaic run --model {result['model']} --board {result['board']} --config {entry['file']}{more}",
        ],
    )


def update_exploration(result: Mapping[str, Any], folder: Path) -> None:
    """Numbers and picture of a folder that is there, each whole or not at all."""
    plain = plain_exploration(result)
    put_file(folder / MARKER, (json.dumps(plain, indent=1) + "\n").encode())
    picture(plain).savefig(folder / PICTURE, dpi=150)


def write_exploration(result: Mapping[str, Any], folder: Path) -> None:
    """The whole folder.

    Raises
    ------
    InputError, OSError
        If the folder cannot be written, or holds something else.
    """
    check_replaceable(folder, marker=MARKER)
    with new_folder(folder) as new:
        for entry, point in zip(result["front"], result["best"], strict=True):
            (new / entry["file"]).write_text(_text(entry, result, point), encoding="utf-8")
        update_exploration(result, new)
