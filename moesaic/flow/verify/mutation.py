"""Mutants of the RTL: proved equivalent, noticed by a trial of the ladder, or left."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from moesaic.errors import FailedRun
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Campaign, Chunk, Failure
from moesaic.flow.verify.equivalence import equivalent, equivalent_over_cycles
from moesaic.flow.verify.exclusions import exclusions, fits
from moesaic.flow.verify.ladder import Ladder, Rung, Truth, ladder
from moesaic.flow.verify.mutants import PER_BUILD, Climb, Mutants, MutantSimulator, climb, mutants_of
from moesaic.flow.verify.trial import Trial
from moesaic.flow.verify.tried import CONFIG
from moesaic.hw.export import TOP
from moesaic.scratch import scratch

__all__ = [
    "ENDED",
    "EQUIVALENT",
    "LISTED",
    "MUTATION",
    "NOTICED",
    "UNNOTICED",
    "UNREACHED",
    "WRONGLY",
    "check_truths",
    "endings_of",
    "excused",
    "memory_bytes",
    "sort",
]

CHUNK = 100
ROOM = 1 << 20  # bytes of memory: a simulator has a multiple

EQUIVALENT = "proved equivalent"
LISTED = "listed as equivalent"
WRONGLY = "noticed, and listed as equivalent"
NOTICED = "noticed: "
ENDED = "noticed: an assertion, or the end of the simulation"
UNREACHED, UNNOTICED = "not reached by any trial", "not noticed"


def sort(mutants: Sequence[int], proved: frozenset[int], climb: Climb, rungs: Sequence[str]) -> dict[int, str]:
    """The ending of each mutant; `rungs` has the name of every trial's rung."""
    endings = {}
    for mutant in mutants:
        if mutant in proved:
            endings[mutant] = EQUIVALENT
        elif mutant in climb.noticed:
            trial, what = climb.noticed[mutant]
            endings[mutant] = f"{NOTICED}{rungs[trial]}" if what else ENDED
        else:
            endings[mutant] = UNNOTICED if climb.reached[mutant] else UNREACHED
    return endings


def check_truths(truths: Sequence[Truth], trials: Sequence[str], folder: Path) -> None:
    """`FailedRun` if what the right hardware left behind a trial is not what the golden model says."""
    for truth in truths:
        region = truth.program.region("result")
        low = region.address - truth.program.address
        memory = (folder / f"right_{trials.index(truth.trial)}.bin").read_bytes()
        found = truth.program.unpack_result(memory[low : low + region.bytes])
        if not np.array_equal(found, truth.residual):
            raise FailedRun(f"accelerator without a mutant must be bit exact in trial {truth.trial!r}")


def _trials(rungs: Sequence[Rung]) -> list[Trial]:
    return [trial for rung in rungs for trial in rung.trials]


def _climb(steps: Ladder, rungs: Sequence[Rung], simulator: MutantSimulator, mutants: Sequence[int]) -> Climb:
    """Some rungs; the right hardware is held to what it must leave."""
    trials = _trials(rungs)
    names = [trial.name for trial in trials]
    with scratch() as work:
        climbed = climb(simulator, trials, steps.memory, mutants, work_dir=work)
        check_truths([truth for truth in steps.truths if truth.trial in names], names, work)
    return climbed


def _both(first: Climb, trials: int, second: Climb) -> Climb:
    """One climb of what the other, of so many trials before it, has left."""
    noticed = {mutant: (trials + trial, what) for mutant, (trial, what) in second.noticed.items()}
    reached = {
        mutant: (*places, *(trials + trial for trial in second.reached.get(mutant, ())))
        for mutant, places in first.reached.items()
    }
    return Climb({**first.noticed, **noticed}, reached)


def memory_bytes(memory: bytes) -> int:
    """Of the simulator; in large steps, so that one simulator serves ladders that differ a little."""
    return -(-len(memory) // ROOM) * ROOM


def endings_of(steps: Ladder, mutants: Mutants, mine: Sequence[int]) -> dict[int, str]:
    """Of some mutants. What cheap trials do not notice is tried to be proved before it climbs on."""
    count = len(mutants.list)
    proved = equivalent(mutants.design, top=TOP, count=count)
    need = SimulatorNeed.of(steps.truths[0].program)
    simulator = MutantSimulator(
        need.accelerator, memory_bytes=memory_bytes(steps.memory), base=need.base, verilog=mutants.verilog
    )
    cheap, networks = steps.rungs[: steps.cheap], steps.rungs[steps.cheap :]
    climbed = _climb(steps, cheap, simulator, [mutant for mutant in mine if mutant not in proved])
    left = [mutant for mutant in climbed.reached if mutant not in climbed.noticed]
    proved |= equivalent_over_cycles(mutants.design, top=TOP, count=count, mutants=left)
    left = [mutant for mutant in left if mutant not in proved]
    if left:
        climbed = _both(climbed, len(_trials(cheap)), _climb(steps, networks, simulator, left))
    return sort(mine, proved, climbed, [rung.name for rung in steps.rungs for _ in rung.trials])


def _exclusions() -> tuple[tuple[str, str], ...]:
    return exclusions("moesaic.flow.verify", "mutation_exclusions.toml")


def excused(failure: Failure) -> str:
    """The ending of a survivor that is listed as equivalent; empty if it is not."""
    return LISTED if failure.found in (UNREACHED, UNNOTICED) and fits(failure.what, _exclusions()) else ""


def _judged(mutants: Mutants, endings: Mapping[int, str]) -> dict[int, str]:
    """Endings, where what is noticed must not be listed."""
    return {
        mutant: WRONGLY if ending.startswith(NOTICED) and fits(str(mutants.list[mutant - 1]), _exclusions()) else ending
        for mutant, ending in endings.items()
    }


def _mutants(seed: int, batch: int) -> Mutants:
    return mutants_of(CONFIG, count=PER_BUILD, seed=1 + seed * 1000 + batch)


def _chunk(steps: Ladder, item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    batch, part = divmod(number, PER_BUILD // CHUNK)
    mutants = _mutants(seed, batch)
    # From all over the list, which Yosys does not shuffle.
    mine = range(1 + part, len(mutants.list) + 1, PER_BUILD // CHUNK)
    endings = _judged(mutants, endings_of(steps, mutants, mine))
    survivors = [
        Failure(batch * PER_BUILD + mutant - 1, str(mutants.list[mutant - 1]), ending)
        for mutant, ending in endings.items()
        if ending in (UNREACHED, UNNOTICED, WRONGLY)
    ]
    return Chunk(number, len(endings), dict(sorted(Counter(endings.values()).items())), tuple(survivors))


def _again(steps: Ladder, item: tuple[int, tuple[int, ...]], stages: Stages) -> dict[int, str]:
    """Cases of one simulator."""
    seed, cases = item
    batch = cases[0] // PER_BUILD
    mutants = _mutants(seed, batch)
    endings = _judged(mutants, endings_of(steps, mutants, [case % PER_BUILD + 1 for case in cases]))
    return {batch * PER_BUILD + mutant - 1: ending for mutant, ending in endings.items()}


MUTATION = Campaign(
    name="mutation",
    title="mutants of the RTL",
    chunk_cases=CHUNK,
    prepare=ladder,
    function=_chunk,
    need=lambda _: None,
    tolerant=True,
    excused=excused,
    again=_again,
)
