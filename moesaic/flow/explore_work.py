"""Forecasts of many configurations, in as many processes as there are processors; each shape is compiled once."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from moesaic.boards.memory import Memory
from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import CompileError
from moesaic.compiler.memory import DdrTiming
from moesaic.compiler.pipeline import compile_batch
from moesaic.flow.explore_space import Choice
from moesaic.flow.forecast import Forecast, forecast, speculation
from moesaic.golden.hollow import hollow_model
from moesaic.golden.network import Network
from moesaic.golden.qmodel import QuantModel

__all__ = ["Question", "forecasts"]

_FEW = 12  # configurations that are not worth a second process


@dataclass(frozen=True)
class Question:
    """What is asked of every configuration.

    Parameters
    ----------
    model : Network
    task : str
    blocks : int
    latency : int, cycles
        Of DDR.
    memory : Memory or None
        The board's; None: an ideal one.
    """

    model: Network
    task: str
    blocks: int
    latency: int
    memory: Memory | None = None

    def ddr(self, clock_mhz: float) -> DdrTiming:
        """What the ports of an accelerator see at that clock."""
        return DdrTiming(self.latency, None if self.memory is None else self.memory.timing(clock_mhz))


Answer = Forecast | str  # or why the model does not fit
_Job = tuple[int, Choice]


def _shape(job: _Job, speculated: int) -> tuple[int, ...]:
    """What the compiler sees of a configuration."""
    choice, accelerator = job[1], job[1].accelerator
    return (
        accelerator.rows,
        accelerator.lanes,
        accelerator.load_rows,
        accelerator.activation_words,
        choice.expert_bits,
        choice.batch,
        speculated,
    )


class _Worker:
    """Compiles shapes, and asks the analytic model."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._hollow: dict[int, QuantModel] = {}

    def hollow(self, choice: Choice) -> QuantModel:
        """The network of zeros, of the choice's widths."""
        bits = choice.expert_bits
        if bits not in self._hollow:
            self._hollow[bits] = hollow_model(self.question.model, bits)
        return self._hollow[bits]

    def batch(self, choice: Choice) -> Batch:
        """What a program of the choice computes."""
        return Batch((self.question.task,), choice.batch)

    def speculated(self, choice: Choice) -> int:
        return (
            speculation(self.hollow(choice), choice.accelerator, self.batch(choice))
            if choice.speculate is None
            else choice.speculate
        )

    def answer(self, jobs: Sequence[_Job]) -> list[tuple[int, Answer]]:
        """Forecasts of configurations of one shape."""
        question, first = self.question, jobs[0][1]
        hollow = self.hollow(first)
        try:
            speculated = self.speculated(first)
            _, graph = compile_batch(
                hollow, first.accelerator, self.batch(first), blocks=question.blocks, speculate=speculated
            )
        except CompileError as error:
            return [(number, str(error).partition("\n")[0]) for number, _ in jobs]
        known: dict[tuple[str, DdrTiming], Forecast] = {}  # the kind of memory on chip changes no cycle
        result: list[tuple[int, Answer]] = []
        for number, choice in jobs:
            ddr = question.ddr(choice.accelerator.clock_mhz)
            key = choice.accelerator.hash, ddr
            if key not in known:
                known[key] = forecast(graph, choice.accelerator, ddr=ddr)
            result.append((number, known[key]))
        return result


_WORKER: list[_Worker] = []  # of a process that was made for this


def _begin(question: Question) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's Ctrl-C ends it
    _WORKER.append(_Worker(question))


def _answer(jobs: Sequence[_Job]) -> list[tuple[int, Answer]]:
    return _WORKER[0].answer(jobs)


def forecasts(
    question: Question, choices: Sequence[Choice], *, progress: Callable[[int], None], workers: int | None = None
) -> list[Answer]:
    """For each configuration its forecast, or why it cannot hold the model.

    Parameters
    ----------
    question : Question
    choices : sequence of Choice
    progress : callable
        Called with the number of configurations that are done.
    workers : int, optional
        Processes; as many as processors if not given.
    """
    own = _Worker(question)
    shapes: dict[tuple[int, ...], list[_Job]] = {}
    for job in enumerate(choices):
        shapes.setdefault(_shape(job, own.speculated(job[1])), []).append(job)
    # The longest first, so that processes end together: small arrays take the most passes.
    groups = sorted(shapes.values(), key=lambda jobs: jobs[0][1].accelerator.macs_per_cycle)
    answers: dict[int, Answer] = {}

    def take(part: list[tuple[int, Answer]]) -> None:
        answers.update(part)
        progress(len(answers))

    workers = min(workers or os.cpu_count() or 1, len(groups))
    if workers < 2 or len(choices) <= _FEW:
        for group in groups:
            take(own.answer(group))
    else:
        context = multiprocessing.get_context("spawn")  # threads show the progress: a fork might copy their locks
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(question,))
        try:
            for done in as_completed([pool.submit(_answer, group) for group in groups]):
                take(done.result())
        finally:
            pool.shutdown(cancel_futures=True)
    return [answers[number] for number in range(len(choices))]
