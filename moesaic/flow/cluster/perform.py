"""What a worker does with a task."""

import pickle
from dataclasses import dataclass
from typing import Any

from distributed import get_worker

from moesaic.errors import BAD_INPUT, FailedRun, InputError, MoesaicError
from moesaic.flow.cluster.identity import Identity, identity
from moesaic.flow.stages import Stages
from moesaic.shared_store import sharing

__all__ = ["ForeignWorker", "Order", "fulfil", "hand_over", "perform"]


class ForeignWorker(InputError):
    """A worker that might compute something else.

    Parameters
    ----------
    address : str
    unlike : str
        What it should have, and has.
    """

    def __init__(self, address: str, unlike: str) -> None:
        super().__init__(address, unlike)
        self.address, self.unlike = address, unlike

    def __str__(self) -> str:
        return f"worker {self.address} must have {self.unlike}"


@dataclass(frozen=True)
class Order:
    """What tasks of one job have in common, beside what they compute with.

    Parameters
    ----------
    wanted : Identity
        Of the machine that asks.
    shared_cache : str or None
        Folder or URL where workers find what others have built.
    """

    wanted: Identity
    shared_cache: str | None = None

    def check(self) -> None:
        """`ForeignWorker` if this process is of another version."""
        if unlike := identity().unlike(self.wanted):
            raise ForeignWorker(get_worker().address, unlike)


def hand_over(common: bytes) -> bytes:
    """What all tasks share, as a task of its own: kept on the workers, and sent again if they are lost."""
    return common


def perform(order: Order, task: bytes, common: bytes, *needs: None) -> Any:
    """Compute a task; `needs` are there to be waited for.

    Parameters
    ----------
    task : bytes
        Pickled function and item: read when it is known that both are the same here.
    common : bytes
        Pickled too.

    Raises
    ------
    ForeignWorker
        If this worker is of another version.
    InputError, FailedRun
        In place of every error of this program, many of which cannot travel.
    """
    order.check()
    function, item = pickle.loads(task)
    try:
        with sharing(order.shared_cache):
            return function(pickle.loads(common), item, Stages(quiet=True))
    except MoesaicError as error:
        kind = InputError if error.exit_status == BAD_INPUT else FailedRun
        raise kind(f"{error}\non worker {get_worker().address}") from None


def fulfil(common: None, need: Any, stages: Stages) -> None:
    """Make what tasks need, as a task."""
    need.make(stages)
