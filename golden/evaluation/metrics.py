"""Measures of quality: of predictions against labels, and of one model's tensors against another's."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Distance", "confusion", "cosine", "depth_rmse", "mean_iou", "routing_agreement", "sqnr_db"]


def _same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes must be equal, not {a.shape!r} and {b.shape!r}")


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Pixels by label (row) and predicted class (column), int64 [classes, classes]; sums over images may be added."""
    _same_shape(predicted, labels)
    pairs = labels.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def mean_iou(matrix: np.ndarray) -> float:
    """Mean over classes of intersection over union, from a confusion matrix; classes that never occur do not count."""
    hit = np.diag(matrix)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hit
    present = union > 0
    return float((hit[present] / union[present]).mean()) if present.any() else math.nan


def depth_rmse(predicted: np.ndarray, depth: np.ndarray) -> float:
    """Root of the mean squared error, metres."""
    _same_shape(predicted, depth)
    return float(np.sqrt(np.mean((predicted.astype(np.float64) - depth.astype(np.float64)) ** 2)))


@dataclass
class Distance:
    """How far two tensors are apart, which may come piece by piece.

    Members
    -------
    power, other, product, noise : float
        Squares of the reference, squares of the other, products of both, squares of the differences, each added up.
    """

    power: float = 0.0
    other: float = 0.0
    product: float = 0.0
    noise: float = 0.0

    def add(self, reference: np.ndarray, actual: np.ndarray) -> "Distance":
        """Count a piece of both; returns itself."""
        _same_shape(reference, actual)
        a, b = reference.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
        difference = a - b
        self.power += float(a @ a)
        self.other += float(b @ b)
        self.product += float(a @ b)
        self.noise += float(difference @ difference)
        return self

    @property
    def sqnr_db(self) -> float:
        """Power of the reference over the power of the difference, decibels; infinite if they are equal."""
        if self.noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self.power / self.noise) if self.power > 0.0 else -math.inf

    @property
    def cosine(self) -> float:
        """Cosine of the angle between both taken as vectors; 1 if both are zero, 0 if one is."""
        lengths = math.sqrt(self.power) * math.sqrt(self.other)
        return self.product / lengths if lengths else float(self.noise == 0.0)


def sqnr_db(reference: np.ndarray, actual: np.ndarray) -> float:
    """`Distance.sqnr_db` of two tensors."""
    return Distance().add(reference, actual).sqnr_db


def cosine(reference: np.ndarray, actual: np.ndarray) -> float:
    """`Distance.cosine` of two tensors."""
    return Distance().add(reference, actual).cosine


def routing_agreement(reference: np.ndarray, actual: np.ndarray) -> float:
    """Fraction of tokens whose set of experts is the same; arguments are expert indices [tokens, k], in any order."""
    _same_shape(reference, actual)
    return float(np.all(np.sort(reference, axis=-1) == np.sort(actual, axis=-1), axis=-1).mean())
