"""Structural coverage of the RTL: what many cases together run, take and toggle, and what none of them does."""

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moesaic.boards.hardware import hardware_digest
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.verify import coverage_points, extremes, places, programs, slaves, unreachable
from moesaic.flow.verify.campaign import Campaign, Chunk
from moesaic.flow.verify.coverage_points import Point
from moesaic.flow.verify.covered import Coverage, measured
from moesaic.flow.verify.covered_simulator import FLAGS, CoveredSimulator
from moesaic.flow.verify.ladder import Truth, ladder
from moesaic.flow.verify.legal import draw_programs, run_programs
from moesaic.flow.verify.long_programs import run_long
from moesaic.flow.verify.mutants import climb
from moesaic.flow.verify.mutation import check_truths
from moesaic.flow.verify.nano import Nano, nano
from moesaic.flow.verify.rare_programs import rare_programs
from moesaic.flow.verify.runs import run_chunk
from moesaic.flow.verify.state_trials import reset_trials, state_trials
from moesaic.flow.verify.trial import Trial
from moesaic.hw.export import TOP
from moesaic.scratch import scratch
from moesaic.store import Store, key_of

__all__ = ["COVERAGE", "points", "proved"]

CHUNK = 100  # cases
DRAWN = (programs.draw, slaves.draw, places.draw, extremes.draw)  # chunks of each in turn, and one of legal programs
_POINTS = "points.json"


def _simulator(nano: Nano) -> CoveredSimulator:
    need = SimulatorNeed.of(nano.program)
    return CoveredSimulator(need.accelerator, memory_bytes=need.memory_bytes, base=need.base)


@functools.cache
def _listed() -> tuple[tuple[Point, str], ...]:
    """All points of the accelerator that the campaigns run, and why nothing can hit one, if that is proved."""
    small = nano()
    simulator = _simulator(small)

    def make(folder: Path) -> None:
        with scratch() as work:
            simulator.run(small.program, [small.run()], work_dir=work)
        found = sorted(simulator.hits)
        never = unreachable.unreachable(simulator.exported, TOP, found)
        listed = [[point.module, point.kind, point.place, never.get(point, "")] for point in found]
        (folder / _POINTS).write_text(json.dumps(listed), encoding="utf-8")

    recipes = [Path(str(module.__file__)).read_bytes() for module in (coverage_points, unreachable)]
    key = key_of(hardware_digest(), simulator.verilog, simulator.testbench, *recipes, *FLAGS)
    text = (Store("coverage").obtain(key, make).path / _POINTS).read_text(encoding="utf-8")
    return tuple((Point(module, kind, place), why) for module, kind, place, why in json.loads(text))


def points() -> tuple[Point, ...]:
    """All points of the accelerator that the campaigns run, in the order of a chunk's bits."""
    return tuple(point for point, _ in _listed())


def proved() -> dict[Point, str]:
    """Those of them that nothing can hit, with the reason."""
    return {point: why for point, why in _listed() if why}


def _bits(simulator: CoveredSimulator) -> str:
    return f"{sum(1 << place for place, point in enumerate(points()) if simulator.hits.get(point)):x}"


def _climbed(
    simulator: CoveredSimulator, trials: Sequence[Trial], truths: Sequence[Truth], memory: bytes
) -> dict[str, int]:
    """How many trials ended as they must, which is all of them."""
    with scratch() as work:
        climb(simulator, trials, memory, [], work_dir=work)
        check_truths(truths, [trial.name for trial in trials], work)
        simulator.add_hits(work)
    return {"trials, as they must": len(trials)}


def _truths(trials: Sequence[Trial], nano: Nano) -> list[Truth]:
    """What the last run of each trial leaves."""
    return [Truth(trial.name, nano.program, nano.expected) for trial in trials]


def _trials(number: int, nano: Nano) -> Chunk:
    """All trials that mutants must pass, and those of each state, by the hardware as it is."""
    steps, states = ladder(), state_trials(nano)
    # Counters that are set have values which no run gives them.
    trials = [t for rung in steps.rungs for t in rung.trials if all(step[0] != "counters" for step in t.steps)]
    names = {trial.name for trial in trials}
    trials += [trial for trial in states if trial.name not in names]
    need = SimulatorNeed.of(nano.program)
    simulator = CoveredSimulator(need.accelerator, memory_bytes=len(steps.memory), base=need.base)
    names |= {trial.name for trial in trials}
    truths = [truth for truth in (*steps.truths, *_truths(states, nano)) if truth.trial in names]
    endings = _climbed(simulator, trials, truths, steps.memory)
    return Chunk(number, len(trials), endings, (), covered=_bits(simulator))


def _long(number: int, nano: Nano, simulator: CoveredSimulator) -> Chunk:
    """A long program, programs of what is rare, and resets in the middle of what the accelerator does."""
    trials = reset_trials(nano)
    endings = _climbed(simulator, trials, _truths(trials, nano), nano.program.memory_with(nano.image))
    long, rare = run_long(number, simulator=simulator), run_programs(rare_programs(), 0, number, simulator=simulator)
    cases = long.cases + rare.cases + len(trials)
    return Chunk(number, cases, {**long.endings, **rare.endings, **endings}, long.failures + rare.failures)


def _chunk(nano: Nano, item: tuple[int, int], stages: Stages) -> Chunk:
    """First all trials, then a long program, then what `DRAWN` draws and legal programs in turn."""
    seed, number = item
    if number == 0:
        return _trials(number, nano)
    simulator, kind = _simulator(nano), number % (len(DRAWN) + 1)
    if number == 1:
        chunk = _long(number, nano, simulator)
    elif kind == len(DRAWN):
        chunk = run_programs(draw_programs(seed, number), seed, number, simulator=simulator)
    else:
        cases = [DRAWN[kind](nano, seed, number * CHUNK + place) for place in range(CHUNK)]
        chunk = run_chunk(nano, number, cases, simulator=simulator)
    return replace(chunk, covered=_bits(simulator))


def _measure(covered: int) -> Coverage:
    return measured(points(), covered, proved=proved())


COVERAGE = Campaign(
    name="coverage",
    title="structural coverage",
    chunk_cases=CHUNK,
    prepare=nano,
    function=_chunk,
    need=lambda _: None,
    measure=_measure,
)
