"""How much an output of a module is like the float network's, in numbers and in words."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from moesaic.golden.evaluation.metrics import sqnr_db

__all__ = ["in_words", "likeness"]


def likeness(got: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Numbers of an output, of whatever type.

    Returns
    -------
    dict
        `sqnr_db` of the values that are finite in both (None if they are equal, or are truth values or whole numbers),
        and `unlike`: how many values differ that no ratio tells of: truth values, whole numbers, where infinity is.
    """
    if reference.dtype.kind not in "fc":
        return {"sqnr_db": None, "unlike": int((got != reference).sum())}
    finite = np.isfinite(got) & np.isfinite(reference)
    ratio = sqnr_db(reference[finite], got[finite])
    unlike = int((got != reference)[~finite].sum())
    if ratio == -math.inf:  # nothing but zeros in the one, and something in the other
        return {"sqnr_db": None, "unlike": unlike + int((got != reference)[finite].sum())}
    return {"sqnr_db": ratio if math.isfinite(ratio) else None, "unlike": unlike}


def in_words(line: Mapping[str, Any]) -> str:
    """`likeness` as text: equal; 37.2 dB; 3 values unlike."""
    unlike = line.get("unlike", 0)
    parts = [] if line["sqnr_db"] is None else [f"{line['sqnr_db']:.1f} dB"]
    parts += [f"{unlike} {'value' if unlike == 1 else 'values'} unlike"] if unlike else []
    return ", ".join(parts) or "equal"
