"""Mutants of the RTL: proved equivalent, noticed by a trial of the ladder, or left."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moesaic.errors import FailedRun
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Campaign, Chunk, Failure
from moesaic.flow.verify.equivalence import equivalent, equivalent_over_cycles
from moesaic.flow.verify.ladder import Ladder, Truth, ladder
from moesaic.flow.verify.mutants import PER_BUILD, Climb, MutantSimulator, climb, mutants_of
from moesaic.flow.verify.tried import CONFIG
from moesaic.hw.export import TOP
from moesaic.scratch import scratch

__all__ = ["ENDED", "EQUIVALENT", "MUTATION", "NOTICED", "UNNOTICED", "UNREACHED", "check_truths", "sort"]

CHUNK = 100

EQUIVALENT = "proved equivalent"
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


def _chunk(steps: Ladder, item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    batch, part = divmod(number, PER_BUILD // CHUNK)
    mutants = mutants_of(CONFIG, count=PER_BUILD, seed=1 + seed * 1000 + batch)
    # From all over the list, which Yosys does not shuffle.
    mine = range(1 + part, len(mutants.list) + 1, PER_BUILD // CHUNK)
    proved = equivalent(mutants.design, top=TOP, count=len(mutants.list))
    need = SimulatorNeed.of(steps.truths[0].program)
    simulator = MutantSimulator(
        need.accelerator, memory_bytes=len(steps.memory), base=need.base, verilog=mutants.verilog
    )
    trials = [(rung.name, trial) for rung in steps.rungs for trial in rung.trials]
    with scratch() as work:
        asked = [mutant for mutant in mine if mutant not in proved]
        climbed = climb(simulator, [trial for _, trial in trials], steps.memory, asked, work_dir=work)
        check_truths(steps.truths, [trial.name for _, trial in trials], work)
    left = [mutant for mutant in asked if mutant not in climbed.noticed]
    proved |= equivalent_over_cycles(mutants.design, top=TOP, count=len(mutants.list), mutants=left)
    endings = sort(mine, proved, climbed, [name for name, _ in trials])
    survivors = [
        Failure(batch * PER_BUILD + mutant - 1, str(mutants.list[mutant - 1]), ending)
        for mutant, ending in endings.items()
        if ending in (UNREACHED, UNNOTICED)
    ]
    return Chunk(number, len(endings), dict(sorted(Counter(endings.values()).items())), tuple(survivors))


MUTATION = Campaign(
    name="mutation",
    title="mutants of the RTL",
    chunk_cases=CHUNK,
    prepare=ladder,
    function=_chunk,
    need=lambda _: None,
    tolerant=True,
)
