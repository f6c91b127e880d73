"""How images to calibrate on are chosen of those that are there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from moesaic.errors import InputError

__all__ = ["EXPERTS", "FIRST", "NEED", "Coverage", "ThinExpert", "least_tokens"]

FIRST, EXPERTS = "first", "experts"
NEED = 32  # tokens of an expert, from which on further ones add little to what calibration knows of it
_MOST = 1_000_000
_CHOICE = re.compile(rf"{EXPERTS}(?::([0-9]{{1,7}}))?")


def least_tokens(choice: str) -> int | None:
    """Tokens that each expert shall have by a choice, `experts` or `experts:TOKENS`; None for `first`.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if choice == FIRST:
        return None
    found = _CHOICE.fullmatch(choice)
    tokens = NEED if found is None or found[1] is None else int(found[1])
    if found is None or not 1 <= tokens <= _MOST:
        raise InputError(
            f"calibration-choice must be {FIRST!r}, {EXPERTS!r} or '{EXPERTS}:TOKENS' with 1 to {_MOST} tokens, not "
            f"{choice!r}"
        )
    return tokens


@dataclass(frozen=True, kw_only=True)
class ThinExpert:
    """An expert of few tokens in calibration.

    Parameters
    ----------
    mixture, task : str
    expert : int
    tokens : int
    """

    mixture: str
    task: str
    expert: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How well images cover the experts of a network.

    Parameters
    ----------
    minimum : int
        Tokens that each expert of each task should have.
    images, pool : int
        That were chosen, and that they were chosen of.
    thin : tuple of ThinExpert
        Experts of fewer tokens.
    """

    minimum: int
    images: int
    pool: int
    thin: tuple[ThinExpert, ...]

    @property
    def in_words(self) -> str:
        """One line, which names the experts of fewer tokens."""
        if not self.thin:
            return f"every expert of every gate has {self.minimum} tokens or more"
        gates: dict[str, list[str]] = {}
        for row in self.thin:
            gates.setdefault(f"{row.mixture} {row.task}", []).append(f"{row.expert} ({row.tokens})")
        return f"experts with fewer than {self.minimum} tokens: " + "; ".join(_gate(*gate) for gate in gates.items())


def _gate(name: str, experts: Sequence[str]) -> str:
    return f"{name} {', '.join(experts)}"
