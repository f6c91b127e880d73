"""A rung of the ladder for mutants of the Python side: random networks on random configurations."""

from collections.abc import Callable, Iterator, Mapping

from moesaic.flow.verify.pairs import try_pair
from moesaic.flow.verify.python.given import Given

__all__ = ["RUNGS"]

PAIRS = (1, 2, 4, 8, 11, 12, 13, 14, 20, 21)  # of seed 1; the others among the first two dozen say little more
SEED = 1


def pairs(given: Given) -> Iterator[tuple[str, str]]:
    """How each pair ends."""
    for number in PAIRS:
        ending, problem, _ = try_pair(SEED, number)
        yield f"pair {number}", f"{ending}: {problem}"


RUNGS: Mapping[str, Callable[[Given], Iterator[tuple[str, str]]]] = {"random pairs": pairs}
