"""Mutants of the RTL: each must be noticed by a few short runs, which differ from those of the right hardware."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from moesaic.errors import FailedRun
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Campaign, Chunk, Failure
from moesaic.flow.verify.mutants import MutantSimulator, mutants_of
from moesaic.flow.verify.mutator import CONTROL
from moesaic.flow.verify.nano import Nano, nano
from moesaic.flow.verify.runs import EXACT, OTHER, PLAIN
from moesaic.scratch import scratch
from moesaic.sim.rtl import RtlResult, RtlRun

__all__ = ["MUTATION", "SURVIVED", "judge", "seen", "trials"]

CHUNK = 50
PER_BUILD = 1000  # mutants of a simulator
LIMIT = 20_000  # cycles until the interrupt
SECONDS = 120  # until a simulation is ended

SURVIVED = "survived"
_DIED, _HANGS = "killed: assertion or end of the simulation", "killed: no interrupt"

Seen = tuple[object, ...]


def trials(nano: Nano) -> list[RtlRun]:
    """The runs: as it should be, with stalls, with an error response, a bad instruction and an abort, and once more."""
    weights = nano.program.region("weights.0")
    stalls = dict.fromkeys(("stall_ar", "stall_r", "stall_aw", "stall_w", "stall_b"), 50)
    runs = [
        nano.run(),
        nano.run(memory=stalls),
        nano.run(memory={"err_addr": weights.address + 1600, "err_resp": 2}, memory_after={"err_resp": 0}),
        nano.patched("compute", nano.count("compute") // 2, bytes(32)),
        nano.run(command="abort", command_after=1000),
        nano.run(),
    ]
    return [replace(run, memory={**PLAIN, **run.memory}) for run in runs]


def seen(nano: Nano, result: RtlResult) -> Seen:
    """What a host sees of a run, and every counter at every block."""
    error = result.error
    ending = EXACT if result.output is not None and np.array_equal(result.output, nano.expected) else OTHER
    said = () if error is None else tuple(sorted((key, error[key]) for key in error if key != "text"))
    marks = tuple(mark.tobytes() for mark in result.marks)
    counters = tuple(sorted(result.counters.items()))
    return ending, said, result.status, result.violations["mask"], counters, marks, len(result.mark_counters)


def judge(right: Sequence[Seen], found: Sequence[Seen]) -> str:
    """How a mutant was noticed, if it was."""
    for number, (wanted, got) in enumerate(zip(right, found, strict=True)):
        if wanted != got:
            errors = dict(got[1]) if isinstance(got[1], tuple) else {}
            code = errors.get("code")
            if code == "TIMEOUT":
                return _HANGS
            if code is not None and got[1] != wanted[1]:
                return f"killed: {code}"
            return "killed: data" if number == 0 and got[0] != wanted[0] else "killed: status, counters or a later run"
    return SURVIVED


def _run(nano: Nano, simulator: MutantSimulator, number: int) -> list[Seen]:
    with scratch() as work:
        results = simulator.run(
            nano.program,
            trials(nano),
            work_dir=work,
            limit=LIMIT,
            timeout_s=SECONDS,
            plusargs=[f"+{CONTROL}={number}", f"+window_bytes={len(nano.program.memory)}"],
        )
    return [seen(nano, result) for result in results]


def _chunk(nano: Nano, item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    batch, first = divmod(number * CHUNK, PER_BUILD)
    mutants = mutants_of(nano.program.config, count=PER_BUILD, seed=1 + seed * 1000 + batch)
    need = SimulatorNeed.of(nano.program)
    simulator = MutantSimulator(
        need.accelerator, memory_bytes=need.memory_bytes, base=need.base, verilog=mutants.verilog
    )
    right = _run(nano, simulator, 0)
    if right[0][0] != EXACT:
        raise FailedRun(f"accelerator without a mutant must be bit exact, not {right[0][:2]}")
    endings: Counter[str] = Counter()
    survivors = []
    for place in range(first, min(first + CHUNK, len(mutants.list))):
        try:
            ending = judge(right, _run(nano, simulator, place + 1))
        except (FailedRun, FileNotFoundError, ValueError, LookupError):  # or it left nothing that can be read
            ending = _DIED
        endings[ending] += 1
        if ending == SURVIVED:
            survivors.append(Failure(batch * PER_BUILD + place, str(mutants.list[place]), SURVIVED))
    return Chunk(number, sum(endings.values()), dict(sorted(endings.items())), tuple(survivors))


MUTATION = Campaign(
    name="mutation",
    title="mutants of the RTL",
    chunk_cases=CHUNK,
    prepare=nano,
    function=_chunk,
    need=lambda _: None,
    tolerant=True,
)
