"""The accelerator as a drawing, from the hierarchy that is exported: `python -m moesaic.report.block_diagram`."""

import argparse
import importlib.resources
from collections.abc import Mapping
from pathlib import Path

import jinja2

from moesaic.flow.hierarchy import Hierarchy, hierarchy
from moesaic.hw.spec.presets import PRESETS

__all__ = ["PICTURE", "block_diagram", "main"]

PICTURE = Path("docs/accelerator.svg")

_WIDTH, _HEIGHT = 146, 48  # of a box
_PITCH_X, _PITCH_Y = 194, 98
_LEFT, _TOP = 96, 60  # centre of the box in the first column and row

Point = tuple[float, float]

# Columns and rows. A unit that is new must be given a place.
PLACES: Mapping[str, Point] = {
    "registers": (3, 0),
    "supervisor": (4, 0),
    "fetch": (2, 0),
    "load": (0, 1),
    "weights": (0, 2),
    "writers": (5, 4),
    "store": (5, 3),
    "sequencer": (1, 1),
    "retirement": (4, 1),
    "loader": (1, 2),
    "array": (2, 2),
    "accumulator": (3, 2),
    "extra": (2, 3),
    "writeback": (4, 2),
    "entry": (3, 3),
    "router": (4, 3),
    "feeder": (1, 4),
    "memories": (3, 4),
}
# Points between the ends of lines that would cross a box.
_WAYS: Mapping[tuple[str, str], tuple[Point, ...]] = {
    ("fetch", "load"): ((0, 0),),
    ("fetch", "store"): ((2, 0.5), (5, 0.5)),
    ("sequencer", "feeder"): ((0.5, 1.25), (0.5, 3.75)),
    ("loader", "writeback"): ((1.3, 1.6), (3.7, 1.6)),
    ("feeder", "writeback"): ((1.5, 2.6), (3.6, 2.6)),
    ("memories", "loader"): ((1.57, 3.36),),
    ("loader", "memories"): ((1.5, 3.46),),
    ("router", "feeder"): ((4, 4.55), (1, 4.55)),
    ("router", "loader"): ((3.6, 2.72), (1.4, 2.72)),
    ("router", "load"): ((4.5, 3), (4.5, 0.62), (0.2, 0.62)),
}


def _centre(place: Point) -> Point:
    return _LEFT + _PITCH_X * place[0], _TOP + _PITCH_Y * place[1]


def _reach(aside: float, direction: float, half: float) -> float:
    """How far, in units of the direction, until the edge of a box on one axis."""
    return ((half if direction > 0 else -half) - aside) / direction if direction else float("inf")


def _border(box: Point, towards: Point, aside: Point) -> Point:
    """Where a line leaves a box that starts beside its centre."""
    dx, dy = towards[0] - box[0], towards[1] - box[1]
    scale = min(_reach(aside[0], dx, _WIDTH / 2), _reach(aside[1], dy, _HEIGHT / 2))
    return round(box[0] + aside[0] + dx * scale, 1), round(box[1] + aside[1] + dy * scale, 1)


def _line(source: str, target: str, both: bool) -> list[Point]:
    """Points of an arrow. Of two between the same boxes, each keeps to its side."""
    start, end = _centre(PLACES[source]), _centre(PLACES[target])
    between = [_centre(place) for place in _WAYS.get((source, target), ())]
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = (dx * dx + dy * dy) ** 0.5
    shift = 7 if both and not between else 0
    aside = (-dy / length * shift, dx / length * shift)
    points = [start, *between, end]
    return [_border(start, points[1], aside), *between, _border(end, points[-2], aside)]


def block_diagram(found: Hierarchy) -> str:
    """SVG of the units and of what flows between them.

    Raises
    ------
    ValueError
        If the units are not those of `PLACES`.
    """
    names = {box.name for box in found.boxes}
    if unlike := names ^ PLACES.keys():
        raise ValueError(f"places must be those of the accelerator's units, unlike {', '.join(sorted(unlike))}")
    source = (importlib.resources.files("moesaic.report") / "block_diagram.svg.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    boxes = [(box, *_centre(PLACES[box.name])) for box in found.boxes]
    core = [(x, y) for box, x, y in boxes if box.in_core]
    arrows = [
        (
            " ".join(f"{x:g},{y:g}" for x, y in _line(start, end, (end, start) in found.flows)),
            f"{start} to {end}: {', '.join(members)}",
        )
        for (start, end), members in found.flows.items()
    ]
    low, high = (min(x for x, _ in core), min(y for _, y in core)), (max(x for x, _ in core), max(y for _, y in core))
    margin = (_PITCH_X - _WIDTH) / 2 - 4
    return environment.from_string(source).render(
        boxes=boxes,
        arrows=arrows,
        width=_WIDTH,
        height=_HEIGHT,
        size=(2 * _LEFT + 5 * _PITCH_X, _TOP + 4.75 * _PITCH_Y),
        core=(
            low[0] - _WIDTH / 2 - margin,
            low[1] - _HEIGHT / 2 - 20,
            high[0] - low[0] + _WIDTH + 2 * margin,
            high[1] - low[1] + _HEIGHT + 60,
        ),
    )


def main() -> None:
    """Draw the accelerator that the tests know best; others have the same units."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.report.block_diagram", description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?", default=PICTURE, help=f"SVG to write ({PICTURE})")
    picture: Path = parser.parse_args().picture
    picture.write_text(block_diagram(hierarchy(PRESETS["micro8"])), encoding="utf-8")


if __name__ == "__main__":
    main()
