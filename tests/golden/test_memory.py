"""Memory that is kept while large temporaries come and go."""

import platform
import subprocess
import sys

import pytest

from moesaic.golden.memory import kept_memory

# In a process of its own: what ran before leaves free memory behind.
FAULTS = """
import resource
import numpy as np
from moesaic.golden.memory import kept_memory

def faults():
    "Pages that the system had to provide for 20 arrays of 64 MiB, one after the other."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for value in range(20):
        np.full(1 << 26, value, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

outside = faults()
with kept_memory() as done:
    inside = faults()
print(outside, inside, faults(), int(done))
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="this is about glibc")
def test_freed_memory_is_used_again() -> None:
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    outside, inside, after, done = map(int, run.stdout.split())
    assert done and inside < outside / 5 and after > 5 * inside


def test_errors_pass_through() -> None:
    with pytest.raises(KeyError), kept_memory():
        raise KeyError
