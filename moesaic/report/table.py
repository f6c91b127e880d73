"""Numbers in rows and columns, as CSV."""

import csv
import io
from dataclasses import dataclass

__all__ = ["Cell", "Table"]

Cell = str | int | float | None
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute with


@dataclass(frozen=True)
class Table:
    """What a picture draws.

    Parameters
    ----------
    columns : tuple of str
        With units at their ends: `latency_ms`.
    rows : tuple of tuple
        A cell for each column; None where there is no value.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def csv(self) -> str:
        """A line for the columns and one for each row. Numbers are exact: what is read back is equal."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_written(cell) for cell in row] for row in self.rows)
        return text.getvalue()


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str):  # reports come from strangers too
        return f"'{cell}" if cell.startswith(_FORMULA) else cell
    return repr(float(cell)) if isinstance(cell, float) else str(int(cell))
