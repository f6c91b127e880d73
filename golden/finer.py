"""Layers that have more than 8 bits somewhere, and what they were chosen for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["NO_FINER", "TITLES", "FinerLayer"]

NO_FINER: Mapping[str, str] = MappingProxyType({})
"""No layer has more bits than the others."""
TITLES = {"planes": "inputs of 13 bits", "activations": "activations of 16 bits", "wide": "all of 16 bits"}
"""In words, by what is finer (`layers.linear.FINER`)."""


@dataclass(frozen=True, kw_only=True)
class FinerLayer:
    """A layer that was given more bits.

    Parameters
    ----------
    name : str
        The layer, or the owner of matrices that it shares with others.
    finer : str
        One of `layers.linear.FINER`.
    sqnr_db : float
        Least SQNR after a block when it has been added to those before it, decibels, as the float twin has it.
    gained_db : float
        By how much that is more than without it.
    cycles : int
        What it adds to an image, by the analytic model.
    """

    name: str
    finer: str
    sqnr_db: float
    gained_db: float
    cycles: int

    @property
    def title(self) -> str:
        """What it has, in words."""
        return TITLES[self.finer]

    @property
    def in_words(self) -> str:
        """A line."""
        return f"{self.name}: {self.title}, {self.gained_db:+.1f} dB for {self.cycles:,} cycles"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
