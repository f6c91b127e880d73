"""How far apart the ends of a net are: between blocks by their places, within a block by its size."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from moesaic.boards.synthesis.blocks import KINDS, Below, Blocks, sinks_of
from moesaic.boards.synthesis.grid import Grid
from moesaic.boards.synthesis.netlist import Net, Netlist, Pin
from moesaic.boards.synthesis.placement import RENT, Placement
from moesaic.boards.synthesis.wires import Wires

__all__ = ["Distances", "NetDelays", "net_length"]

Floats = NDArray[np.float64]


def net_length(tiles: float, rent: float = RENT) -> float:
    """Mean length of a net in a block of so many tiles, in tiles (Donath, 1979, for a square that is placed well)."""
    if tiles <= 1:
        return 0.0
    near = 7 * (tiles ** (rent - 0.5) - 1) / (4 ** (rent - 0.5) - 1)
    far = (1 - tiles ** (rent - 1.5)) / (1 - 4 ** (rent - 1.5))
    return 2 / 9 * (near - far) * (1 - 4 ** (rent - 1)) / (1 - tiles ** (rent - 1))


class Distances:
    """Columns and rows between blocks.

    Between two blocks: the mean over their cells, which lie anywhere in their pieces, and no less than between cells of
    one block of both their sizes. Within a block: the mean length of a net to one load, and as much more for the
    farthest of several as the maximum of as many exponential lengths has (harmonic numbers), up to its size.

    Parameters
    ----------
    blocks : Blocks
    placement : Placement
    grid : Grid
    """

    def __init__(self, blocks: Blocks, placement: Placement, grid: Grid) -> None:
        starts = np.searchsorted(placement.block, np.arange(len(blocks.needs)))
        self.tiles = self._tiles(blocks, grid)
        self.apart = [self._apart(placement, starts, axis) for axis in (0, 1)]

    @staticmethod
    def _tiles(blocks: Blocks, grid: Grid) -> Floats:
        """Tiles that each block fills, by what it takes most of."""
        room = np.array([float(grid.capacity.to_dict()[kind]) for kind in KINDS])
        share: Floats = (blocks.needs / np.maximum(room, 1e-9)).max(axis=1)
        return share * grid.tiles

    @staticmethod
    def _apart(placement: Placement, starts: NDArray[np.int64], axis: int) -> Floats:
        """Mean distance of cells of each two blocks along an axis."""
        at, size = placement.centre[:, axis], placement.size[:, axis]
        between = np.maximum(np.abs(at[:, None] - at[None, :]), (size[:, None] + size[None, :]) / 6)
        between *= placement.share[:, None] * placement.share[None, :]
        found: Floats = np.add.reduceat(np.add.reduceat(between, starts, axis=0), starts, axis=1)
        return found

    def within(self, tiles: float, loads: int) -> tuple[float, float]:
        """Between cells of one block, to the farthest of a net's loads."""
        farthest = math.log(max(loads, 1)) + (0.577 if loads > 1 else 1.0)
        length = min(net_length(tiles) * max(farthest, 1.0), 2 * math.sqrt(tiles)) / 2
        return length, length

    def between(self, one: int, other: int, loads: int) -> tuple[float, float]:
        """From a cell of one block to a cell of another, or of the same."""
        if one == other:
            return self.within(float(self.tiles[one]), loads)
        least = net_length(float(self.tiles[one] + self.tiles[other])) / 2
        return max(float(self.apart[0][one, other]), least), max(float(self.apart[1][one, other]), least)


class NetDelays:
    """Delays of the nets of a placed design, as `timing` asks for them.

    A module that is placed several times has the delay of its worst place, a net to several blocks that to the
    farthest.

    Parameters
    ----------
    blocks : Blocks
    distances : Distances
    wires : Wires
    """

    def __init__(self, blocks: Blocks, distances: Distances, wires: Wires) -> None:
        self.blocks, self.distances, self.wires = blocks, distances, wires
        self._known: dict[tuple[str, Below, tuple[Below, ...], int, str], float] = {}

    def of(self, module: str) -> Callable[[Net, Pin, int], float]:
        """For one module: delay in ns by net, pin that it leads to, and loads."""
        joins = self.blocks.joins[module]

        def delay(net: Net, pin: Pin, loads: int) -> float:
            driver = joins.drivers.get(net, ())
            sinks = sinks_of(self.blocks.joins, joins.netlist, pin) or ((pin.cell,),)
            key = (module, driver, sinks, loads, _pin_kind(joins.netlist, pin, self.blocks.joins))
            if key not in self._known:
                self._known[key] = self._worst(*key)
            return self._known[key]

        return delay

    def _worst(self, module: str, driver: Below, sinks: tuple[Below, ...], loads: int, kind: str) -> float:
        paths, worst = self.blocks.paths, 0.0
        for path in self.blocks.places[module]:
            one = paths[(*path, *driver)]
            for sink in sinks:
                columns, rows = self.distances.between(one, paths[(*path, *sink)], loads)
                worst = max(worst, self.wires.delay(columns, rows, kind))
        return worst


def _pin_kind(netlist: Netlist, pin: Pin, children: Mapping[str, object]) -> str:
    """What `wires` knows of the pin: that of a child's register or LUT is taken for a LUT's."""
    kind = netlist.cells[pin.cell].kind
    if kind in children or kind.startswith(("LUT", "INV")):
        return "LUT"
    if kind.startswith("FD"):
        return "D" if pin.port == "D" else "control"
    return ""
