"""Values that a format has no room for: every saturation of the integer model, counted by tensor."""

from dataclasses import dataclass

import numpy as np

from moesaic.golden import numerics
from moesaic.golden.numerics import Array

__all__ = ["CLIPPED_SHARE", "NONE", "SHARE", "Count", "Saturation"]

SHARE = 1e-3  # of a tensor's values: more is worth a warning where there is room to spare...
CLIPPED_SHARE = 1e-2  # ...and where calibration clips a few to have finer steps for the others
NONE = 0.0  # of gate logits: the largest decide


@dataclass
class Count:
    """Of one tensor of one image.

    Parameters
    ----------
    allowed : float
        Share of its values that may saturate without a warning.
    values, saturated : int
    """

    allowed: float
    values: int = 0
    saturated: int = 0

    @property
    def share(self) -> float:
        """Of the values, saturated."""
        return self.saturated / max(self.values, 1)

    @property
    def excessive(self) -> bool:
        """Whether it is worth a warning."""
        return self.share > self.allowed


class Saturation:
    """Saturates, and counts what it changed.

    Members
    -------
    counts : dict of tensor name to Count
        In the order in which they were made; a matrix that several tensors pass has the sum.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Count] = {}

    def fit(self, name: str, x: Array, bits: int, *, allowed: float = SHARE) -> Array:
        """`x` in a signed integer of that many bits."""
        return self._counted(name, x, numerics.saturate(x, bits), allowed)

    def stored(self, name: str, x: Array, *, wide: bool) -> Array:
        """`x` as the activation memory keeps it: int8, or 16 bits."""
        return self._counted(name, x, numerics.digits(x) if wide else numerics.int8(x), CLIPPED_SHARE)

    def _counted(self, name: str, x: Array, fitted: Array, allowed: float) -> Array:
        count = self.counts.setdefault(name, Count(allowed))
        count.values += x.size
        count.saturated += int(np.count_nonzero(fitted != x))
        return fitted
