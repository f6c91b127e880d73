"""What the pictures of a report are drawn from, beside report.json: traces and outputs, in data.npz."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.boards.npz_file import read_npz
from moesaic.errors import InputError
from moesaic.flow.execute import TaskOutcome

__all__ = ["load_data", "save_data"]

MOST_BYTES = 1 << 28  # of all arrays


def save_data(path: Path, outcomes: Sequence[TaskOutcome]) -> None:
    """Write timeline `TASK/trace/UNIT`, ends of the parts `TASK/marks` and result `TASK/output` of every task."""
    arrays: dict[str, Any] = {}
    for outcome in outcomes:
        if outcome.output is not None:
            arrays[f"{outcome.task}/output"] = outcome.output  # of several items one behind the other
        if outcome.rtl is not None:
            arrays |= {f"{outcome.task}/trace/{name}": values for name, values in outcome.rtl.trace.items()}
            arrays[f"{outcome.task}/marks"] = np.array([mark["cycles"] for mark in outcome.rtl.mark_counters], np.int64)
    np.savez_compressed(path, **arrays)


def load_data(path: Path) -> dict[str, Any]:
    """Read what `save_data` wrote.

    Raises
    ------
    InputError
        If the file is missing, damaged, or too large.
    """
    return read_npz(path, most=MOST_BYTES, what="data of the pictures", error=InputError)
