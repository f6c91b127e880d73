"""Plots of a run: what the array did, block by block and over time, experts, accuracy, ablation."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from moesaic.flow.ablate import AblationRow
from moesaic.report.style import COLOURS, INK, MEANINGS, add_bar, new_figure, shades, short, styled
from moesaic.report.task_model import ARRAY_STATES, ArrayStates, BlockReport

__all__ = [
    "ZOOMED",
    "ablation",
    "block_cycles",
    "block_quality",
    "coarse",
    "expert_tokens",
    "timeline",
    "timeline_data",
]

WINDOWS = 320  # of a timeline: as many as can be told apart
ZOOMED = 2000  # of the page's timeline
READ, WRITTEN = "#5b8c5a", "#7a6f9b"


@styled
def block_cycles(parts: Sequence[tuple[str, ArrayStates]], model: Sequence[float]) -> Figure:
    """Stacked bars: what the array did in each part of the network, cycles; ticks: what the analytic model says."""
    figure, axes = new_figure(3.2)
    base = [0] * len(parts)
    for state in ARRAY_STATES:
        values = [getattr(array, state) for _, array in parts]
        axes.bar(
            range(len(parts)),
            values,
            bottom=base,
            color=COLOURS[state],
            label=f"{state}: {MEANINGS[state]}",
            width=0.72,
        )
        base = [a + b for a, b in zip(base, values, strict=True)]
    axes.scatter(
        range(len(parts)), model, marker="_", s=220, linewidths=1.6, color="#1b1e23", label="analytic model", zorder=3
    )
    axes.set_xticks(range(len(parts)), [short(name) for name, _ in parts])
    axes.set_xlabel("part of the network (numbers: blocks)")
    axes.set_ylabel("cycles")
    axes.set_ylim(0, 1.08 * max(1, *base, *model))
    axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="x", visible=False)
    figure.legend(loc="outside upper left", ncols=3, fontsize=8)
    return figure


def coarse(trace: Mapping[str, Any], windows: int = WINDOWS) -> dict[str, Any]:
    """The same trace in at most so many windows."""
    count = len(trace["cycle"])
    first = np.arange(0, count, -(-count // windows))
    last = np.append(first[1:], count) - 1
    return {name: values[last] if name == "cycle" else np.add.reduceat(values, first) for name, values in trace.items()}


def _steps(axes: Axes, tops: np.ndarray, edges: Sequence[float], *, base: Any, color: str, label: str = "") -> None:
    """Filled steps, as `Axes.stairs` draws them, without its search for their extent, which takes longer than all else.

    Who calls it sets the limits of the axes.
    """
    axes.add_artist(StepPatch(tops, edges, baseline=base, fill=True, color=color, linewidth=0, label=label))


@styled
def timeline(trace: Mapping[str, Any], marks: Sequence[tuple[str, int]], bytes_per_cycle: int) -> Figure:
    """What array and ports did over the run, in windows: shares of cycles above, of DDR bandwidth below."""
    trace = coarse(trace)
    cycles = trace["cycle"]
    starts = [0, *cycles[:-1]]
    spans = cycles - starts
    figure = Figure(figsize=(9.2, 4.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    edges = [int(starts[0]), *(int(cycle) for cycle in cycles)]
    base = 0.0 * spans
    for state in ARRAY_STATES:
        top = base + trace[f"array_{state}"] / spans
        _steps(upper, 100 * top, edges, base=100 * base, color=COLOURS[state], label=state)
        base = top
    upper.set_ylim(0, 100)
    upper.set_ylabel("array, % of cycles")
    _steps(lower, 100 * trace["read_bytes"] / (spans * bytes_per_cycle), edges, base=0, color="#5b8c5a")
    lower.set_ylim(0, 105)
    lower.set_ylabel("DDR read, % of peak")
    lower.set_xlabel("cycle")
    lower.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    for axes in (upper, lower):
        axes.set_xlim(0, edges[-1])
        for _, cycle in marks:
            axes.axvline(cycle, color="#1b1e23", linewidth=0.5, alpha=0.55)
    before = 0
    for name, cycle in marks:  # a name fits only where there is room
        if cycle - before > edges[-1] / 45:
            upper.text((before + cycle) / 2, 101, short(name), ha="center", va="bottom", fontsize=7, color="#3d434b")
        before = cycle
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left", ncols=5, fontsize=8)
    return figure


@styled
def expert_tokens(rows: Sequence[tuple[str, Sequence[int]]]) -> Figure:
    """Heat map: tokens that each expert of each block got."""
    figure, axes = new_figure(0.9 + 0.34 * len(rows))
    table = [list(tokens) for _, tokens in rows]
    largest, most = max(max(row) for row in table), max(len(row) for row in table)
    cells = np.full((len(table), most), np.nan)  # blocks may have fewer experts than others
    for y, row in enumerate(table):
        cells[y, : len(row)] = row
    edges = (np.arange(most + 1) - 0.5, np.arange(len(table) + 1) - 0.5)
    drawn = axes.pcolormesh(*edges, np.ma.masked_invalid(cells), cmap=shades("Blues"), vmin=0, vmax=max(largest, 1))
    axes.invert_yaxis()
    for y, row in enumerate(table):
        for x, count in enumerate(row):
            axes.text(
                x,
                y,
                str(count),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if count > 0.5 * largest else "#3d434b",
            )
    axes.set_xticks(range(most))
    axes.set_yticks(range(len(rows)), [f"block {short(name)}" for name, _ in rows])
    axes.set_xlabel("expert")
    add_bar(figure, axes, drawn, "tokens")
    axes.grid(visible=False)
    return figure


@styled
def block_quality(blocks: Sequence[BlockReport]) -> Figure:
    """SQNR of the residual after each block, and routing agreement where there is a router."""
    figure, axes = new_figure(2.7)
    known = [(x, block.sqnr_db) for x, block in enumerate(blocks) if block.sqnr_db is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], color=COLOURS["busy"], marker="o", markersize=4)
    axes.set_xticks(range(len(blocks)), [short(block.name) for block in blocks])
    axes.set_xlabel("block")
    axes.set_ylabel("SQNR, dB", color=COLOURS["busy"])
    axes.set_ylim(0, 1.15 * max([y for _, y in known], default=1.0))
    routed = [
        (x, 100 * block.routing_agreement) for x, block in enumerate(blocks) if block.routing_agreement is not None
    ]
    if routed:
        other = axes.twinx()
        other.scatter([x for x, _ in routed], [y for _, y in routed], color=COLOURS["starved"], marker="s", s=18)
        other.set_ylim(0, 105)
        other.set_ylabel("same experts, % of tokens", color=COLOURS["starved"])
        other.grid(visible=False)
        other.spines["right"].set_visible(False)
    return figure


@styled
def ablation(rows: Sequence[AblationRow]) -> Figure:
    """Bars: cycles and bytes of each variant over those of the first."""
    figure, axes = new_figure(0.9 + 0.42 * len(rows))
    largest = 1.5
    spent = [row.cycles or row.model_cycles for row in rows]
    for shift, amounts, colour, label in (
        (0.19, spent, COLOURS["busy"], "cycles"),
        (-0.19, [row.bytes_read for row in rows], "#5b8c5a", "bytes read"),
    ):
        values = [amount / amounts[0] for amount in amounts]
        largest = max(largest, *values)
        places = [len(rows) - 1 - k + shift for k in range(len(rows))]
        axes.barh(places, values, height=0.36, color=colour, label=label)
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f" {value:.2f} ×", va="center", fontsize=8, color="#3d434b")
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xlim(0, 1.15 * largest)
    axes.set_yticks(range(len(rows)), ["nothing taken away", *(row.title for row in rows[1:])][::-1])
    axes.set_xlabel("times that of the whole accelerator")
    axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    return figure


def timeline_data(
    trace: Mapping[str, Any], parts: Sequence[tuple[str, int]], bytes_per_cycle: int, store_bytes_per_cycle: int
) -> dict[str, Any]:
    """What the page's timeline draws: counts by window of cycles, in at most `ZOOMED` windows.

    Parameters
    ----------
    trace : mapping
        Counts by window of cycles; `cycle` is where a window ends.
    parts : sequence of (str, int)
        Name, and the cycle in which it ended.
    bytes_per_cycle, store_bytes_per_cycle : int
        Bandwidths of reading and storing.
    """
    trace = {name: values.tolist() for name, values in coarse(trace, ZOOMED).items()}
    lanes = (
        ("fill", INK, "loader_busy", 1),
        ("read", READ, "read_bytes", bytes_per_cycle),
        ("store", WRITTEN, "written_bytes", store_bytes_per_cycle),
    )
    return {
        "ends": trace["cycle"],
        "states": {state: trace[f"array_{state}"] for state in ARRAY_STATES},
        "colours": COLOURS,
        "lanes": [
            {"name": name, "colour": colour, "values": trace[unit], "most": most} for name, colour, unit, most in lanes
        ],
        "marks": [(short(name), end) for name, end in parts],
    }
