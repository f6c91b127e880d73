"""Random legal programs: on RTL, each leaves what it leaves in the functional simulator."""

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from moesaic.compiler.image import ProgramImage, RegionTable
from moesaic.compiler.pipeline import compile_model
from moesaic.errors import FailedRun
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Campaign, Chunk, Failure
from moesaic.flow.verify.legal_programs import RESIDUAL_WORDS, LegalProgram, Weights, draw_program
from moesaic.flow.verify.nano import STREAMS
from moesaic.flow.verify.runs import PLAIN
from moesaic.flow.verify.tried import CONFIG
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.sizes import MLPSizes, NormSizes
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, chain_of
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.scratch import scratch
from moesaic.sim.compare import compare
from moesaic.sim.functional import FunctionalSimulator, ProgramError
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

__all__ = ["LEGAL", "Programs", "collect", "draw_programs", "run_programs", "wanted"]

CHUNK = 60  # programs of a simulation: an image has tasks for 64
LIMIT = 500_000  # cycles of a run
EQUAL = "equal"

_STALLS = ("stall_ar", "stall_r", "stall_aw", "stall_w", "stall_b")


@dataclass(frozen=True)
class Programs:
    """Programs in one image, a task each.

    Parameters
    ----------
    image : ProgramImage
    programs : mapping of task to LegalProgram
    """

    image: ProgramImage
    programs: dict[str, LegalProgram]


@functools.cache
def _manifest(config: AcceleratorConfig) -> dict[str, Any]:
    """Of a network whose result is as large as that of the programs."""
    height, width = 6, RESIDUAL_WORDS // 6
    cut = Image(
        height=height, width=width, patch_height=1, patch_width=1, channels=1, pixel_mean=(0.0,), pixel_std=(1.0,)
    )
    nodes = chain_of(cut, 0, config.lanes, [[Layer(sizes=MLPSizes(hidden=8), norm=NormSizes())]])
    network = Network(name="programs", tasks=tuple(f"p{number}" for number in range(CHUNK)), image=cut, nodes=nodes)
    return dict(compile_model(hollow_model(network), config, tasks=network.tasks[:1]).manifest)


def collect(programs: Sequence[LegalProgram], weights: Weights, *, window_address: int | None = None) -> Programs:
    """Programs that share a weight stream, as one image; at the usual place if not given one."""
    base = _manifest(weights.config)
    table, tasks = RegionTable(base["window"]["address"] if window_address is None else window_address), {}
    named = dict(zip(base["network"]["tasks"], programs, strict=False))
    for task, program in named.items():
        entry = dict(base["tasks"]["p0"])
        for stream in STREAMS:
            instructions = getattr(program, stream)
            region = table.add(f"{stream}.{task}", b"".join(instructions))
            entry[stream] = {"address": region.address, "count": len(instructions)}
        names = [tensor["name"] for tensor in base["tensors"]]
        entry["marks"] = [
            {"name": name, "instruction": place, "shared": False}
            for name, place in zip(names, program.marks, strict=True)
        ]
        tasks[task] = entry | {"items": [{"image": 0, "task": task}], "own": [], "speculated": 0}
    sizes = {region["name"]: region["bytes"] for region in base["regions"]}
    table.add("image.0", sizes["image.0"], 0)
    table.add("weights.0", bytes(weights.data), 0)
    table.add("result", sizes["result"])
    memory = table.memory()
    manifest = base | {
        "window": {"address": table.address, "bytes": len(memory)},
        "regions": [asdict(region) for region in table.regions],
        "tasks": tasks,
        "pieces": [{"name": "all", "offset": 0, "bytes": len(weights.data)}],
        "experts": {},
        "memory_sha256": hashlib.sha256(memory).hexdigest(),
    }
    return Programs(ProgramImage(memory, manifest), named)


@dataclass(frozen=True)
class Wanted:
    """What a program leaves.

    Parameters
    ----------
    output : int16 [tokens, dim]
        As it lies in DDR.
    counters : mapping of str to int
        Those that do not depend on time, by their names in small letters.
    """

    output: np.ndarray[Any, Any]
    counters: dict[str, int]


def wanted(programs: Programs, task: str) -> Wanted:
    """By the functional simulator.

    Raises
    ------
    ProgramError
        If it refuses the program, or finds another result where memories hold other noise at first.
    """
    image, found = programs.image, []
    for seed in (1, 2):
        simulator = FunctionalSimulator(image.config, seed=seed)
        simulator.load(image)
        run = simulator.run(task)
        counters = {name.lower(): value for name, value in run.counters.items()}
        found.append(Wanted(image.unpack_result(run.result, task), counters))
    first, second = found
    if not np.array_equal(first.output, second.output):
        raise ProgramError("compute", 0, "result must not depend on what memories hold at first")
    return first


def _problem(right: Wanted, result: RtlResult) -> str:
    """What is wrong with a run; empty if nothing is."""
    if result.error is not None:
        return f"{result.error['code']}: {result.error['text']}"
    if result.violations["mask"]:
        return f"rules of the bus: {dict(result.violations)}"
    assert result.output is not None
    mismatch = compare("result", result.output, right.output)
    if mismatch is not None:
        return str(mismatch)
    wrong = {
        name: (result.counters[name], value)
        for name, value in right.counters.items()
        if name in result.counters and result.counters[name] != value
    }
    return f"counters, and what they must be: {wrong}" if wrong else ""


def _simulate(programs: Programs, runs: Sequence[RtlRun], seed: int, simulator: RtlSimulator) -> list[RtlResult]:
    with scratch() as work:
        return simulator.run(
            programs.image,
            runs,
            work_dir=work,
            seed=seed,
            limit=LIMIT,
            plusargs=[f"+window_bytes={len(programs.image.memory)}"],
        )


def _results(programs: Programs, runs: Sequence[RtlRun], seed: int, simulator: RtlSimulator) -> list[RtlResult | str]:
    """What each run left, or why the simulation ended in it."""
    try:
        return [*_simulate(programs, runs, seed, simulator)]
    except FailedRun as problem:
        if len(runs) == 1:
            return [" ".join(str(problem).split())[-500:]]
    middle = len(runs) // 2
    halves = (runs[:middle], runs[middle:])
    return [result for half in halves for result in _results(programs, half, seed, simulator)]


def run_programs(programs: Programs, seed: int, number: int, *, simulator: RtlSimulator | None = None) -> Chunk:
    """All programs of a simulation, with pauses of the memory in some of them.

    `simulator` is one of the programs' accelerator; the usual one if not given.
    """
    if simulator is None:
        need = SimulatorNeed.of(programs.image)
        simulator = RtlSimulator(need.accelerator, memory_bytes=need.memory_bytes, base=need.base)
    endings: Counter[str] = Counter()
    failures, runs, right = [], [], {}
    rng = random.Random(f"stalls {seed} {number}")
    for position, (task, program) in enumerate(programs.programs.items()):
        case, what = number * CHUNK + position, ", ".join(program.what)
        try:
            right[task] = wanted(programs, task)
        except ProgramError as refused:
            endings["refused by the functional simulator"] += 1
            failures.append(Failure(case, what, f"seed {seed}, case {case}: {refused}"))
            continue
        stalls = {name: rng.choice((0, 30, 60)) for name in _STALLS} if rng.random() < 0.3 else {}
        runs.append(RtlRun(task, memory={**PLAIN, **stalls, "latency": rng.choice((2, 20, 50, 100))}))
    for run, result in zip(runs, _results(programs, runs, number + 1, simulator) if runs else [], strict=True):
        case = number * CHUNK + list(programs.programs).index(run.task)
        problem = result if isinstance(result, str) else _problem(right[run.task], result)
        endings["different" if problem else EQUAL] += 1
        if problem:
            what = ", ".join(programs.programs[run.task].what)
            failures.append(Failure(case, what, f"seed {seed}, case {case}: {problem}"))
    return Chunk(number, len(programs.programs), dict(sorted(endings.items())), tuple(failures))


def draw_programs(seed: int, number: int) -> Programs:
    """Those of a simulation."""
    weights = Weights(CONFIG)
    drawn = [draw_program(random.Random(f"{seed} {number} {k}"), weights) for k in range(CHUNK)]
    return collect(drawn, weights)


def _chunk(shared: dict[str, Any], item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    return run_programs(draw_programs(seed, number), seed, number)


LEGAL = Campaign(
    name="legal",
    title="random legal programs on RTL",
    chunk_cases=CHUNK,
    prepare=dict,
    function=_chunk,
    need=lambda _: SimulatorNeed.of(collect([], Weights(CONFIG)).image),
)
