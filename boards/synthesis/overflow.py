"""Regions that hold more than they have: what is too much goes to the nearest regions with room for it."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["relieved"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEAST = 1e-3  # of a piece, that is worth a piece of its own


def relieved(
    block: Ints, share: Floats, region: Ints, needs: Floats, room: Floats, apart: Floats
) -> tuple[Ints, Floats, Ints]:
    """Blocks, shares and regions of the pieces once no region is too full, as far as there is room elsewhere.

    Parameters
    ----------
    block, region : array of int, [pieces]
    share : array, [pieces]
        Of the block.
    needs : array, [blocks, kinds]
    room : array, [kinds]
        Of each region.
    apart : array, [regions, regions]
        Distance of their centres.
    """
    blocks, shares, regions = block.tolist(), share.tolist(), region.tolist()
    used = np.zeros((len(apart), len(room)))
    np.add.at(used, region, needs[block] * share[:, None])
    for full in range(len(apart)):
        near = np.argsort(apart[full], kind="stable")[1:]
        for kind in range(len(room)):
            members = [piece for piece, where in enumerate(regions) if where == full and needs[blocks[piece], kind] > 0]
            members.sort(key=lambda piece: (needs[blocks[piece]] / room).max() / needs[blocks[piece], kind])
            for piece in members:
                excess = float(used[full, kind] - room[kind])
                if excess <= 1e-6:
                    break
                need = needs[blocks[piece]]
                taken = min(shares[piece], excess / float(need[kind]))
                for there in near:
                    free = np.where(need > 0, (room - used[there]) / np.maximum(need, 1e-12), np.inf)
                    part = min(taken, float(free.min()))
                    if part * float((need / room).max()) < LEAST and part < taken:
                        continue
                    if part <= 0:
                        continue
                    used[full] -= part * need
                    used[there] += part * need
                    shares[piece] -= part
                    taken -= part
                    blocks.append(blocks[piece])
                    shares.append(part)
                    regions.append(int(there))
                    if taken <= 1e-12:
                        break
    kept = [piece for piece, left in enumerate(shares) if left > 1e-12]
    return np.array(blocks)[kept], np.array(shares)[kept], np.array(regions)[kept]
