"""What each cell of a mapped netlist costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.boards.resources import Resources

__all__ = ["CellCounts", "UnknownCell", "resources_of"]


class UnknownCell(ValueError):
    """A netlist has a cell that this table does not know, so the design was not mapped."""


# Logic LUTs: one each, whatever their inputs. Vivado packs many pairs of small ones into one LUT6 with two outputs;
# that is not counted on.
_LUT = {"INV": 1, **{f"LUT{inputs}": 1 for inputs in range(1, 7)}}
# LUT RAM and shift registers: the LUTs they occupy (UG474 table 2-3, UG574 table 2-1).
_LUTRAM = {
    "RAM16X1S": 1,
    "RAM16X1D": 2,
    "RAM32X1S": 1,
    "RAM32X1D": 2,
    "RAM32M": 4,
    "RAM32M16": 8,
    "RAM64X1S": 1,
    "RAM64X1D": 2,
    "RAM64M": 4,
    "RAM64M8": 8,
    "RAM64X8SW": 8,
    "RAM32X16DR8": 8,
    "RAM128X1S": 2,
    "RAM128X1D": 4,
    "RAM256X1S": 4,
    "RAM256X1D": 8,
    "RAM512X1S": 8,
}
_SHIFT = {"SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}
_FF = {"FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1"}
_DSP = {"DSP48E1", "DSP48E2"}
_BRAM36 = {"RAMB36E1": 1.0, "RAMB36E2": 1.0, "RAMB18E1": 0.5, "RAMB18E2": 0.5}
_URAM = {"URAM288", "URAM288_BASE"}
# Take no LUT: multiplexers and carry chains of the slice, constants.
_FREE = {"MUXF7", "MUXF8", "MUXF9", "CARRY4", "CARRY8", "VCC", "GND", "BUFG", "$scopeinfo"}


@dataclass(frozen=True)
class CellCounts:
    """Cells of one module by type, its children aside.

    Parameters
    ----------
    cells : mapping of str to int
    """

    cells: Mapping[str, int]

    def _sum(self, table: Mapping[str, int]) -> int:
        return sum(table.get(cell, 0) * number for cell, number in self.cells.items())

    @property
    def lut_logic(self) -> int:
        """LUTs used as logic."""
        return self._sum(_LUT)

    @property
    def lut_memory(self) -> int:
        """LUTs used as memory or shift registers."""
        return self._sum(_LUTRAM) + self._sum(_SHIFT)

    @property
    def carry8(self) -> int:
        """Carry chains of eight bits; Yosys maps to chains of four."""
        return self.cells.get("CARRY8", 0) + -(-self.cells.get("CARRY4", 0) // 2)


def resources_of(counts: CellCounts) -> Resources:
    """The resources of one module.

    Raises
    ------
    UnknownCell
        If a cell is in no table.
    """
    known = {*_LUT, *_LUTRAM, *_SHIFT, *_FF, *_DSP, *_BRAM36, *_URAM, *_FREE}
    if unknown := sorted(counts.cells.keys() - known):
        raise UnknownCell(f"cells must be mapped to a device that is known here, not {unknown[0]!r}")
    cells = counts.cells
    return Resources(
        lut=counts.lut_logic + counts.lut_memory,
        ff=sum(number for cell, number in cells.items() if cell in _FF),
        dsp=sum(number for cell, number in cells.items() if cell in _DSP),
        bram36=sum(_BRAM36.get(cell, 0.0) * number for cell, number in cells.items()),
        uram=sum(number for cell, number in cells.items() if cell in _URAM),
    )
