"""The picture of an exploration: every configuration that fits, and the front."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from moesaic.flow.exploration import Exploration, FrontPoint
from moesaic.report.chart import Chart
from moesaic.report.labels import label_points
from moesaic.report.style import COLOURS, add_bar, shades
from moesaic.report.table import Cell, Table

__all__ = ["chart", "has_batches"]


def chart(result: Exploration, file: str) -> Chart:
    """The picture with its numbers: a row for each point of the front, then one for each configuration that fits."""
    rows: list[tuple[Cell, ...]] = [
        (
            "front",
            entry.number,
            entry.latency_ms,
            entry.percent[entry.fullest],
            entry.energy_mj,
            entry.image_ms,
            entry.config.rows,
            entry.config.lanes,
            None if entry.confirmed is None else entry.confirmed.cycles,
        )
        for entry in result.front
    ]
    rows += [("fits", None, ms, 100 * share, mj, each, None, None, None) for ms, share, mj, each in result.points]
    columns = ("series", "number", "latency_ms", "percent", "energy_mj", "image_ms", "rows", "lanes", "rtl_cycles")
    return Chart("front", file, _picture(result), Table(columns, tuple(rows)))


def _picture(result: Exploration) -> Figure:
    """Latency against the share of the device, every configuration and the front; beside it time an image, if there
    are batches.
    """
    batches = has_batches(result.front)
    figure = Figure(figsize=(14.4 if batches else 7.2, 4.4), layout="constrained")
    panels = figure.subplots(1, 1 + batches, squeeze=False, sharey=True)[0]
    _panel(figure, panels[0], result, [point[0] for point in result.points], each=False)
    if batches:
        _panel(figure, panels[1], result, [point[3] for point in result.points], each=True)
    return figure


def _panel(figure: Figure, axes: Axes, result: Exploration, times: Sequence[float], *, each: bool) -> None:
    """One picture of two: over latency, or over the time of each image of a batch."""
    front = result.front
    axes.scatter(
        times,
        [100 * share for _, share, _, _ in result.points],
        s=9,
        color=COLOURS["idle"],
        linewidth=0,
        label=f"{len(result.points):,} configurations that fit",
    )
    milliseconds = [_time(entry, each=each) for entry in front]
    shares = [entry.percent[entry.fullest] for entry in front]
    drawn = axes.scatter(
        milliseconds,
        shares,
        s=30,
        c=[entry.energy_mj for entry in front],
        cmap=shades("viridis_r"),
        zorder=3,
        label="the front",
    )
    add_bar(figure, axes, drawn, f"energy of an image, mJ (± {100 * result.energy_error:.0f} %)")
    confirmed = [entry for entry in front if entry.confirmed]
    if confirmed:
        axes.scatter(
            [_time(entry, each=each) for entry in confirmed],
            [entry.percent[entry.fullest] for entry in confirmed],
            s=90,
            facecolor="none",
            edgecolor=COLOURS["starved"],
            linewidth=1.6,
            zorder=4,
            label="simulated on RTL",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    what = "time for each image in a batch" if each else "latency"
    axes.set_xlabel(f"{what} of {result.model}, ms")
    axes.set_ylabel(f"fullest resource of {result.board}, %")
    axes.grid(color="#e6e8eb", linewidth=0.6, which="both")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    sized = {1, len(front), *(entry.number for entry in confirmed)}
    sizes = [f": {entry.config.rows} × {entry.config.lanes}" if entry.number in sized else "" for entry in front]
    names = [f"{entry.number}{size}" for entry, size in zip(front, sizes, strict=True)]
    label_points(figure, axes, list(zip(milliseconds, shares, names, strict=True)))


def _time(entry: FrontPoint, *, each: bool) -> float:
    return entry.image_ms if each else entry.latency_ms


def has_batches(front: Sequence[FrontPoint]) -> bool:
    """Whether there are programs of several images on the front."""
    return any(entry.batch > 1 for entry in front)
