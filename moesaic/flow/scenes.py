"""Many unseen scenes through the accelerator: every output against the integer model, every map against the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moesaic.compiler.memory import BOARD_MEMORY, IDEAL, IDEAL_MEMORY, DdrTiming
from moesaic.errors import InputError
from moesaic.flow.conditions import MemoryKind
from moesaic.flow.execute import Residuals, TaskOutcome, differences, execute
from moesaic.flow.program import Program
from moesaic.flow.stages import Stages
from moesaic.golden.evaluation import metrics
from moesaic.golden.heads import DenseHead
from moesaic.golden.training.scenes import CLASSES, render_batch
from moesaic.golden.training.trainer import FIRST_CHECK_SEED
from moesaic.records import called
from moesaic.sim.ddr import memory_plusargs
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

__all__ = ["MapScore", "SceneDifference", "ScenesReport", "Spread", "check_numbers", "score_scenes"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SceneDifference:
    """Residuals or outputs of two models that are not the same."""

    scene: int
    task: str
    text: str


@dataclass(frozen=True)
class MapScore:
    """How good a task's maps are: `measure` is the name of mIoU, or of depth's root mean squared error."""

    measure: str
    by_float: float = field(metadata=called("float"))
    accelerator: float


@dataclass(frozen=True)
class Spread:
    """Of numbers over the scenes."""

    least: int = field(metadata=called("min"))
    mean: float
    most: int = field(metadata=called("max"))

    @classmethod
    def of(cls, values: Sequence[int]) -> "Spread":
        """Of these."""
        return cls(min(values), round(float(np.mean(values)), 1), max(values))


@dataclass(frozen=True)
class ScenesReport:
    """What `moesaic scenes` found.

    Parameters
    ----------
    model, weights, widths, board : str
    memory : str
        That was simulated (`flow.conditions`).
    scenes : tuple of int
    compared : tuple of str
        Models whose residuals were compared.
    bit_exact : bool
        Whether there are no differences.
    differences : tuple of SceneDifference
    tasks : mapping of task to MapScore
        Of those with a head that the scenes have a truth for.
    cycles, experts_used : mapping of task to Spread
        Over the scenes; experts in a mixture.
    """

    model: str
    weights: str
    widths: str
    board: str
    memory: MemoryKind
    scenes: tuple[int, ...]
    compared: tuple[str, ...]
    bit_exact: bool
    differences: tuple[SceneDifference, ...]
    tasks: Mapping[str, MapScore]
    cycles: Mapping[str, Spread]
    experts_used: Mapping[str, Spread]

    def __post_init__(self) -> None:
        if self.bit_exact != (not self.differences):
            raise ValueError(f"bit_exact must be {not self.differences} of {len(self.differences)} differences")


@dataclass(frozen=True)
class _Truth:
    """Rendered scenes: images [n, 3, H, W] uint8, classes and metres [n, H, W]."""

    images: Array
    labels: Array
    depths: Array


def check_numbers(scenes: Sequence[int]) -> None:
    """`InputError` if there are no scenes, or a training has watched one of them."""
    if not scenes:
        raise InputError("scenes must be one or more, not none")
    if not (0 <= min(scenes) and max(scenes) < FIRST_CHECK_SEED):
        raise InputError(
            f"scenes must be numbered from 0 to {FIRST_CHECK_SEED - 1} (a training has seen the others), "
            f"not {min(scenes)} to {max(scenes)}"
        )


def _check_heads(program: Program) -> None:
    """`InputError` if not all blocks are run, or no task has a head that these scenes have a truth for."""
    if not program.request.whole:
        raise InputError(
            f"blocks must be all {program.request.model.depth} to score a map, not {program.request.blocks!r}"
        )
    if not any(
        isinstance(program.compiled_from.heads[t], DenseHead)
        for t in program.request.tasks
        if t in program.compiled_from.heads
    ):
        raise InputError(
            f"model must have a head for the classes or the depth of street scenes, not {program.request.model.name!r}"
        )


def _rtl(program: Program, images: Array, stages: Stages, work: Path, ddr: DdrTiming) -> list[RtlResult]:
    """Every image for every task in one simulation, images outermost."""
    request = program.request
    simulator = RtlSimulator(request.accelerator, memory_bytes=len(program.image.memory), base=program.image.address)
    with stages.stage("build", "simulator (Verilator and C++; minutes the first time)"):
        simulator.build()
    runs = [RtlRun(task, image=image) for image in list(images) for task in request.tasks]
    with (
        stages.stage("rtl", f"RTL simulation, {len(runs)} runs"),
        stages.following(work / "marks.jsonl", len(runs) * (request.blocks + 1)),
    ):
        return simulator.run(
            program.image,
            runs,
            work_dir=work,
            seed=request.seed + 1,
            plusargs=memory_plusargs(ddr, request.accelerator),
        )


def _score(task: str, predicted: Array, truth: _Truth) -> float:
    """mIoU, or for depth the root mean squared error in metres."""
    if task == "depth":
        return metrics.depth_rmse(predicted, truth.depths)
    return metrics.mean_iou(metrics.confusion(predicted.argmax(axis=1), truth.labels, len(CLASSES)))


@torch.no_grad()
def _scores(program: Program, outputs: dict[str, list[Array]], truth: _Truth) -> dict[str, MapScore]:
    """Task metrics of the float model and of the accelerator's outputs."""
    step = np.float32(program.qmodel.blocks[-1].residual_step)
    result = {}
    for task, rows in outputs.items():
        if task not in program.compiled_from.heads or not isinstance(
            head := program.compiled_from.heads[task], DenseHead
        ):
            continue
        by_float = np.stack([head(program.compiled_from.model(image, task)[-1]).numpy() for image in truth.images])
        by_accelerator = np.stack([head(torch.from_numpy(row * step)).numpy() for row in rows])
        measure = "depth RMSE, m" if task == "depth" else "mIoU"
        result[task] = MapScore(measure, _score(task, by_float, truth), _score(task, by_accelerator, truth))
    return result


def _run_all(
    program: Program,
    scenes: Sequence[int],
    images: Array,
    stages: Stages,
    work: Path,
    *,
    rtl: bool,
    ddr: DdrTiming,
) -> list[tuple[int, TaskOutcome, RtlResult | None]]:
    silent = Stages(quiet=True)
    expected = []
    with stages.stage("golden", f"integer golden model and functional simulator, {len(scenes)} scenes"):
        for number, (scene, image) in enumerate(zip(scenes, images, strict=True)):
            stages.note(f"scene {number + 1} of {len(scenes)}")
            expected += [
                (scene, outcome) for outcome in execute(program, image, silent, rtl=False, work=work, quality=False)
            ]
    results: Sequence[RtlResult | None] = _rtl(program, images, stages, work, ddr) if rtl else [None] * len(expected)
    return [(scene, outcome, result) for (scene, outcome), result in zip(expected, results, strict=True)]


def score_scenes(
    program: Program, scenes: Sequence[int], stages: Stages, work: Path, *, rtl: bool = True, ddr: DdrTiming = IDEAL
) -> ScenesReport:
    """Run scenes through every model and the RTL, compare all residuals bit by bit, and score the maps.

    Parameters
    ----------
    program : Program
    scenes : sequence of int
        Seeds of rendered scenes; those below 90,000 are never trained on.
    stages : Stages
    work : Path
        Folder for the simulation's files.
    rtl : bool
        Simulate the RTL; without it the functional simulator's outputs are scored.
    ddr : DdrTiming
        Of the simulated memory.

    Raises
    ------
    InputError, ToolMissing, BuildFailed, SimulationFailed
    """
    check_numbers(scenes)
    _check_heads(program)
    request, qmodel = program.request, program.qmodel
    truth = _Truth(*render_batch(scenes, request.model.image_size))
    names = [entry["name"] for entry in program.image.manifest["tensors"]]
    steps = [qmodel.embed_step, *(block.residual_step for block in qmodel.blocks)]
    found, outputs = list[SceneDifference](), {task: list[Array]() for task in request.tasks}
    cycles = {task: list[int]() for task in request.tasks}
    experts = {task: list[int]() for task in request.tasks}
    for scene, outcome, result in _run_all(program, scenes, truth.images, stages, work, rtl=rtl, ddr=ddr):
        mine = list(outcome.differences)
        output = outcome.functional.output
        if result is not None:
            mine += differences(
                names,
                {"integer golden": outcome.golden, "RTL": Residuals(result.marks, result.output)},
                steps,
                outcome.items,
            )
            output = result.output
            if result.counters:
                cycles[outcome.task].append(result.counters["cycles"])
        found += [SceneDifference(scene, outcome.task, f"{d.models}: {d.mismatch}") for d in mine]
        outputs[outcome.task].append(outcome.golden.marks[-1] if output is None else output)
        experts[outcome.task] += [sum(1 for tokens in queue if tokens) for queue in outcome.experts.values()]
    with stages.stage("score", "maps against the truth"):
        tasks = _scores(program, outputs, truth)
    return ScenesReport(
        model=request.model.name,
        weights=qmodel.weights,
        widths=qmodel.widths,
        board=request.board,
        memory=IDEAL_MEMORY if ddr.dram is None else BOARD_MEMORY,
        scenes=tuple(int(scene) for scene in scenes),
        compared=("integer golden", "functional simulator", *(("RTL",) if rtl else ())),
        bit_exact=not found,
        differences=tuple(found),
        tasks=tasks,
        cycles={task: Spread.of(values) for task, values in cycles.items() if values},
        experts_used={task: Spread.of(values) for task, values in experts.items() if values},
    )
