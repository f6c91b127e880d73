"""The drawing in the documentation is that of the hardware."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from moesaic.flow.hierarchy import Box, Hierarchy, hierarchy
from moesaic.hw.spec.presets import PRESETS
from moesaic.report.block_diagram import PICTURE, PLACES, block_diagram

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found() -> Hierarchy:
    return hierarchy(PRESETS["micro8"])


def test_the_picture_is_that_of_the_hardware(found: Hierarchy) -> None:
    assert (ROOT / PICTURE).read_text(encoding="utf-8") == block_diagram(found), (
        "draw it anew: python -m moesaic.report.block_diagram"
    )


def test_data_are_followed(found: Hierarchy) -> None:
    """Through ports of the core, buffers and the core's own logic; instructions, words, vectors, sums, results."""
    way = ["fetch", "load", "weights", "loader", "array", "accumulator", "writeback", "memories", "store", "writers"]
    assert set(pairwise(way)) <= found.flows.keys()
    assert found.flows["writeback", "router"] == ("logits",) and ("router", "feeder") in found.flows
    assert ("weights", "array") not in found.flows and ("array", "writeback") not in found.flows
    assert all((ROOT / box.source).is_file() for box in found.boxes)


def test_a_unit_without_a_place_is_named(found: Hierarchy) -> None:
    more = replace(found, boxes=(*found.boxes, Box("pooler", "hw/engine/pooler.py", True)))
    with pytest.raises(ValueError, match="unlike pooler"):
        block_diagram(more)
    with pytest.raises(ValueError, match="unlike array"):
        block_diagram(replace(found, boxes=tuple(box for box in found.boxes if box.name != "array")))
    assert len(PLACES) == len(set(PLACES.values()))
