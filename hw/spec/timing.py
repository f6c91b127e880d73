"""Latencies of a configuration's pipelines, as the cost model needs them; `hw.timing` reads them off the RTL."""

from dataclasses import dataclass

__all__ = ["Timing"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Cycles that vectors and instructions spend in the pipelines of one accelerator.

    Parameters
    ----------
    feed : int, cycles
        From a vector's issue to the array being able to take it.
    queue : int, vectors
        Most vectors between issue and array.
    drain : int, cycles
        From the last vector entering the array to its instruction being retired.
    route : int, cycles
        The same for a router's instruction, beyond one cycle per token and rank.
    reuse, accumulate : int, cycles
        Shortest pass whose results leave, and shortest pass whose sums are added to those before.
    """

    feed: int
    queue: int
    drain: int
    route: int
    reuse: int
    accumulate: int
