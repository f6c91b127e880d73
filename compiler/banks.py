"""Where weights lie in the banks of a DRAM, so that ports that read in step do not close each other's rows."""

from functools import cache
from itertools import product

from moesaic.compiler.manifest import PAGE_BYTES, SPREAD_BYTES
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["BANKS", "bytes_apart", "places", "row_bytes"]

BANKS = 8
_STEPS = 16  # of a row, in which places are tried


def row_bytes(config: AcceleratorConfig) -> int:
    """Bytes of a row of one bank (`docs/memory.md`): 8 KiB, or 2 KiB where ports of 64 bits speak of a narrow DDR3."""
    return (SPREAD_BYTES if config.port_bits >= 128 else SPREAD_BYTES // 4) // BANKS


def bytes_apart(config: AcceleratorConfig) -> int:
    """From the weights of one port to those of the next, so that ports share one turn of the banks. A single port needs
    no gap: 0.
    """
    if config.ports == 1:
        return 0
    return max(BANKS * row_bytes(config) // config.ports // PAGE_BYTES, 1) * PAGE_BYTES


@cache
def places(sizes: tuple[int, ...], row: int) -> tuple[int, ...] | None:
    """Where the two matrices of an expert should begin, modulo two rows.

    Ports are an even number of rows apart. The second matrix of one expert is read between the first ones of two others
    (`compiler.schedule`), so every matrix is a jump. While some ports have made it and others have not, they meet in a
    bank unless rows that are left and rows that are entered differ in being odd.

    Parameters
    ----------
    sizes : tuple of int, bytes of one port
    row : int, bytes

    Returns
    -------
    Places with the largest distance from an end of a row, behind a jump and before one; None if there are not two
    matrices, or no place will do.
    """
    if len(sizes) != 2 or not all(sizes):
        return None
    best, found = 0, None
    for starts in product(range(0, 2 * row, row // _STEPS), repeat=2):
        ends = [(start + size - 1) % (2 * row) for start, size in zip(starts, sizes, strict=True)]
        if ends[0] // row == starts[1] // row or ends[1] // row == starts[0] // row:
            continue
        margin = min(*(row - start % row for start in starts), *(end % row for end in ends))
        if margin > best:
            best, found = margin, starts
    return found


def next_place(offset: int, place: int, turn: int) -> int:
    """The first number from `offset` on that is `place` modulo `turn`."""
    return offset + (place - offset) % turn
