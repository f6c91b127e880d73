"""What a user is told when something fails: one line, and an exit status."""

import errno
import sys
from dataclasses import dataclass

from moesaic.errors import FAILED, INTERRUPTED, MoesaicError

__all__ = ["Problem", "explain"]


@dataclass(frozen=True)
class Problem:
    """What happened.

    Parameters
    ----------
    text : str
        One line.
    details : str
        More lines, or nothing.
    status : int
        Exit status.
    """

    text: str
    details: str
    status: int


def explain(error: BaseException) -> Problem | None:
    """The problem behind an exception; None for one that only a mistake in this program can raise."""
    if isinstance(error, KeyboardInterrupt):
        return Problem("interrupted; nothing was kept", "", INTERRUPTED)
    first, _, rest = str(error).partition("\n")
    if isinstance(error, MoesaicError):
        return Problem(first, rest, error.exit_status)
    if isinstance(error, MemoryError):
        return Problem("there must be more memory: it is used up", "", FAILED)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return Problem(f"the disk is full: {error.strerror}{where}; nothing was kept", "", FAILED)
        return Problem(f"{error.strerror or error}{where}", "", FAILED)
    if "safetensors" in sys.modules and (
        "No space left" in first or "File too large" in first
    ):  # its own class, without the number
        return Problem(f"the disk is full: {first}; nothing was kept", "", FAILED)
    return None
