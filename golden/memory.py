"""Large temporaries without asking the system for their memory each time."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_memory"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
USUAL = 32 << 20  # bytes; what glibc comes to by itself after the first large blocks
LARGE = 1 << 30


@contextmanager
def kept_memory() -> Iterator[bool]:
    """Freed blocks of up to 1 GiB stay with the process while the block of code runs, and go back to the system
    afterwards.

    By itself the C library gets every array above 32 MiB from the system, page by page, and returns it at once: on
    attention over 1,201 tokens (scores of 12 heads, 69 MB) that is nearly half of the time. Elsewhere than with glibc
    nothing happens: the value is whether it did.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        yield False
        return
    done = bool(mallopt(M_MMAP_THRESHOLD, LARGE)) and bool(mallopt(M_TRIM_THRESHOLD, 2 * LARGE - 1))
    try:
        yield done
    finally:
        mallopt(M_MMAP_THRESHOLD, USUAL)
        mallopt(M_TRIM_THRESHOLD, 2 * USUAL)
        trim(0)
