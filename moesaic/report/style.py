"""The one quiet style of all pictures, and how they are saved."""

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from moesaic.flow.folder import put_file

__all__ = ["COLOURS", "INK", "KINDS", "MEANINGS", "new_figure", "save", "short", "styled"]

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
_STYLE: dict[Any, Any] = {
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
    "svg.fonttype": "path",
}


def new_figure(height: float) -> tuple[Figure, Any]:
    """A figure as wide as the page, and its axes; height in inches."""
    figure = Figure(figsize=(9.2, height), layout="constrained")
    return figure, figure.subplots()


def short(name: str) -> str:
    """A block's number."""
    return name.removeprefix("blocks.")


def styled(function: Any) -> Any:
    """A drawing function that draws in this style."""

    def drawn(*arguments: Any) -> Figure:
        with matplotlib.rc_context(_STYLE):
            figure: Figure = function(*arguments)
            return figure

    drawn.__doc__ = function.__doc__
    return drawn


def save(figure: Figure, path: Path) -> str:
    """Write a PNG, and return the figure as SVG text."""
    with matplotlib.rc_context(_STYLE):
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150)
        put_file(path, picture.getvalue())
        figure.set_layout_engine("none")  # what has been laid out stays: half of the time
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
