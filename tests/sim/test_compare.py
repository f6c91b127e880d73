"""The comparison names the first difference."""

import numpy as np

from moesaic.sim.compare import Mismatch, compare


def test_equal():
    assert compare("x", np.zeros((2, 3), np.int8), np.zeros((2, 3), np.int16)) is None


def test_first_difference_in_token_order():
    expected = np.arange(12).reshape(3, 4)
    got = expected.copy()
    got[1, 2], got[2, 0] = -30000, 0
    mismatch = compare("blocks.3", got, expected, step=0.5)
    assert (mismatch.token, mismatch.channel, mismatch.got, mismatch.expected, mismatch.count) == (1, 2, -30000, 6, 2)
    assert str(mismatch) == (
        "blocks.3: token 1, channel 2 must be 6, not -30000 (-15000, not 3); 2 of 12 differ, by at most 30006"
    )


def test_shapes():
    note = "shape must be [2, 4], not [2, 5]"
    found = compare("x", np.zeros((2, 5)), np.zeros((2, 4)), step=2.0)
    assert found == Mismatch("x", -1, -1, 0, 0, 10, 8, 0, 2.0, note) and str(found) == f"x: {note}"
    assert compare("x", np.zeros(3), np.zeros(4)) == Mismatch(
        "x", -1, -1, 0, 0, 4, 4, 0, None, "shape must be [4], not [3]"
    )


def test_vectors():
    """Of what has no channels the place is a token; of what has more axes the last one is the channel."""
    found = compare("lengths", np.array([3, 4, 5]), np.array([3, 6, 5]))
    assert (found.token, found.channel, found.got, found.expected, found.largest) == (1, 0, 4, 6, 2)
    scores = np.zeros((2, 3, 4), int)
    scores[1, 2, 3] = 7
    found = compare("scores", scores, np.zeros((2, 3, 4), int))
    assert (found.token, found.channel, found.got, found.count, found.total) == (1, 3, 7, 1, 24)
