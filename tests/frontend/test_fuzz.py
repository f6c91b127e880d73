"""No module brings a traceback: random ones are captured, or refused in one line (`random_modules.py` tries more)."""

from collections import Counter

import pytest
import random_modules
from whole import assert_runs_bit_exact

from moesaic.errors import MoesaicError

MODULES, SHARES = 60, 6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", range(SHARES))
def test_random_modules(share):
    became, first = Counter(), None
    for number in range(share, MODULES, SHARES):
        what, result = random_modules.attempt(number)
        became[what] += 1
        first = result if what == "captured" and first is None else first
    assert became["refused"] and became.total() == MODULES // SHARES
    if first is not None:
        try:
            assert_runs_bit_exact(first, lively=False)
        except MoesaicError as error:  # a scale of 1e30, for one, has no integers
            assert " must " in str(error)
