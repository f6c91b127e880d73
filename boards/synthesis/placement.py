"""A coarse placement: the blocks of a design on a grid, by halving it again and again."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesaic.boards.synthesis.blocks import KINDS, Blocks
from moesaic.boards.synthesis.grid import Grid
from moesaic.boards.synthesis.halves import fewer_cut
from moesaic.boards.synthesis.overflow import relieved
from moesaic.boards.synthesis.refinement import refined

__all__ = ["Placement", "place"]

REGION_TILES = 100.0  # no region is halved further
WHOLE = 0.02  # of a region: what takes less is not cut
UNEVEN = 0.4  # of the room that even halves leave, a half may fill
FILL = 0.9  # of what is shortest, in the part of the device that is used
COHESION, RENT = 2.5, 0.65  # nets between the halves of a block: 2.5 n^0.65 (Landman and Russo, 1971)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Pieces of blocks on a grid.

    A block that crosses a border has pieces on both sides, so no region holds more than it has.

    Parameters
    ----------
    block : array of int, [pieces]
        Ascending.
    share : array, [pieces]
        Of the block; its pieces' add up to 1.
    centre, size : array, [pieces, 2]
        Of the region that the piece is in: columns, rows.
    """

    block: NDArray[np.int64]
    share: Floats
    centre: Floats
    size: Floats


@dataclass
class _Pieces:
    """Pieces under way: block, share, and the centre of their regions."""

    block: NDArray[np.int64]
    share: Floats
    centre: Floats

    def split(self, piece: int, kept: float) -> int:
        """Keep so much of a piece, and make a new one of the rest."""
        self.block = np.append(self.block, self.block[piece])
        self.share = np.append(self.share, self.share[piece] - kept)
        self.centre = np.vstack([self.centre, self.centre[piece]])
        self.share[piece] = kept
        return len(self.block) - 1


def _attraction(blocks: Blocks) -> Floats:
    """Nets between blocks, and what holds each block together."""
    result = blocks.weights.copy()
    cells = np.maximum(blocks.needs[:, :2].max(axis=1), 1.0)
    np.fill_diagonal(result, 4 * COHESION * (cells / 2) ** RENT)
    return result


def _between(pieces: _Pieces, attraction: Floats, some: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
    found: Floats = attraction[np.ix_(pieces.block[some], pieces.block[others])]
    found = found * pieces.share[some][:, None] * pieces.share[others][None, :]
    return found


def _order(pieces: _Pieces, attraction: Floats, inside: NDArray[np.int64], axis: int) -> Floats:
    """Where the pieces of a region want to be along an axis: least squares of net lengths, those outside held."""
    outside = np.setdiff1d(np.arange(len(pieces.block)), inside)
    among = _between(pieces, attraction, inside, inside)
    np.fill_diagonal(among, 0.0)
    if not len(outside):
        among += 1e-3 * among.sum() / len(inside) ** 2  # what nothing joins is drawn to all
        laplacian = np.diag(among.sum(axis=1)) - among
        scale = 1 / np.sqrt(np.maximum(np.diag(laplacian), 1e-9))
        vector: Floats = (
            np.linalg.eigh(laplacian * scale[:, None] * scale[None, :])[1][:, min(1, len(inside) - 1)] * scale
        )
        return vector if vector[np.argmax(np.abs(vector))] >= 0 else -vector
    pull = _between(pieces, attraction, inside, outside)
    held = pull.sum(axis=1) + 1e-6
    middle = pieces.centre[inside[0], axis]
    wanted = pull @ (pieces.centre[outside, axis] - middle)
    solved: Floats = np.linalg.solve(np.diag(among.sum(axis=1) + held) - among, wanted)
    return solved


def _halve(
    pieces: _Pieces, needs: Floats, room: Floats, inside: NDArray[np.int64], wish: Floats
) -> tuple[list[int], list[int]]:
    """Pieces of a region for its two halves: half of each kind of piece in each, by what it takes most of."""
    use = needs[pieces.block[inside]] * pieces.share[inside][:, None] / room
    kind, middle = use.argmax(axis=1), float(np.median(wish)) if len(wish) else 0.0
    lower: list[int] = []
    upper: list[int] = []
    for number in range(len(KINDS)):
        mine = np.flatnonzero(kind == number)
        mine = mine[np.lexsort((inside[mine], wish[mine]))]
        left = use[mine, number].sum() / 2
        for at in mine:
            piece, amount = int(inside[at]), use[at, number]
            if amount <= left + 1e-9 and (amount or wish[at] < middle):
                lower.append(piece)
            elif left > 1e-9 and amount <= WHOLE:
                (lower if 2 * left >= amount else upper).append(piece)
            elif left > 1e-9 and amount:
                lower.append(piece)
                upper.append(pieces.split(piece, pieces.share[piece] * left / amount))
                left = 0.0
            else:
                upper.append(piece)
            left = max(left - amount, 0.0)
    return lower, upper


def _improved(
    pieces: _Pieces,
    attraction: Floats,
    needs: Floats,
    room: Floats,
    sides: tuple[list[int], list[int]],
    axis: int,
    apart: float,
) -> tuple[list[int], list[int]]:
    """Both halves of a region with fewer nets cut; their centres are so far apart along an axis."""
    inside = np.array(sorted((*sides[0], *sides[1])), dtype=np.int64)
    outside = np.setdiff1d(np.arange(len(pieces.block)), inside)
    among = _between(pieces, attraction, inside, inside)
    np.fill_diagonal(among, 0.0)
    middle, there = pieces.centre[inside[0], axis], pieces.centre[outside, axis]
    longer = (np.abs(middle + apart / 2 - there) - np.abs(middle - apart / 2 - there)) / apart
    use = needs[pieces.block[inside]] * pieces.share[inside][:, None]
    now = np.isin(inside, sides[1])
    even = use.sum(axis=0) / 2
    limit = even + UNEVEN * np.maximum(room / 2 - even, 0.0)
    upper = fewer_cut(among, _between(pieces, attraction, inside, outside) @ longer, use, limit, now)
    return [int(piece) for piece in inside[~upper]], [int(piece) for piece in inside[upper]]


def _halved(
    blocks: Blocks, attraction: Floats, size: Floats, middle: Floats, room: Floats
) -> tuple[Floats, Floats, Floats]:
    """Share of each block in each region [regions, blocks], the regions' centres and their size."""
    count = len(blocks.needs)
    pieces = _Pieces(np.arange(count), np.ones(count), np.tile(middle, (count, 1)))
    regions = [(np.arange(count), middle)]
    while size.prod() > REGION_TILES:
        axis = int(size[1] >= size[0])
        size, room = size.copy(), room / 2
        size[axis] /= 2
        halves = []
        for inside, centre in regions:
            sides: tuple[list[int], list[int]] = [], []
            if len(inside):
                wish = _order(pieces, attraction, inside, axis)
                wish = np.round(wish / max(float(np.abs(wish).max()), 1e-12), 9)
                sides = _halve(pieces, blocks.needs, 2 * room, inside, wish)
                sides = _improved(pieces, attraction, blocks.needs, 2 * room, sides, axis, float(size[axis]))
            for sign, side in zip((-1, 1), sides, strict=True):
                members, there = np.array(sorted(side), dtype=np.int64), centre.copy()
                there[axis] += sign * size[axis] / 2
                pieces.centre[members] = there
                halves.append((members, there))
        regions = halves
    share = np.zeros((len(regions), count))
    for region, (members, _) in enumerate(regions):
        np.add.at(share[region], pieces.block[members], pieces.share[members])
    return share, np.stack([centre for _, centre in regions]), size


def place(blocks: Blocks, grid: Grid) -> Placement:
    """A placement of least wire length, roughly: regions are halved, and pieces go to the half that they are drawn to.

    Parameters
    ----------
    blocks : Blocks
    grid : Grid
        If the design needs little of it, a part in its middle is used.

    Raises
    ------
    ValueError
        If the design does not fit.
    """
    room = np.array([float(grid.capacity.to_dict()[kind]) for kind in KINDS])
    total = blocks.needs.sum(axis=0)
    for kind, used, there in zip(KINDS, total, room, strict=True):
        if used > there:
            raise ValueError(f"grid must have {used:g} of {kind} for the design, not {there:g}")
    room = np.maximum(room, 1e-9)
    part = min(max(float((total / room).max()) / FILL, REGION_TILES / grid.tiles), 1.0)
    middle = grid.columns / 2, grid.rows / 2
    size = np.array([grid.columns, grid.rows]) * math.sqrt(part)
    share, centres, extent = _halved(blocks, attraction := _attraction(blocks), size, np.array(middle), room * part)
    region, block = np.nonzero(share)
    apart = np.abs(centres[:, None, :] - centres[None, :, :]).sum(axis=2)
    each = room * part / len(centres)
    block, part_of, region = relieved(block, share[region, block], region, blocks.needs, each, apart)
    pull = attraction[np.ix_(block, block)] * part_of[:, None] * part_of[None, :]
    np.fill_diagonal(pull, 0.0)
    centre = refined(pull, blocks.needs[block] * part_of[:, None], centres[region], each)
    order = np.lexsort((centre[:, 1], centre[:, 0], block))
    return Placement(block[order], part_of[order], centre[order], np.tile(extent, (len(order), 1)))
