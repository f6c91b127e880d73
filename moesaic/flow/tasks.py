"""Work cut into tasks that do not know of each other, and the runner that does them here, one after the other."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from moesaic.flow.stages import Stages

__all__ = ["InProcess", "Job", "Need", "Runner"]

Common = TypeVar("Common")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Need(Protocol):
    """Something slow that tasks find in the cache once it has been made."""

    @property
    def key(self) -> str:
        """What it is: needs of one key are made once."""

    def make(self, stages: Stages) -> None:
        """Make it, or find it."""


def no_need(item: Any) -> None:
    """The needs of tasks that have none."""


@dataclass(frozen=True, kw_only=True)
class Job(Generic[Common, Item, Result]):
    """One function for many items. Everything in it but `items` and `needs` travels, so it must be picklable.

    Parameters
    ----------
    name : str
        Of the stage, for its seconds.
    title : str
        What is shown.
    function : callable of common, item, Stages
        Of a module: workers look it up by its name. Computes the same wherever it runs, and leaves nothing but its
        result.
    common : object
        What all items share; None if nothing.
    items : iterable
        May be a generator: an item is made when the one before is on its way.
    needs : callable of item
        What must be in the cache before the item is computed, or None.
    aloud : bool
        Items are long enough to show stages of their own; else they share one.
    """

    name: str
    title: str
    function: Callable[[Common, Item, Stages], Result]
    common: Common
    items: Iterable[Item]
    needs: Callable[[Item], Need | None] = no_need
    aloud: bool = False


class Runner(Protocol):
    """Where tasks are run."""

    def run(
        self,
        job: Job[Common, Item, Result],
        stages: Stages,
        *,
        done: Callable[[int, Result], None] = lambda number, result: None,
    ) -> list[Result]:
        """The results, in the order of the items.

        Parameters
        ----------
        job : Job
        stages : Stages
        done : callable of int and result
            Told each result as it comes, in any order, with the number of its item.

        Raises
        ------
        MoesaicError
            What the first task that fails raises; those that have not begun are given up.
        """


class _Within(Stages):
    """Stages that are not shown, whose notes go to the stage that runs around them."""

    def __init__(self, outer: Stages, prefix: str) -> None:
        super().__init__(quiet=True)
        self._outer, self._prefix = outer, prefix

    def note(self, text: str) -> None:
        self._outer.note(f"{self._prefix}, {text}")


class InProcess:
    """The tasks in this process, in their order."""

    def run(
        self,
        job: Job[Common, Item, Result],
        stages: Stages,
        *,
        done: Callable[[int, Result], None] = lambda number, result: None,
    ) -> list[Result]:
        """As in `Runner`."""
        results: list[Result] = []

        def take(item: Item, inner: Stages) -> None:
            results.append(job.function(job.common, item, inner))
            done(len(results) - 1, results[-1])

        if job.aloud:
            for item in job.items:
                take(item, stages)
            return results
        items = list(job.items)
        for need in {need.key: need for need in map(job.needs, items) if need is not None}.values():
            need.make(stages)
        with stages.stage(job.name, job.title):
            for number, item in enumerate(items, start=1):
                place = f"{number} of {len(items)}"
                stages.note(place)
                take(item, _Within(stages, place))
        return results
