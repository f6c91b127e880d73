"""Outputs of every sort beside the float network's."""

import numpy as np
import pytest

from moesaic.report.likeness import in_words, likeness

INF = np.inf
CASES = [
    ([1.0, 2.0], [1.0, 2.0], "equal"),
    ([1.0, 2.1], [1.0, 2.0], "27.0 dB"),
    ([0.1, 0.0], [0.0, 0.0], "1 value unlike"),
    ([-INF, 2.0], [-INF, 2.0], "equal"),
    ([1.0, -INF, 2.0], [-INF, 1.0, 2.0], "2 values unlike"),
    ([-INF, 2.1], [INF, 2.0], "26.0 dB, 1 value unlike"),
    ([True, False, True], [True, True, True], "1 value unlike"),
    ([True, False], [True, False], "equal"),
    ([3, 4], [3, 5], "1 value unlike"),
    ([], [], "equal"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("got", "reference", "words"), CASES)
def test_likeness(got, reference, words):
    assert in_words(likeness(np.array(got), np.array(reference))) == words
