"""The fabric of a part as a rectangle of tiles: its size and what is in it."""

from dataclasses import dataclass

from moesaic.boards.resources import Resources

__all__ = ["LUTS_PER_TILE", "Grid", "grid_of"]

LUTS_PER_TILE = 8  # of a CLB of UltraScale+, of the two slices of one of 7 series, of four slices of an ECP5
# Rows of clock regions, and rows of CLBs in each (UG572: 60; UG472: 50). The rows of the larger parts follow from
# whole numbers of DSP columns (24 slices a region) in DS891.
_REGIONS = {
    "xczu3": (3, 60),
    "xck26": (4, 60),
    "xczu7": (6, 60),
    "xczu9": (7, 60),
    "xczu28": (8, 60),
    "xc7z020": (3, 50),
}


@dataclass(frozen=True)
class Grid:
    """A rectangle of tiles with its resources spread evenly over it.

    The processing system, and the columns in which multipliers and memories really are, are left out.

    Parameters
    ----------
    columns, rows : float, tiles
    capacity : Resources
    """

    columns: float
    rows: float
    capacity: Resources

    @property
    def tiles(self) -> float:
        """In all."""
        return self.columns * self.rows

    def columns_per(self, amount: float, in_region: int, region_rows: int = 60) -> float:
        """Columns of a resource to each column of tiles, if a column has so many of it in a clock region."""
        return amount * region_rows / (in_region * self.tiles)


def grid_of(part: str, capacity: Resources) -> Grid | None:
    """The grid of a part; nothing if its rows are not known, as those of parts with several dies.

    Parameters
    ----------
    part : str
    capacity : Resources
        Of the whole part.

    Raises
    ------
    ValueError
        If it has no LUTs.
    """
    if capacity.lut <= 0:
        raise ValueError(f"capacity must have LUTs, not {capacity.lut!r}")
    rows = next((regions * rows for name, (regions, rows) in _REGIONS.items() if part.startswith(name)), None)
    return Grid(capacity.lut / LUTS_PER_TILE / rows, float(rows), capacity) if rows else None
