"""One thread for PyTorch and NumPy."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Products on one thread, and afterwards on as many as before; also a decorator.

    On matrices of a few hundred rows threads wait for each other longer than they compute, many times longer if another
    program has one of the cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
