"""What the pictures of a report must not do: names over names, layers over a roof, bars without a zero."""

import itertools
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from moesaic.flow.ablate import AblationRow
from moesaic.flow.worst import WorstCase
from moesaic.report import charts, plots
from moesaic.report.labels import label_points
from moesaic.report.task_model import LayerReport


@pytest.mark.parametrize("count", [2, 9])
def test_names_of_points_that_are_close_do_not_overlap(count: int) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    points = [(5 + 0.2 * (k % 3), 5 + 0.3 * (k // 3), f"a name of {k}") for k in range(count)]
    boxes = label_points(figure, axes, points)
    assert len(boxes) == len(axes.texts) == count
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def layer(name: str, *, macs: int, size: int, cycles: int) -> LayerReport:
    return LayerReport(name=name, part="blocks.0", macs=macs, bytes=size, array_cycles=cycles, cycles=cycles, mj=None)


def test_a_layer_that_was_read_ahead_is_hollow_in_the_roofline() -> None:
    slow, fast = (layer("blocks.0.fc1", macs=640, size=64, cycles=c) for c in (80, 4))
    figure = charts.roofline([slow, fast], 256, 2)  # 64 bytes take 32 cycles
    (axes,) = figure.axes
    colours = [
        tuple(colour) for drawn in axes.collections for colour in drawn.get_facecolor() if len(drawn.get_offsets()) == 2
    ]
    assert len(colours) == 2 and colours[0] != (1, 1, 1, 1) and colours[1] == (1, 1, 1, 1)
    (legend,) = figure.legends
    assert any("read ahead" in text.get_text() for text in legend.texts)
    (legend,) = charts.roofline([slow], 256, 2).legends
    assert not any("read ahead" in text.get_text() for text in legend.texts)


def test_worst_cases_show_what_differs() -> None:
    cases = {name: WorstCase(name, cycles, 1.0, 1, {}) for name, cycles in (("real", 1_000_000), ("even", 1_000_100))}
    (axes,) = charts.worst_cases({"depth": cases}).axes
    assert [bar.get_width() for bar in axes.patches] == [0, 100]
    assert [text.get_text().strip() for text in axes.texts] == ["1,000,000", "1,000,100 (+0.0 %)"]
    assert axes.get_xlim()[1] > 10_000  # a hundred cycles of a million do not fill the picture


def test_bars_begin_at_zero() -> None:
    row = AblationRow(
        name="whole",
        title="whole",
        bit_exact=True,
        cycles=10,
        model_cycles=10,
        bytes_read=10,
        array_busy=None,
        chip_mj=1.0,
        ddr_mj=1.0,
        energy_error=0.1,
    )
    rows = [row, replace(row, cycles=90, bytes_read=90)]
    (axes,) = plots.ablation(rows).axes
    assert axes.get_xscale() == "linear" and axes.get_xlim()[0] == 0 and axes.get_xlim()[1] > 9


def test_the_map_of_experts_has_a_scale() -> None:
    figure = plots.expert_tokens([("blocks.1", (3, 4)), ("blocks.3", (7, 0))])
    assert [axes.get_ylabel() for axes in figure.axes] == ["", "tokens"]
