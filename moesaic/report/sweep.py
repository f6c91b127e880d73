"""Bandwidth of attention against the height of the array, as a page and a plot."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.ticker
from matplotlib.figure import Figure

from moesaic.flow.request import Request
from moesaic.flow.sweep import Point
from moesaic.report.chart import Chart
from moesaic.report.style import COLOURS
from moesaic.report.table import Table

__all__ = ["PAGE", "PLOT", "chart", "page", "write_sweep"]

PAGE, PLOT = "attention_bandwidth.md", "attention_bandwidth"


def _plot(points: Sequence[Point]) -> Figure:
    """Words per cycle against rows, measured; and what a streamed vector for every row would need."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    rows = [point.rows for point in points]
    axes.plot(
        rows,
        rows,
        color=COLOURS["starved"],
        linestyle="--",
        linewidth=1.2,
        label="a vector for each row (calculated)",
    )
    axes.plot(
        rows,
        [point.words_per_cycle for point in points],
        color=COLOURS["busy"],
        marker="o",
        label="measured on RTL",
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_ylim(0.5, 2 * max(rows))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.set_xticks(rows)
    axes.set_xlabel("rows of the array")
    axes.set_ylabel("activation words read per cycle")
    axes.grid(color="#e6e8eb", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def chart(points: Sequence[Point]) -> Chart:
    """The picture with its numbers."""
    columns = ("rows", "lanes", "cycles", "words", "words_per_cycle", "stationary_words", "bit_exact")
    rows = tuple(
        (p.rows, p.lanes, p.cycles, p.words, p.words_per_cycle, p.stationary_words, p.bit_exact) for p in points
    )
    return Chart("plot", PLOT, _plot(points), Table(columns, rows))


def page(request: Request, points: Sequence[Point], command: str) -> str:
    """The page in Markdown."""
    lanes, model = points[0].lanes, request.model
    heads, head_dim = model.head_splits[0]
    where = (
        "This page measures how much bandwidth attention takes from the on-chip activation memory. "
        "It is for those who want to check the claim in the title."
    )
    setting = (
        f"The network is block 0 of {model.name}: {model.tokens} tokens, {heads} heads of {head_dim} channels. "
        f"The accelerator is `{request.board}` with `rows` as in the table, and {lanes} lanes. "
        f"A word is {lanes} int8 values."
    )
    counters = (
        "The RTL counts `ATTENTION_CYCLES`, `ATTENTION_WORDS_READ` and `STATIONARY_WORDS_READ`. "
        "The last belongs to attention alone, because nothing else fills the array from on-chip memory."
    )
    lines = [
        "# Attention reads one word per cycle, whatever the height of the array",
        "",
        where,
        "",
        setting,
        counters,
        "",
        f"Made by `{command}`.",
        "",
        "| rows | multipliers | attention cycles | words read | words per cycle | stationary words | bit exact |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in points:
        lines.append(
            f"| {p.rows} | {p.rows * p.lanes:,} | {p.cycles:,} | {p.words:,} | {p.words_per_cycle:.3f} "
            f"| {p.stationary_words:,} "
            f"| {'yes' if p.bit_exact else 'NO'} |"
        )
    why = (
        "Every row holds its own stationary vector, and all rows see the same streamed vector. So one read feeds all "
        "rows. The dashed line is what it would take to read a vector for each row."
    )
    lines += ["", f"![words per cycle against rows]({PLOT}.svg)", "", why]
    return "\n".join(lines) + "\n"


def write_sweep(folder: Path, request: Request, points: Sequence[Point], command: str) -> str:
    """Write page, picture and its numbers into a folder; return the page."""
    text = page(request, points, command)
    folder.mkdir(parents=True, exist_ok=True)
    chart(points).write(folder)
    (folder / PAGE).write_text(text, encoding="utf-8")
    return text
