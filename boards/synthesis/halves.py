"""Two halves of a region improved: pieces change sides while that cuts fewer nets (Fiduccia and Mattheyses, 1982)."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["fewer_cut"]

Floats = NDArray[np.float64]
PASSES = 4
STALE = 60  # moves without a gain that end a pass


def fewer_cut(among: Floats, outside: Floats, use: Floats, room: Floats, upper: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pieces are in the upper half, after all exchanges that help.

    Each pass moves every piece at most once, the best first, even if that cuts more for a while, and keeps the best
    state on the way.

    Parameters
    ----------
    among : array, [pieces, pieces]
        Nets between each two, symmetric, nothing on the diagonal.
    outside : array, [pieces]
        How much longer the nets to other regions are from the upper half.
    use : array, [pieces, kinds]
        What each takes.
    room : array, [kinds]
        Of each half; a half that has enough does not come to have too little.
    upper : array of bool, [pieces]
        Where they are now.
    """
    side = np.where(upper, 1.0, -1.0)
    used = {sign: use[side == sign].sum(axis=0) for sign in (-1.0, 1.0)}
    for _ in range(PASSES):
        best_side, best_used = side.copy(), dict(used)
        drawn = among @ side - outside  # to the upper half
        free = np.ones(len(side), dtype=bool)
        sum_, best, since = 0.0, 0.0, 0
        for _ in range(len(side)):
            fits = np.where(
                side < 0, (use <= room - used[1.0] + 1e-9).all(axis=1), (use <= room - used[-1.0] + 1e-9).all(axis=1)
            )
            gain = np.where(free & fits, -side * drawn, -np.inf)
            piece = int(np.argmax(gain))
            if gain[piece] == -np.inf or since > STALE:
                break
            sum_ += float(gain[piece])
            used[side[piece]] = used[side[piece]] - use[piece]
            side[piece] = -side[piece]
            used[side[piece]] = used[side[piece]] + use[piece]
            drawn = drawn + 2 * among[:, piece] * side[piece]
            free[piece] = False
            since += 1
            if sum_ > best + 1e-6:
                best_side, best_used, best, since = side.copy(), dict(used), sum_, 0
        side, used = best_side, best_used
        if best <= 1e-6:
            break
    result: NDArray[np.bool_] = side > 0
    return result
