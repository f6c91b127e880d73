"""Forecasts of many configurations, in processes of this machine or on the workers of a cluster; each shape is compiled
once.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import chain

from moesaic.boards.memory import Memory
from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import CompileError
from moesaic.compiler.memory import DdrTiming
from moesaic.compiler.pipeline import compile_batch
from moesaic.flow.explore_space import Choice
from moesaic.flow.forecast import Forecast, forecast, speculation
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import Job, Runner
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
_Part = list[tuple[int, Answer]]  # by the number of the configuration


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

    def answer(self, jobs: Sequence[_Job]) -> _Part:
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
        result: _Part = []
        for number, choice in jobs:
            ddr = question.ddr(choice.accelerator.clock_mhz)
            key = choice.accelerator.hash, ddr
            if key not in known:
                known[key] = forecast(graph, choice.accelerator, ddr=ddr)
            result.append((number, known[key]))
        return result


_WORKER: list[_Worker] = []  # of a process that answers for others


def _begin(question: Question) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's Ctrl-C ends it
    _WORKER[:] = [_Worker(question)]


def _answer(jobs: Sequence[_Job]) -> _Part:
    return _WORKER[0].answer(jobs)


def _answer_task(question: Question, jobs: Sequence[_Job], stages: Stages) -> _Part:
    """As a task, which may follow one of another question."""
    if not _WORKER or _WORKER[0].question != question:
        _WORKER[:] = [_Worker(question)]
    return _answer(jobs)


def _groups(question: Question, choices: Sequence[Choice]) -> list[list[_Job]]:
    """Configurations of one shape together. The longest first, so that processes end together: small arrays take the
    most passes.
    """
    worker = _Worker(question)
    shapes: dict[tuple[int, ...], list[_Job]] = {}
    for job in enumerate(choices):
        shapes.setdefault(_shape(job, worker.speculated(job[1])), []).append(job)
    return sorted(shapes.values(), key=lambda jobs: jobs[0][1].accelerator.macs_per_cycle)


def _in_processes(question: Question, groups: Sequence[list[_Job]], workers: int) -> Iterator[_Part]:
    """The answers to each group, by so many processes of this machine."""
    if workers < 2 or sum(map(len, groups)) <= _FEW:
        worker = _Worker(question)
        yield from map(worker.answer, groups)
        return
    context = multiprocessing.get_context("spawn")  # threads show the progress: a fork might copy their locks
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(question,))
    try:
        for done in as_completed([pool.submit(_answer, group) for group in groups]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def forecasts(
    question: Question,
    choices: Sequence[Choice],
    stages: Stages,
    *,
    workers: int | None = None,
    runner: Runner | None = None,
) -> list[Answer]:
    """For each configuration its forecast, or why it cannot hold the model.

    Parameters
    ----------
    question : Question
    choices : sequence of Choice
    stages : Stages
        Told the number of configurations that are done.
    workers : int, optional
        Processes of this machine; as many as processors if not given.
    runner : Runner, optional
        Where the work is done instead.
    """
    name, title = "latency", f"cycles of {len(choices):,} configurations"
    groups = _groups(question, choices)
    if runner is None:
        parts: list[_Part] = []
        with stages.stage(name, title):
            for part in _in_processes(question, groups, min(workers or os.cpu_count() or 1, len(groups))):
                parts.append(part)
                stages.note(f"{sum(map(len, parts)):,} of {len(choices):,}")
    else:
        parts = runner.run(Job(name=name, title=title, function=_answer_task, common=question, items=groups), stages)
    answers = dict(chain.from_iterable(parts))
    return [answers[number] for number in range(len(choices))]
