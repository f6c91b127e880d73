"""Memory that is kept while large temporaries come and go."""

import platform
import resource
import sys

import numpy as np
import pytest

from moesaic.golden.memory import kept_memory

MIB = 1 << 20


def faults() -> int:
    """Pages that the system had to provide for 20 arrays of 64 MiB, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for value in range(20):
        np.full(64 * MIB, value, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="this is about glibc")
def test_freed_memory_is_used_again():
    outside = faults()
    with kept_memory() as done:
        inside = faults()
    assert done and inside < outside / 5
    assert faults() > 5 * inside


def test_errors_pass_through():
    with pytest.raises(KeyError), kept_memory():
        raise KeyError
