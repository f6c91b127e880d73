"""Sizes of the layer that follows attention in a block: a dense MLP, or a mixture of experts."""

from dataclasses import dataclass
from typing import Any

__all__ = ["MLPSizes", "MoESizes", "TokenLayerSizes", "sizes_from"]


@dataclass(frozen=True, kw_only=True)
class MLPSizes:
    """A dense MLP.

    Parameters
    ----------
    hidden : int
        Hidden units.
    """

    hidden: int

    @property
    def experts(self) -> int:
        """Experts: none."""
        return 0

    @property
    def top_k(self) -> int:
        """Experts for each token: none."""
        return 0

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        return (
            "" if _positive(self.hidden) else f"hidden units of an MLP must be a positive integer, not {self.hidden!r}"
        )

    def macs(self, dim: int, tokens: int) -> int:
        """Multiply-accumulates of one image."""
        return tokens * 2 * dim * self.hidden

    def weight_bytes(self, dim: int) -> int:
        """Matrices that one image of one task streams, at int8, bytes."""
        return 2 * dim * self.hidden

    def expert_bytes(self, dim: int) -> int:
        """Matrices of one expert at int8, bytes: none."""
        return 0


@dataclass(frozen=True, kw_only=True)
class MoESizes:
    """A mixture of experts.

    Parameters
    ----------
    experts : int
    hidden : int
        Hidden units of an expert.
    top_k : int
        Experts for each token.
    """

    experts: int
    hidden: int
    top_k: int

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        if not _positive(self.experts):
            return f"experts must be a positive integer, not {self.experts!r}"
        if not _positive(self.hidden):
            return f"hidden units of experts must be a positive integer, not {self.hidden!r}"
        if not _positive(self.top_k) or self.top_k > self.experts:
            return f"top_k must be from 1 to the {self.experts} experts, not {self.top_k!r}"
        return ""

    def macs(self, dim: int, tokens: int) -> int:
        """Multiply-accumulates of one image: the gate, and the experts that tokens choose."""
        return tokens * dim * (self.experts + self.top_k * 2 * self.hidden)

    def weight_bytes(self, dim: int) -> int:
        """Matrices that one image of one task streams when all experts are used, at int8, bytes."""
        return dim * self.experts + self.experts * self.expert_bytes(dim)

    def expert_bytes(self, dim: int) -> int:
        """Matrices of one expert at int8, bytes."""
        return 2 * dim * self.hidden


TokenLayerSizes = MLPSizes | MoESizes


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def sizes_from(fields: dict[str, Any]) -> TokenLayerSizes:
    """Sizes from the fields that a file has of them."""
    return MoESizes(**fields) if "experts" in fields else MLPSizes(**fields)
