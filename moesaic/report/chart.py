"""A chart: a figure and the numbers that it draws, written beside each other."""

import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from moesaic.flow.folder import put_file
from moesaic.report.style import STYLE
from moesaic.report.table import Table

__all__ = ["SUFFIXES", "Chart"]

SUFFIXES = (".svg", ".png", ".csv")


@dataclass(frozen=True)
class Chart:
    """One picture.

    Parameters
    ----------
    name : str
        In the page.
    file : str
        Name of its files, without suffix.
    figure : Figure
    table : Table
    """

    name: str
    file: str
    figure: Figure
    table: Table

    def write(self, folder: Path) -> str:
        """Put all files into a folder, each whole or not at all, and return the SVG.

        Equal charts are equal bytes: nothing tells when they were drawn. Texts of the SVG are texts, which can be
        searched and edited.
        """
        with matplotlib.rc_context(STYLE):
            pixels, drawn = io.BytesIO(), io.StringIO()
            self.figure.savefig(pixels, format="png", dpi=150)
            self.figure.set_layout_engine("none")  # what has been laid out stays: half of the time
            self.figure.savefig(drawn, format="svg", metadata={"Date": None})
        contents = (drawn.getvalue().encode(), pixels.getvalue(), self.table.csv().encode())
        for suffix, content in zip(SUFFIXES, contents, strict=True):
            put_file(folder / f"{self.file}{suffix}", content)
        return drawn.getvalue()
