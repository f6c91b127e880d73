"""Measures of quality on cases worked out by hand."""

import math

import numpy as np
import pytest

from moesaic.golden.evaluation.metrics import (
    Distance,
    confusion,
    cosine,
    depth_rmse,
    mean_iou,
    routing_agreement,
    sqnr_db,
)


def test_mean_iou_by_hand():
    labels = np.array([[0, 0, 1], [1, 2, 2]], dtype=np.uint8)
    predicted = np.array([[0, 1, 1], [1, 2, 0]])
    matrix = confusion(predicted, labels, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert mean_iou(matrix) == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)  # class 3 never occurs
    assert mean_iou(confusion(labels, labels, 4)) == 1.0
    assert math.isnan(mean_iou(np.zeros((2, 2), dtype=np.int64)))


def test_depth_rmse_by_hand():
    assert depth_rmse(np.array([1.0, 2.0]), np.array([4.0, 6.0])) == pytest.approx(math.sqrt(12.5))


def test_sqnr_by_hand():
    reference = np.array([3.0, 4.0])
    assert sqnr_db(reference, reference) == math.inf
    assert sqnr_db(reference, reference + np.array([0.05, 0.0])) == pytest.approx(40.0)
    assert sqnr_db(np.zeros(2), reference) == -math.inf
    codes = np.array([100, -100], dtype=np.int8)
    assert sqnr_db(codes, -codes) == pytest.approx(10 * math.log10(1 / 4))  # no overflow of int8


def test_cosine_by_hand():
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))
    assert cosine(np.zeros(2), np.zeros(2)) == 1.0 and cosine(np.zeros(2), np.ones(2)) == 0.0


def test_distance_piece_by_piece():
    rng = np.random.default_rng(3)
    reference, actual = rng.standard_normal((2, 7, 5))
    whole, pieces = Distance().add(reference, actual), Distance()
    for i in range(7):
        pieces.add(reference[i], actual[i])
    assert (
        pieces.sqnr_db
        == pytest.approx(whole.sqnr_db)
        == pytest.approx(10 * math.log10(np.square(reference).sum() / np.square(reference - actual).sum()))
    )
    assert pieces.cosine == pytest.approx(whole.cosine)


def test_routing_agreement_ignores_order():
    reference, actual = np.array([[0, 1], [2, 3], [4, 5]]), np.array([[1, 0], [2, 3], [4, 6]])
    assert routing_agreement(reference, actual) == pytest.approx(2 / 3)


@pytest.mark.parametrize("measure", [depth_rmse, sqnr_db, cosine, routing_agreement])
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"shapes must be equal, not \(2, 2\) and \(2, 3\)"):
        measure(np.zeros((2, 2)), np.zeros((2, 3)))
