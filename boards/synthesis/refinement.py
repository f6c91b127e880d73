"""Pieces of a coarse placement moved, one after the other, to where their nets are shorter."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["refined", "wire_length"]

Floats = NDArray[np.float64]
PASSES = 6


def wire_length(pull: Floats, centre: Floats) -> float:
    """Of all nets between pieces, columns and rows together, in tiles.

    Parameters
    ----------
    pull : array, [pieces, pieces]
        Nets between each two, symmetric.
    centre : array, [pieces, 2]
    """
    return 0.5 * sum(
        float((pull * np.abs(centre[:, axis][:, None] - centre[:, axis][None, :])).sum()) for axis in (0, 1)
    )


def refined(pull: Floats, use: Floats, centre: Floats, room: Floats) -> Floats:
    """Better centres: each piece goes to the region of least wire length among those that have room for it.

    Parameters
    ----------
    pull : array, [pieces, pieces]
        Nets between each two, symmetric, nothing on the diagonal.
    use : array, [pieces, kinds]
        What each takes.
    centre : array, [pieces, 2]
        Of the region that it is in; the regions are a full grid of these.
    room : array, [kinds]
        Of each region; no region that has enough of a kind comes to have too little.
    """
    marks = [np.unique(np.round(centre[:, axis], 6)) for axis in (0, 1)]
    at = np.stack([np.searchsorted(marks[axis], np.round(centre[:, axis], 6)) for axis in (0, 1)], axis=1)
    used = np.zeros((len(marks[0]), len(marks[1]), len(room)))
    np.add.at(used, (at[:, 0], at[:, 1]), use)
    order = np.argsort(-pull.sum(axis=1), kind="stable")
    apart = [np.abs(mark[:, None] - mark[None, :]) for mark in marks]
    for _ in range(PASSES):
        moved = 0
        for piece in order:
            across, along = (
                apart[axis] @ np.bincount(at[:, axis], weights=pull[piece], minlength=len(marks[axis]))
                for axis in (0, 1)
            )
            gain = across[at[piece, 0]] + along[at[piece, 1]] - across[:, None] - along[None, :]
            here = int(at[piece, 0]), int(at[piece, 1])
            gain[(used + (use[piece] - 1e-6) > room).any(axis=2)] = 0.0
            best = int(np.argmax(np.round(gain, 6)))
            there = best // gain.shape[1], best % gain.shape[1]
            if gain[there] > 1e-6:
                used[here] -= use[piece]
                used[there] += use[piece]
                at[piece] = there
                moved += 1
        if moved < len(order) / 200:
            break
    return np.stack([marks[axis][at[:, axis]] for axis in (0, 1)], axis=1)
