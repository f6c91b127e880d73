"""Synthesis held against a board's budget."""

from collections.abc import Callable
from dataclasses import dataclass

from moesaic.boards.board import Board
from moesaic.boards.fit_bound import lower_bound
from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.synthesise import Synthesis, synthesise
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

__all__ = ["Fit", "Line", "candidates", "largest_fitting"]

TITLES = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM"}


@dataclass(frozen=True)
class Line:
    """One resource of a board.

    Parameters
    ----------
    kind, title : str
    used, budget : float
    """

    kind: str
    title: str
    used: float
    budget: float

    @property
    def percent(self) -> float:
        """Of the budget; infinite if there is none of it and some is used."""
        if not self.budget:
            return float("inf") if self.used else 0.0
        return 100 * self.used / self.budget

    @property
    def excess(self) -> float:
        """By how much it is too much; 0 if it fits."""
        return max(self.used - self.budget, 0)


@dataclass(frozen=True)
class Fit:
    """What an accelerator uses of a board.

    Parameters
    ----------
    used, budget : Resources
    """

    used: Resources
    budget: Resources

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every resource."""
        used, budget = self.used.to_dict(), self.budget.to_dict()
        return tuple(Line(kind, title, used[kind], budget[kind]) for kind, title in TITLES.items())

    @property
    def fits(self) -> bool:
        """Nothing exceeds the budget."""
        return self.used.fits(self.budget)


def candidates(board: Board, than: AcceleratorConfig) -> list[AcceleratorConfig]:
    """Presets with fewer multipliers than an accelerator, or as many and less memory, that the board may hold; the
    largest first.
    """

    def size(config: AcceleratorConfig) -> tuple[int, float]:
        return config.macs_per_cycle, lower_bound(config, board.budget).bram36 + 8 * lower_bound(
            config, board.budget
        ).uram

    return sorted(
        (
            config
            for config in PRESETS.values()
            if size(config) < size(than) and lower_bound(config, board.budget).fits(board.budget)
        ),
        key=size,
        reverse=True,
    )


def largest_fitting(
    board: Board,
    than: AcceleratorConfig,
    *,
    started: Callable[[AcceleratorConfig], None] | None = None,
) -> tuple[AcceleratorConfig, Synthesis] | None:
    """The largest preset below an accelerator that fits the board, synthesised; None if there is none.

    Parameters
    ----------
    board : Board
    than : AcceleratorConfig
        The one that does not fit.
    started : callable, optional
        Called before each synthesis.

    Raises
    ------
    SynthesisMissing, ExportError
    """
    for config in candidates(board, than):
        if started is not None:
            started(config)
        result = synthesise(config, family=board.system.fabric, uram=board.budget.uram > 0)
        if result.complete and result.total.fits(board.budget):
            return config, result
    return None
