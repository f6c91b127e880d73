"""Nets by distance beside routed paths: by hand, and what the page says of them."""

import json
from pathlib import Path

import pytest

from moesaic.boards.resources import Resources
from moesaic.boards.routing.distance import held, instance_of, nets_between_slices, nets_by_distance
from moesaic.boards.synthesis.ecp5 import ECP5_85, scaled
from moesaic.boards.synthesis.wires import EcpWires

DOCS = Path(__file__).parents[3] / "docs"


def test_a_pin_is_in_the_longest_instance_that_its_name_names() -> None:
    known = {"": 0, "core": 1, "core.loader": 2}
    assert instance_of("unit.core.loader.ends_TRELLIS_FF_Q_2.Q", known) == 2
    assert instance_of("unit.core.loader_queue.Q", known) == 1
    assert instance_of("unit.abort.Q", known) == 0


def test_nets_of_a_path_by_hand() -> None:
    model = {"net_ns": 0.6, "net_doubling_ns": 0.2}
    assert nets_between_slices({"model_ns": 4.4, "cells_ns": 2.0}, model) == 3
    assert nets_between_slices({"model_ns": 2.1, "cells_ns": 2.0}, model) == 1
    # one net over ten columns and two rows, two over one and one
    expected = 0.054 * (6 + 5 + 2 * (5 + 2)) + 2 * 0.054 * (6 + 2 * (1 + 1))
    assert nets_by_distance(3, (10, 2), (1, 1), EcpWires()) == pytest.approx(expected)


def test_errors_by_hand() -> None:
    paths = [
        {"cells_ns": 1.0, "nets_ns": nets, "routed_ns": 1.0 + nets, "said": said}
        for nets, said in ((1.0, 1.0), (3.0, 2.0), (4.0, 6.5))
    ]
    found = held(paths, lambda path: path["said"])
    assert (found.median_error, found.worst_error, found.median_size) == (0.0, 0.5, 0.25)
    assert found.factor == 1.5
    assert found.correlation == 0.86


def test_what_modules_take_of_another_device() -> None:
    needs = {"a": Resources(lut=100, ff=10, bram36=1.0), "b": Resources(lut=50)}
    found = scaled(needs, {"a": 2, "b": 4}, Resources(lut=800, ff=40, bram36=3.0))
    assert found == {"a": Resources(lut=200, ff=20, bram36=1.5), "b": Resources(lut=100)}
    assert ECP5_85.tiles > ECP5_85.capacity.lut / 8


def test_the_table_is_that_of_the_data() -> None:
    data = json.loads((DOCS / "distance.json").read_text(encoding="utf-8"))
    text = (DOCS / "synthesis.md").read_text(encoding="utf-8")
    for name, model in data["models"].items():
        cells = [
            name,
            f"{round(100 * model['median_error']):+d} %",
            f"{100 * model['median_size']:.0f} %",
            f"{round(100 * model['worst_error']):+d} %",
            f"{model['correlation']:.2f}",
            f"{model['factor']:g}",
        ]
        assert f"| {' | '.join(cells)} |\n" in text
    assert f"{data['between']} of the {data['paths']} paths start and end in different instances" in text
