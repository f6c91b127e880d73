"""Comparison of two integer tensors: where they first differ, and by how much."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Mismatch", "compare"]


@dataclass(frozen=True)
class Mismatch:
    """The first difference between two tensors, and how many there are.

    Parameters
    ----------
    name : str
        Tensor.
    token, channel : int
        Where the first difference is; -1 if the shapes differ.
    got, expected : int
    count, total : int
        Differing elements, and all.
    largest : int
        Greatest absolute difference.
    step : float or None
        Value of one unit.
    note : str
        What else is wrong (shapes).
    """

    name: str
    token: int
    channel: int
    got: int
    expected: int
    count: int
    total: int
    largest: int
    step: float | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return f"{self.name}: {self.note}"
        scale = "" if self.step is None else f" ({self.got * self.step:.6g}, not {self.expected * self.step:.6g})"
        return (
            f"{self.name}: token {self.token}, channel {self.channel} must be {self.expected}, not {self.got}{scale}; "
            f"{self.count} of {self.total} differ, by at most {self.largest}"
        )


def compare(
    name: str, got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], step: float | None = None
) -> Mismatch | None:
    """The first difference in token order, or None if every element is equal.

    Parameters
    ----------
    name : str
        Of the tensor, for the message.
    got, expected : [tokens, channels] integers
    step : float or None
        Value of one unit, for the message.
    """
    if got.shape != expected.shape:
        return Mismatch(
            name,
            -1,
            -1,
            0,
            0,
            max(got.size, expected.size),
            expected.size,
            0,
            step,
            f"shape must be {list(expected.shape)}, not {list(got.shape)}",
        )
    difference = got.astype(np.int64) - expected.astype(np.int64)
    wrong = np.argwhere(difference)
    if not len(wrong):
        return None
    first = tuple(wrong[0])
    token, channel = (int(first[0]), int(first[-1]) if len(first) > 1 else 0)
    return Mismatch(
        name,
        token,
        channel,
        int(got[first]),
        int(expected[first]),
        len(wrong),
        got.size,
        int(np.abs(difference).max()),
        step,
    )
