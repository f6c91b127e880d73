"""Cases on RTL, many in one simulation, with a good run after every few of them: it must be bit exact."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from moesaic.errors import FailedRun
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Campaign, Chunk, Failure
from moesaic.flow.verify.nano import Nano, nano
from moesaic.scratch import scratch
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

__all__ = ["EXACT", "OTHER", "PLAIN", "Case", "drawn_campaign", "run_chunk"]

EVERY = 10  # cases between two good runs
LIMIT = 1_000_000  # cycles until the interrupt

EXACT, OTHER, NONE = "done, bit exact", "done, other data", "TIMEOUT"
PLAIN = {  # the DDR model without stalls or faults
    "latency": 100,
    "bandwidth": 64,
    "stall_ar": 0,
    "stall_r": 0,
    "stall_aw": 0,
    "stall_w": 0,
    "stall_b": 0,
    "err_resp": 0,
    "aw_after_w": 0,
    "dead_after": -1,
    "dead_writes_after": -1,
}


@dataclass(frozen=True)
class Case:
    """One run.

    Parameters
    ----------
    number : int
    what : str
        What is wrong with it.
    run : RtlRun
    allowed : tuple of str
        Endings that it may have: names of error codes, `EXACT`, `OTHER`. Empty: any but no interrupt at all.
    """

    number: int
    what: str
    run: RtlRun
    allowed: tuple[str, ...] = ()


def _ending(nano: Nano, result: RtlResult) -> str:
    if result.error is not None:
        return str(result.error["code"])
    return EXACT if result.output is not None and np.array_equal(result.output, nano.expected) else OTHER


def _in_plain_memory(run: RtlRun) -> RtlRun:
    return replace(run, memory={**PLAIN, **run.memory})


def _simulate(nano: Nano, cases: Sequence[Case], seed: int, simulator: RtlSimulator) -> tuple[list[str], list[Failure]]:
    """Endings of the cases, and failures."""
    runs: list[tuple[Case | None, RtlRun]] = []
    for position, case in enumerate(cases, start=1):
        runs.append((case, _in_plain_memory(case.run)))
        if position % EVERY == 0 or position == len(cases):
            runs.append((None, _in_plain_memory(nano.run())))
    with scratch() as work:
        results = simulator.run(
            nano.program,
            [run for _, run in runs],
            work_dir=work,
            seed=seed,
            limit=LIMIT,
            plusargs=[f"+window_bytes={len(nano.program.memory)}"],
            watched=False,
        )
    endings: list[str] = []
    failures, last = [], cases[0]
    for (run_case, _), result in zip(runs, results, strict=True):
        ending = _ending(nano, result)
        if run_case is not None:
            last = run_case
            endings.append(ending)
            if ending == NONE or (last.allowed and ending not in last.allowed):
                failures.append(Failure(last.number, last.what, ending))
        elif ending != EXACT:
            failures.append(Failure(last.number, last.what, f"the good run behind it: {ending}"))
        if result.violations["mask"]:
            failures.append(Failure(last.number, last.what, f"rules of the bus: {dict(result.violations)}"))
            endings += ["not looked at"] * (len(cases) - len(endings))  # they stay set
            break
    return endings, failures


def _run(nano: Nano, cases: Sequence[Case], seed: int, simulator: RtlSimulator) -> tuple[list[str], list[Failure]]:
    """Endings and failures. If the simulator itself dies, the case that kills it is looked for."""
    try:
        return _simulate(nano, cases, seed, simulator)
    except FailedRun as problem:
        if len(cases) == 1:
            text = " ".join(str(problem).split())
            return ["simulation failed"], [Failure(cases[0].number, cases[0].what, text[-500:])]
    middle = len(cases) // 2
    parts = [_run(nano, half, seed, simulator) for half in (cases[:middle], cases[middle:])]
    return [e for endings, _ in parts for e in endings], [f for _, failures in parts for f in failures]


def run_chunk(nano: Nano, number: int, cases: Sequence[Case], *, simulator: RtlSimulator | None = None) -> Chunk:
    """The cases of a chunk in one simulation; the stalls of the memory have the chunk's number as seed.

    Parameters
    ----------
    nano : Nano
    number : int
    cases : sequence of Case
    simulator : RtlSimulator, optional
        Of the network's accelerator; the usual one if not given.
    """
    if simulator is None:
        need = SimulatorNeed.of(nano.program)
        simulator = RtlSimulator(need.accelerator, memory_bytes=need.memory_bytes, base=need.base)
    endings, failures = _run(nano, cases, number + 1, simulator)
    return Chunk(number, len(cases), dict(sorted(Counter(endings).items())), tuple(failures))


Draw = Callable[[Nano, int, int], Case]


def _drawn(draw: Draw, chunk: int, nano: Nano, item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    return run_chunk(nano, number, [draw(nano, seed, number * chunk + k) for k in range(chunk)])


def drawn_campaign(name: str, title: str, draw: Draw, *, chunk: int = 100) -> Campaign:
    """The campaign of cases that a function of a module draws by seed and number, `chunk` of them in a simulation."""
    return Campaign(
        name=name,
        title=title,
        chunk_cases=chunk,
        prepare=nano,
        function=partial(_drawn, draw, chunk),
        need=lambda shared: SimulatorNeed.of(shared.program),
    )
