"""Tasks on the workers of a Dask scheduler: results as they come, lost ones again, in the end in their order."""

import contextlib
import pickle
import queue
import time
import uuid
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from distributed import Client, Future, KilledWorker
from distributed.client import FutureCancelledError

from moesaic.errors import FailedRun
from moesaic.flow.cluster.identity import identity
from moesaic.flow.cluster.perform import ForeignWorker, Order, fulfil, hand_over, perform
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import Job, Need

__all__ = ["DaskRunner"]

Common = TypeVar("Common")
Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_S = 1.0  # between two looks at the workers


class _Submitted(Generic[Common, Item, Result]):
    """A job's tasks on their way.

    Parameters
    ----------
    client : Client
    job : Job
    order : Order
    stages : Stages
    """

    def __init__(self, client: Client, job: Job[Common, Item, Result], order: Order, stages: Stages) -> None:
        self.client, self.job, self.order, self.stages = client, job, order, stages
        self.run = uuid.uuid4().hex
        self.numbers = dict[Any, int]()  # of tasks, by the keys of their futures
        self.common = client.submit(hand_over, pickle.dumps(job.common), key=f"common-{self.run}")
        self.needs = dict[str, Future[None]]()
        self.waiting = set[Future[Any]]()
        self.finished: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.results = dict[int, Result]()
        self.count, self.looked, self.workers = 0, 0.0, set(client.nthreads())

    def _submit(self, name: str, number: int | str, function: Any, item: Any, common: Any, *waits: Any) -> Future[Any]:
        task = pickle.dumps((function, item))
        return self.client.submit(perform, self.order, task, common, *waits, key=(f"{name}-{self.run}", number))

    def _need(self, need: Need) -> Future[None]:
        if need.key not in self.needs:
            self.needs[need.key] = self._submit("need", need.key, fulfil, need, pickle.dumps(None))
        return self.needs[need.key]

    def add(self, item: Item) -> None:
        """Send a task."""
        need = self.job.needs(item)
        waits = [] if need is None else [self._need(need)]
        future = self._submit(self.job.name, self.count, self.job.function, item, self.common, *waits)
        self.numbers[future.key] = self.count
        self.count += 1
        self._watch(future)

    def _watch(self, future: Future[Any]) -> None:
        self.waiting.add(future)
        future.add_done_callback(self.finished.put)

    def take(self, done: Callable[[int, Result], None], *, wait: bool) -> None:
        """A result that has come, or comes within a second; and a look at the workers once a second."""
        with contextlib.suppress(queue.Empty):
            future = self.finished.get(wait, _LOOK_S)
            self.waiting.discard(future)
            self._take(future, done)
        if time.monotonic() > self.looked + _LOOK_S:
            self.look()

    def _take(self, future: Future[Any], done: Callable[[int, Result], None]) -> None:
        number = self.numbers[future.key]
        try:
            self.results[number] = future.result()
        except ForeignWorker as error:  # it came when others had been checked
            self.stages.warn(f"{error}: it is sent away")
            self.client.retire_workers([error.address])
            future.retry()
            self._watch(future)
        except KilledWorker as error:
            raise FailedRun(
                f"{self.job.name} {number + 1} must not end its worker, which it did "
                f"{error.allowed_failures + 1} times (too little memory?): see the log of {error.last_worker.address}"
            ) from error
        except FutureCancelledError as error:
            raise self._lost() from error
        except (ImportError, AttributeError) as error:  # of what is pickled
            raise FailedRun(f"workers must have this machine's moesaic, not one without it: {error}") from error
        else:
            done(number, self.results[number])

    def _lost(self) -> FailedRun:
        return FailedRun(f"scheduler must stay until all is done, not leave after {len(self.results)} results")

    def look(self) -> None:
        """Say which workers were lost."""
        self.looked = time.monotonic()
        try:
            workers = set(self.client.nthreads())
        except OSError as error:
            raise self._lost() from error
        for address in sorted(self.workers - workers):
            again = "its tasks run again" if workers else "none is left, waiting for another"
            self.stages.warn(f"worker {address} was lost: {again}")
        self.workers = workers

    def state(self) -> str:
        """How far it is."""
        return f"{len(self.results)} of {self.count}, {len(self.workers)} workers"

    def cancel(self) -> None:
        """Give up what is not done."""
        with contextlib.suppress(OSError):
            self.client.cancel([*self.waiting, *self.needs.values(), self.common])


class DaskRunner:
    """The tasks on the workers of a scheduler.

    Parameters
    ----------
    client : Client
        Whose workers are like this machine.
    shared_cache : str or None
        Folder or URL where they find what others have built.
    """

    def __init__(self, client: Client, *, shared_cache: str | None = None) -> None:
        self.client, self.shared_cache = client, shared_cache

    def run(
        self,
        job: Job[Common, Item, Result],
        stages: Stages,
        *,
        done: Callable[[int, Result], None] = lambda number, result: None,
    ) -> list[Result]:
        """As in `Runner`.

        Raises
        ------
        FailedRun
            If a task has taken several workers with it, or the scheduler is gone.
        """
        submitted = _Submitted(self.client, job, Order(identity(), self.shared_cache), stages)
        try:
            for item in job.items:  # which may have stages of its own
                submitted.add(item)
                submitted.take(done, wait=False)
            with stages.stage(job.name, f"{job.title}, on {len(submitted.workers)} workers"):
                while len(submitted.results) < submitted.count:
                    stages.note(submitted.state())
                    submitted.take(done, wait=True)
                with contextlib.suppress(FailedRun):  # all results are there, whoever is lost now
                    submitted.look()
        finally:
            submitted.cancel()
        return [submitted.results[number] for number in range(submitted.count)]
