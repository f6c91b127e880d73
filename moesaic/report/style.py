"""The one quiet style of all pictures."""

from typing import Any

import matplotlib
import matplotlib.colors
from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "KINDS", "MEANINGS", "STYLE", "add_bar", "new_figure", "shades", "short", "styled"]

INK = "#3d434b"
COLOURS = {"busy": "#2f6690", "loading": "#8fb8d6", "starved": "#d9822b", "blocked": "#9b2226", "idle": "#c9ccd1"}
MEANINGS = {
    "busy": "takes a streamed vector",
    "starved": "waits for weights from DDR",
    "loading": "waits for its stationary block",
    "blocked": "waits for an earlier instruction",
    "idle": "waits for anything else",
}
# Layers, by the last part of their names.
KINDS = {
    "embed": "#7a6f9b",
    "qkv": "#2f6690",
    "attention": "#5b8c5a",
    "proj": "#8fb8d6",
    "fc1": "#d9822b",
    "fc2": "#e8b57d",
    "router": "#1b1e23",
    "experts": "#9b2226",
    "result": "#c9ccd1",
}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8f98",
    "axes.labelcolor": "#3d434b",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#3d434b",
    "ytick.color": "#3d434b",
    "axes.grid": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "moesaic",
    "svg.fonttype": "none",
}


def new_figure(height: float) -> tuple[Figure, Any]:
    """A figure as wide as the page, and its axes; height in inches."""
    figure = Figure(figsize=(9.2, height), layout="constrained")
    return figure, figure.subplots()


def shades(name: str) -> matplotlib.colors.Colormap:
    """A colour map of few colours: of more, a colour bar would be pixels in an SVG."""
    return matplotlib.colormaps[name].resampled(32)


def add_bar(figure: Figure, axes: Any, drawn: Any, label: str) -> None:
    """The colour bar of what was drawn."""
    bar = figure.colorbar(drawn, ax=axes, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]


def short(name: str) -> str:
    """A block's number."""
    return name.removeprefix("blocks.")


def styled(function: Any) -> Any:
    """A drawing function that draws in this style."""

    def drawn(*arguments: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            figure: Figure = function(*arguments)
            return figure

    drawn.__doc__ = function.__doc__
    return drawn
