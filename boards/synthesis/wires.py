"""Delay of a routed net by how far apart its ends are placed, from published terms of the wires between them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from moesaic.boards.synthesis.grid import Grid

__all__ = ["SOURCES", "EcpWires", "Wires", "XilinxWires", "wires_of"]

SOURCES = {
    "zynqmp": "RapidWright, timing/ultrascaleplus/intersite_delay_terms.txt (FPT 2019, Maidee et al.; xcvu3p-2): "
    "k0 + k1 L + k2 d for each wire, pins of slices; straight ways without detours; no arcs of DSP slices",
    "zynq7000": "assumed: the terms of UltraScale+, 2.25 times as long, as the families' nets to one load are",
    "ecp5": "nextpnr, ecp5/arch.cc: the estimate that its placer uses, speed grade 8 at 1.2 V; not fitted",
}


class Wires(Protocol):
    """Anything that knows the delay of a net by distance."""

    def delay(self, columns: float, rows: float, pin: str = "") -> float:
        """Delay in ns across so many tiles to a kind of pin."""


@dataclass(frozen=True)
class _Wire:
    """One kind of wire of UltraScale+: tiles that it spans, and its delay in ps."""

    tiles: int
    ps: float


# Delay terms in ps: k0, k1; then for single, double, quad and long wires: tiles, L, k2, and what a column of block RAM
# adds to d. A column of DSP slices adds 3.
_K0, _K1_ACROSS, _K1_ALONG = 43.0, 3.5, 3.6
_ACROSS = ((1, 1.0, 2.3, 16.0), (2, 5.0, 2.3, 16.0), (4, 10.0, 2.4, 20.0), (12, 14.0, 1.3, 20.0))
_ALONG = ((1, 1.0, 13.5), (2, 3.0, 5.5), (4, 5.0, 9.5), (12, 12.0, 3.5))
_DSP, _REGION_BORDER = 3.0, 3.0
# Into a slice: a LUT (mean of its six pins), a flip-flop past the LUT, enables and resets, others past the LUT.
_PINS = {"LUT": 51.0, "D": 165.0, "control": 5.0, "": 65.0}


@dataclass(frozen=True)
class XilinxWires:
    """Wires of UltraScale+, or of a slower family by a factor.

    Parameters
    ----------
    memory_columns, dsp_columns : float
        Columns of block RAM and of DSP slices to each column of CLBs.
    factor : float
        How many times longer all of it takes.
    """

    memory_columns: float = 0.0
    dsp_columns: float = 0.0
    factor: float = 1.0
    _far: dict[str, list[float]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def across(self) -> tuple[_Wire, ...]:
        """Along a row, over columns."""
        return tuple(
            _Wire(
                tiles,
                _K0 + _K1_ACROSS * length + k2 * tiles * (1 + memory * self.memory_columns + _DSP * self.dsp_columns),
            )
            for tiles, length, k2, memory in _ACROSS
        )

    @cached_property
    def along(self) -> tuple[_Wire, ...]:
        """Along a column, over rows; a border of clock regions is every 60."""
        return tuple(
            _Wire(tiles, _K0 + _K1_ALONG * length + k2 * tiles * (1 + _REGION_BORDER / 60))
            for tiles, length, k2 in _ALONG
        )

    def _least(self, axis: str, tiles: float) -> float:
        """The least delay of wires that reach so far, ps; between whole tiles in proportion."""
        table = self._far.setdefault(axis, [0.0])
        wires = self.across if axis == "across" else self.along
        while len(table) < tiles + 2:
            table.append(min(wire.ps + table[max(len(table) - wire.tiles, 0)] for wire in wires))
        whole = int(tiles)
        return table[whole] + (tiles - whole) * (table[whole + 1] - table[whole])

    def delay(self, columns: float, rows: float, pin: str = "") -> float:
        """Delay in ns across so many tiles to a kind of pin (``LUT``, ``D``, ``control`` or other)."""
        wires = max(self._least("across", columns) + self._least("along", rows), _K0)
        return self.factor * (wires + _PINS[pin]) / 1e3


@dataclass(frozen=True)
class EcpWires:
    """Wires of an ECP5 as nextpnr's placer takes them.

    Parameters
    ----------
    unit : float, ns
        ``(120 - 22 s)`` ps, with s = 3 for speed grade 8 at 1.2 V.
    """

    unit: float = 0.054

    def delay(self, columns: float, rows: float, pin: str = "") -> float:
        """Delay in ns across so many tiles; all pins are alike."""
        far = max(columns - 5, 0.0) + max(rows - 5, 0.0)
        return self.unit * (6 + far + 2 * (min(columns, 5.0) + min(rows, 5.0)))


def wires_of(family: str, grid: Grid) -> XilinxWires:
    """Wires of a family on a grid.

    Raises
    ------
    ValueError
        If the family is unknown.
    """
    if family not in ("zynqmp", "zynq7000"):
        raise ValueError(f"family must be zynqmp or zynq7000, not {family!r}")
    memory = grid.columns_per(grid.capacity.bram36, 12)
    dsp = grid.columns_per(grid.capacity.dsp, 24)
    return XilinxWires(memory, dsp, 1.0 if family == "zynqmp" else 2.25)
