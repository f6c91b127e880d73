"""Products on one thread."""

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from moesaic.golden.threads import one_thread


def counts() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info()]


def test_one_thread_and_then_as_before():
    before = torch.get_num_threads()
    try:
        with threadpool_limits(2):
            torch.set_num_threads(2)
            assert any(
                "openblas" in pool["internal_api"] for pool in threadpool_info()
            )  # NumPy's products are among them
            outside = counts()
            with pytest.raises(KeyError), one_thread():
                assert torch.get_num_threads() == 1
                inside = counts()
                raise KeyError
            assert set(outside) == {2} and set(inside) == {1}
            assert torch.get_num_threads() == 2 and counts() == outside
    finally:
        torch.set_num_threads(before)
