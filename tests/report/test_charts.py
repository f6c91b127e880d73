"""Every picture of a report as files: an SVG, a PNG and its numbers as CSV, whose sums are those of the report."""

import base64
import csv
import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from moesaic.flow.ablate import AblationRow
from moesaic.flow.peers import Peer
from moesaic.flow.sweep import Point
from moesaic.report import chart_data
from moesaic.report.chart import SUFFIXES
from moesaic.report.data import load_data
from moesaic.report.figures import common_charts, task_charts
from moesaic.report.stored import DATA, read_report
from moesaic.report.sweep import chart as sweep_chart
from moesaic.report.table import Table
from moesaic.report.task_model import ARRAY_STATES

SVG = "{http://www.w3.org/2000/svg}"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def total(table: list[dict[str, str]], column: str) -> float:
    return sum(float(row[column] or 0) for row in table)


def embedded(folder: Path) -> list[bytes]:
    page = (folder / "report.html").read_text()
    return [base64.b64decode(text) for text in re.findall(r'"data:image/svg\+xml;base64,([^"]*)"', page)]


def test_every_picture_of_the_page_is_a_file_with_its_numbers(measured: Any) -> None:
    names = ("cycles", "timeline", "roofline", "energy", "experts", "quality")
    wanted = {f"{task}-{name}" for task in measured.report["tasks"] for name in names} | {"resources", "worst-case"}
    files = {path.stem: path.read_bytes() for path in measured.folder.glob("*.svg")}
    assert files.keys() == wanted
    assert sorted(embedded(measured.folder)) == sorted(files.values())
    for name in files:
        for suffix in SUFFIXES:
            assert (measured.folder / f"{name}{suffix}").stat().st_size > 50, (name, suffix)


def test_pictures_are_vectors_and_their_texts_are_texts(measured: Any) -> None:
    said = {}
    for path in measured.folder.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        assert root.tag == f"{SVG}svg"
        assert not [*root.iter(f"{SVG}image")], path.name  # no pixels
        assert b"<dc:date>" not in path.read_bytes()
        said[path.stem] = {"".join(node.itertext()) for node in root.iter(f"{SVG}text")}
    assert all(len(texts) > 5 for texts in said.values()), said
    for task in measured.report["tasks"]:
        assert {"analytic model", "embed", "result", "cycles"} <= said[f"{task}-cycles"]
        assert {"block 1", "expert", "tokens"} <= said[f"{task}-experts"]
        assert {"whole image", "qkv"} <= said[f"{task}-roofline"]


def test_cycles_and_bytes_are_those_of_the_counters(measured: Any) -> None:
    for task, report in measured.report["tasks"].items():
        counters = report["counters"]
        parts, windows = (rows(measured.folder / f"{task}-{name}.csv") for name in ("cycles", "timeline"))
        assert [row["part"] for row in parts] == ["embed", *(block["name"] for block in report["blocks"]), "result"]
        states = [total(parts, state) for state in ARRAY_STATES]
        assert states == [report["array"][state] for state in ARRAY_STATES]
        assert [total(windows, f"array_{state}") for state in ARRAY_STATES] == states
        assert total(windows, "read_bytes") == counters["weight_bytes"] + counters["fetch_bytes"]
        assert total(windows, "written_bytes") == counters["store_bytes"]
        assert [row["first_cycle"] for row in windows[1:]] == [row["end_cycle"] for row in windows[:-1]]
        assert windows[0]["first_cycle"] == "0" and int(windows[-1]["end_cycle"]) == report["cycles"]


def test_layers_experts_and_blocks_are_those_of_the_report(measured: Any) -> None:
    for task, report in measured.report["tasks"].items():
        layers, experts, blocks = (
            rows(measured.folder / f"{task}-{name}.csv") for name in ("roofline", "experts", "quality")
        )
        assert [(row["layer"], int(row["macs"]), int(row["bytes"])) for row in layers] == [
            (layer["name"], layer["macs"], layer["bytes"]) for layer in report["layers"]
        ]
        assert total(layers, "macs") == report["macs"]
        assert total(layers, "cycles") == pytest.approx(report["cycles"], rel=1e-3)
        assert all(float(row["roof_macs_per_cycle"]) <= 64 for row in layers)
        tokens = Counter[str]()
        for row in experts:
            tokens[row["block"]] += int(row["tokens"])
        assert tokens == {block: sum(counts) for block, counts in report["tokens_per_expert"].items()}
        assert [(row["block"], float(row["sqnr_db"])) for row in blocks] == [
            (block["name"], block["sqnr_db"]) for block in report["blocks"]
        ]


def test_energy_and_resources_are_those_of_the_report(measured: Any) -> None:
    for task, report in measured.report["tasks"].items():
        spent = rows(measured.folder / f"{task}-energy.csv")
        units, layers = ([row for row in spent if row["by"] == by] for by in ("unit", "layer"))
        both = report["energy"]["chip_mj"] + report["energy"]["ddr_mj"]
        assert total(units, "mj") == pytest.approx(both, abs=1e-4)
        assert total(layers, "mj") == pytest.approx(sum(layer["mj"] for layer in report["layers"]), abs=1e-9)
        assert all(float(row["least_mj"]) <= float(row["mj"]) <= float(row["most_mj"]) for row in units)
    found = measured.report["resources"]
    for kind in ("lut", "ff", "dsp", "bram36", "uram"):
        mine = [row for row in rows(measured.folder / "resources.csv") if row["kind"] == kind]
        assert total(mine, "amount") == pytest.approx(found[kind], abs=1.5), kind  # estimates of units are rounded
        assert {row["board"] for row in mine} == {str(found["budget"][kind])}
    for row in rows(measured.folder / "worst-case.csv"):
        case = measured.report["worst_case"][row["task"]][row["routing"]]
        own = measured.report["worst_case"][row["task"]]["real"]["cycles"]
        assert (int(row["cycles"]), int(row["more_cycles"])) == (case["cycles"], case["cycles"] - own)


def test_drawn_again_they_are_the_same_bytes(measured: Any, tmp_path: Path) -> None:
    report, data = read_report(measured.folder), load_data(measured.folder / DATA)
    again = [*task_charts("depth", report, data), *common_charts(report)]
    assert len(again) == 8
    for chart in again:
        chart.write(tmp_path)
        for suffix in SUFFIXES:
            name = f"{chart.file}{suffix}"
            assert (tmp_path / name).read_bytes() == (measured.folder / name).read_bytes(), name


def test_numbers_in_a_table_are_exact_and_texts_are_no_formulas() -> None:
    table = Table(
        ("name", "value"),
        (("a, b", 0.1), ("=1+1", 1 / 3), ("-x", None), ("nu\nll", 3), ("yes", True)),
    )
    header, *found = csv.reader(io.StringIO(table.csv(), newline=""))
    assert header == ["name", "value"]
    assert [float(value) for _, value in found[:2]] == [0.1, 1 / 3]
    assert [name for name, _ in found] == ["a, b", "'=1+1", "'-x", "nu\nll", "yes"]
    assert [value for _, value in found[2:]] == ["", "3", "true"]


def test_numbers_of_peers_and_variants() -> None:
    unknown = Peer(name="a", board="b", model="m", image="224 × 224", gop=2.5, ms=2.0, ms_is="measured")
    known = replace(unknown, mj=3.0, mj_error=0.25, ours=True)
    (row,) = chart_data.peers([known, unknown]).rows  # the other has no point
    assert row == ("a", "b", "m", "224 × 224", True, 2.0, "measured", 3.0, "", 0.25)
    base = AblationRow(
        name="all",
        title="whole",
        bit_exact=True,
        cycles=10,
        model_cycles=11,
        bytes_read=100,
        array_busy=None,
        chip_mj=1.0,
        ddr_mj=1.0,
        energy_error=0.1,
    )
    more = replace(base, cycles=None, model_cycles=25, bytes_read=300)
    table = chart_data.ablation([base, more])
    assert [row[2:] for row in table.rows] == [(10, 11, 100, 1.0, 1.0), (None, 25, 300, 2.5, 3.0)]


def test_the_sweep_has_its_files(tmp_path: Path) -> None:
    points = [Point(8, 64, 200, 100, 50, True), Point(16, 64, 100, 90, 40, True)]
    assert "rows of the array" in sweep_chart(points).write(tmp_path)
    assert [row["words_per_cycle"] for row in rows(tmp_path / "attention_bandwidth.csv")] == ["0.5", "0.9"]
