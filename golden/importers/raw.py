"""Raw float32 files of a folder: cut short, with the bytes the wrong way round, or not finite is said of each."""

from pathlib import Path
from typing import Any

import numpy as np

from moesaic.golden.importers.problem import Findings

__all__ = ["SUFFIX", "looks_swapped", "read_raw"]

Array = np.ndarray[Any, Any]

SUFFIX = ".float32.bin"
_SMALL, _LARGE = 1e-10, 1e5  # magnitudes that parameters and activations have, or are exactly zero


def _plausible(values: Array) -> float:
    """Share of values that are zero or of a magnitude that occurs in networks."""
    size = np.abs(values)
    return float(((size == 0) | ((size > _SMALL) & (size < _LARGE))).mean())


def looks_swapped(values: Array) -> bool:
    """Whether float32 values make sense only with their bytes the other way round: [n] float32."""
    with np.errstate(invalid="ignore"):
        return values.size > 0 and _plausible(values) < 0.9 and _plausible(values.byteswap()) > 0.99


def read_raw(folder: Path, findings: Findings) -> dict[str, Array]:
    """Values of each `<what>.float32.bin`, [n] float32, by `<what>`; what is wrong with a file goes to `findings`."""
    result: dict[str, Array] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        data = path.read_bytes()
        if not data or len(data) % 4:
            findings.add("cut short", path.name, f"{len(data)} bytes are no whole number of float32 values")
            continue
        values = np.frombuffer(data, "<f4").astype(np.float32)
        if looks_swapped(values):
            findings.add("big-endian", path.name, "float32 with its bytes the wrong way round")
        elif not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            count = int((~np.isfinite(values)).sum())
            findings.add("not finite", path.name, f"{count} values are NaN or infinite, the first at {at}")
        elif np.abs(values).max() > _LARGE:
            findings.add("too large", path.name, f"magnitudes up to {np.abs(values).max():.3g}: not float32 weights")
        result[path.name.removesuffix(SUFFIX)] = values
    return result
