"""What images to calibrate on may be called, besides a folder."""

import re

__all__ = ["NATURAL", "dataset_name"]

NATURAL = "natural"  # noise with the spectra of photographs
_DATASET = re.compile(r"([\w./-]+?(?:\.py)?):(\w+)")


def dataset_name(text: str) -> tuple[str, str] | None:
    """Module or file, and name in it, of a dataset that is called `module:name` or `file.py:name`; else None."""
    found = _DATASET.fullmatch(text)
    return None if found is None else (found[1], found[2])
