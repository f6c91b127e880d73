"""How much an output of a module is like the float network's, in numbers and in words."""

import math
from dataclasses import dataclass

import numpy as np

from moesaic.golden.evaluation.metrics import sqnr_db

__all__ = ["Likeness", "OutputLine", "in_words", "likeness"]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Numbers of an output.

    Parameters
    ----------
    sqnr_db : float or None
        Of the values that are finite in both; None if they are equal, or are truth values or whole numbers.
    unlike : int
        How many values differ that no ratio tells of: truth values, whole numbers, where infinity is.
    """

    sqnr_db: float | None
    unlike: int = 0


@dataclass(frozen=True, kw_only=True)
class OutputLine(Likeness):
    """An output of a captured module: its number in what the module returns, its shape, and where a vector's largest
    value is (accelerator, float), which is a classifier's answer.
    """

    output: int
    shape: tuple[int, ...]
    largest: tuple[int, int] | None


def likeness(got: np.ndarray, reference: np.ndarray) -> Likeness:
    """Numbers of an output, of whatever type."""
    if reference.dtype.kind not in "fc":
        return Likeness(sqnr_db=None, unlike=int((got != reference).sum()))
    finite = np.isfinite(got) & np.isfinite(reference)
    ratio = sqnr_db(reference[finite], got[finite])
    unlike = int((got != reference)[~finite].sum())
    if ratio == -math.inf:  # nothing but zeros in the one, and something in the other
        return Likeness(sqnr_db=None, unlike=unlike + int((got != reference)[finite].sum()))
    return Likeness(sqnr_db=ratio if math.isfinite(ratio) else None, unlike=unlike)


def in_words(line: Likeness) -> str:
    """`likeness` as text: equal; 37.2 dB; 3 values unlike."""
    parts = [] if line.sqnr_db is None else [f"{line.sqnr_db:.1f} dB"]
    parts += [f"{line.unlike} {'value' if line.unlike == 1 else 'values'} unlike"] if line.unlike else []
    return ", ".join(parts) or "equal"
