"""Pictures of what a run costs: roofline, energy, resources, worst cases, peers."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from moesaic.boards.resources import Resources
from moesaic.flow.energy import EnergyReport
from moesaic.flow.peers import Peer
from moesaic.flow.resources import ReportedResources
from moesaic.flow.worst import WorstCase
from moesaic.hw.spec.units import Group, unit_called
from moesaic.report.labels import label_points
from moesaic.report.style import COLOURS, INK, KINDS, new_figure, short, styled
from moesaic.report.task_model import LayerReport

__all__ = ["energy", "peers", "resources", "roofline", "worst_cases"]

_TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM"}
# Units of the design by what they are for, in the order of a stacked bar.
_GROUP_COLOURS = {
    Group.ARRAY: "#2f6690",
    Group.RESULTS: "#5b8c5a",
    Group.OPERANDS: "#8fb8d6",
    Group.ROUTER: "#1b1e23",
    Group.WEIGHT_STREAM: "#d9822b",
    Group.REST: "#c9ccd1",
}


def _kind(layer: str) -> str:
    return layer.rpartition(".")[2]


def _thousands(axis: Any) -> None:
    axis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))


def _layers(axes: Any, layers: Sequence[LayerReport], bytes_per_cycle: int, edge: float) -> None:
    """Layers as points; `edge` is the intensity at which those stand that read nothing."""
    prefetched = False
    for kind, colour in KINDS.items():
        mine = [layer for layer in layers if _kind(layer.name) == kind]
        if not mine:
            continue
        places = [(layer.macs / layer.bytes if layer.bytes else edge, layer.macs / layer.cycles) for layer in mine]
        ahead = [(x, y) for x, y in places if y > bytes_per_cycle * x]
        fills = ["#ffffff" if place in ahead else colour for place in places]
        axes.scatter(*zip(*places, strict=True), color=fills, edgecolors=colour, s=26, linewidths=1.2, zorder=3)
        axes.scatter([], [], color=colour, s=26, label=kind)
        for x, y in ahead:
            axes.vlines(x, bytes_per_cycle * x, y, color=colour, linewidth=0.8, linestyle=":", zorder=2)
        prefetched = prefetched or bool(ahead)
    if prefetched:
        axes.scatter([], [], color="#ffffff", edgecolors=INK, s=26, label="hollow: read ahead, while others computed")


@styled
def roofline(layers: Sequence[LayerReport], macs_per_cycle: int, bytes_per_cycle: int) -> Figure:
    """Every layer as a point under the roof of arithmetic and DDR; the whole image as a star.

    A layer above the slope is hollow, and tied to it: its bytes came before its cycles began.

    Parameters
    ----------
    layers : sequence of LayerReport
    macs_per_cycle, bytes_per_cycle : int
    """
    figure, axes = new_figure(3.9)
    macs = sum(layer.macs for layer in layers)
    points = [layer for layer in layers if layer.macs and layer.cycles]
    known = [layer.macs / layer.bytes for layer in points if layer.bytes] or [1.0]
    ridge = macs_per_cycle / bytes_per_cycle
    low, high = min(*known, ridge) / 2, 4 * max(*known, ridge)  # what reads nothing stands at the right edge
    x = np.geomspace(low, high * 1.6, 200)
    axes.plot(x, np.minimum(macs_per_cycle, bytes_per_cycle * x), color=INK, linewidth=1.4)
    axes.axvline(high / 1.6, color="#c9ccd1", linewidth=0.8, linestyle=":")
    _layers(axes, points, bytes_per_cycle, high)
    axes.scatter(
        [macs / sum(layer.bytes for layer in layers)],
        [macs / sum(layer.cycles for layer in layers)],
        marker="*",
        s=170,
        color="#ffffff",
        edgecolors=INK,
        linewidths=1.2,
        label="whole image",
        zorder=4,
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high * 1.6)
    smallest = min(layer.macs / layer.cycles for layer in points)
    axes.set_ylim(max(min(smallest / 2, bytes_per_cycle * low), smallest / 20), macs_per_cycle * 1.8)
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(2, numticks=8))
    axes.set_xlabel("multiply-accumulates for each byte from DDR (right of the dotted line: no bytes)")
    axes.set_ylabel("multiply-accumulates per cycle")
    axes.text(
        high * 1.5,
        macs_per_cycle * 1.1,
        f"{macs_per_cycle:,} multipliers",
        ha="right",
        va="bottom",
        fontsize=8,
        color=INK,
    )
    where = np.sqrt(low * ridge)
    axes.annotate(
        f"{bytes_per_cycle} B per cycle",
        (where, bytes_per_cycle * where),
        xytext=(6, -4),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=8,
        color=INK,
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    figure.legend(loc="outside upper left", ncols=5, fontsize=8)
    return figure


@styled
def energy(spent: EnergyReport, layers: Sequence[LayerReport], error: float) -> Figure:
    """Energy of an image by unit, and by part of the network and kind of layer; mJ. The error is relative, of static
    and dynamic.
    """
    figure = Figure(figsize=(9.2, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(5, 6))
    rows = sorted(spent.units_mj.items(), key=lambda entry: -entry[1])
    largest, rest = rows[:8], rows[8:]
    bars = [("static", spent.static_mj, COLOURS["idle"]), ("DDR", spent.ddr_mj, "#5b8c5a")]
    bars += [(unit, value, COLOURS["busy"]) for unit, value in largest]
    bars.append((f"{len(rest)} other units", sum(value for _, value in rest), COLOURS["loading"]))
    places = range(len(bars) - 1, -1, -1)
    values = [value for _, value, _ in bars]
    least = [value * error if name != "DDR" else spent.ddr_mj - spent.ddr_least_mj for name, value, _ in bars]
    most = [value * error if name != "DDR" else 0.0 for name, value, _ in bars]
    left.barh(
        places,
        values,
        color=[colour for _, _, colour in bars],
        height=0.7,
        xerr=[least, most],
        error_kw={"ecolor": INK, "elinewidth": 0.8, "capsize": 2},
    )
    left.set_yticks(places, [name for name, _, _ in bars])
    left.set_xlabel("mJ for an image, with the model's error")
    left.set_title("by unit")
    left.grid(axis="y", visible=False)
    parts = list(dict.fromkeys(layer.part for layer in layers))
    base = np.zeros(len(parts))
    for kind, colour in KINDS.items():
        amounts = np.array(
            [
                sum(layer.mj or 0.0 for layer in layers if layer.part == part and _kind(layer.name) == kind)
                for part in parts
            ]
        )
        if amounts.any():
            right.bar(range(len(parts)), amounts, bottom=base, color=colour, label=kind, width=0.72)
            base = base + amounts
    right.set_ylim(0, 1.08 * float(base.max()) or 1.0)
    right.set_xticks(range(len(parts)), [short(part) for part in parts], rotation=0 if len(parts) < 9 else 45)
    right.set_xlabel("part of the network (numbers: blocks)")
    right.set_ylabel("mJ, all included")
    right.set_title("by layer")
    right.grid(axis="x", visible=False)
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=5, fontsize=8)
    return figure


def _by_group(units: Mapping[str, Resources]) -> dict[Group, dict[str, float]]:
    result = {group: dict.fromkeys(_TITLES, 0.0) for group in _GROUP_COLOURS}
    for unit, amounts in units.items():
        for kind in _TITLES:
            result[unit_called(unit).group][kind] += amounts.to_dict()[kind]
    return result


@styled
def resources(found: ReportedResources) -> Figure:
    """A bar for each kind of resource, by group of units: share of the board's."""
    totals, budget = found.total.to_dict(), found.budget.to_dict()
    kinds = [kind for kind in _TITLES if totals[kind] or budget[kind]]
    whole = {kind: budget[kind] or 1 for kind in kinds}
    figure, axes = new_figure(0.9 + 0.42 * len(kinds))
    places = np.arange(len(kinds))[::-1]
    base = np.zeros(len(kinds))
    for group, amounts in _by_group(found.units).items():
        values = np.array([100 * amounts[kind] / whole[kind] for kind in kinds])
        if values.any():
            axes.barh(places, values, left=base, color=_GROUP_COLOURS[group], height=0.66, label=group.value)
            base = base + values
    limit = max(100.0, *base)
    for place, kind, share in zip(places, kinds, base, strict=True):
        text = f"{totals[kind]:,g}" + (f" of {budget[kind]:,g}, {share:.0f} %" if budget[kind] else ", none there")
        axes.text(
            limit * 1.02, place, text, va="center", fontsize=8, color=COLOURS["blocked"] if share > 100.5 else INK
        )
    axes.axvline(100, color=INK, linewidth=1)
    axes.set_yticks(places, [_TITLES[kind] for kind in kinds])
    axes.set_xlim(0, limit * 1.32)
    axes.set_xticks(range(0, int(limit) + 1, 20))
    axes.set_xlabel("% of the board's")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=6, fontsize=8)
    return figure


@styled
def worst_cases(cases: Mapping[str, Mapping[str, WorstCase]]) -> Figure:
    """Cycles of each routing beyond those of the image's own, for each task: so little differences are seen."""
    titles = {name: case.title for task in cases.values() for name, case in task.items()}
    figure, axes = new_figure(0.8 + 0.3 * len(titles) * max(1, len(cases)))
    height = 0.8 / len(cases)
    colours = [COLOURS["busy"], COLOURS["starved"], "#5b8c5a", "#7a6f9b", "#9b2226", "#8fb8d6"]
    widest = max(0.01 * case.cycles for mine in cases.values() for case in mine.values())  # less than 1 % looks little
    for number, (task, mine) in enumerate(cases.items()):
        places = [len(titles) - 1 - row + 0.4 - height * (number + 0.5) for row in range(len(titles))]
        own = mine["real"].cycles
        values = [mine[name].cycles - own for name in titles]
        widest = max(widest, *(abs(value) for value in values))
        axes.barh(places, values, height=height * 0.9, color=colours[number % len(colours)], label=task)
        for place, value in zip(places, values, strict=True):
            more = "" if not value else f" ({100 * value / own:+.1f} %)"
            side = "right" if value < 0 else "left"
            axes.text(value, place, f" {own + value:,}{more} ", va="center", ha=side, fontsize=8, color=INK)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(titles) - 1, -1, -1), list(titles.values()))
    axes.set_xlim(-1.7 * widest, 1.7 * widest)
    axes.set_xlabel("cycles more or less than as this image is routed, by the analytic model (numbers: in all)")
    axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:+,.0f}"))
    axes.grid(axis="y", visible=False)
    if len(cases) > 1:
        figure.legend(loc="outside upper left", ncols=6, fontsize=8)
    return figure


@styled
def peers(rows: Sequence[Peer]) -> Figure:
    """Milliseconds against millijoules of an image; ours with the model's error."""
    figure, axes = new_figure(4.2)
    known = [(row.ms, row.mj, row) for row in rows if row.ms is not None and row.mj is not None]
    for ms, mj, row in known:
        ours = row.ours
        axes.errorbar(
            ms,
            mj,
            yerr=None if row.mj_error is None else mj * row.mj_error,
            fmt="o" if ours else "s",
            color=COLOURS["blocked"] if ours else COLOURS["busy"],
            markersize=6,
            elinewidth=0.9,
            capsize=3,
            markerfacecolor=None if row.ms_is != "estimated" else "#ffffff",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.set_xlabel("ms for an image")
    axes.set_ylabel("mJ for an image, on chip")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    figure.legend(
        handles=[
            Line2D(
                [], [], marker="o", linestyle="", color=COLOURS["blocked"], label="Moesaic (hollow: estimated time)"
            ),
            Patch(color=COLOURS["busy"], label="published"),
        ],
        loc="outside upper left",
        ncols=2,
        fontsize=8,
    )
    names = [f"{row.model} {row.image}" if row.ours else f"{row.name}, {row.board}" for _, _, row in known]
    label_points(figure, axes, [(ms, mj, name) for (ms, mj, _), name in zip(known, names, strict=True)])
    return figure
