"""Many unseen scenes through the accelerator: every output against the integer model, every map against the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moesaic.compiler.memory import BOARD_MEMORY, IDEAL, IDEAL_MEMORY, DdrTiming
from moesaic.errors import InputError
from moesaic.flow.conditions import MemoryKind
from moesaic.flow.execute import Residuals, TaskOutcome, differences, execute
from moesaic.flow.program import Program
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Job, Runner
from moesaic.golden.evaluation import metrics
from moesaic.golden.heads import DenseHead
from moesaic.golden.threads import one_thread
from moesaic.golden.training.scenes import CLASSES, render_batch
from moesaic.golden.training.trainer import FIRST_CHECK_SEED
from moesaic.records import called
from moesaic.scratch import scratch
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


@dataclass(frozen=True)
class _Asked:
    """What is asked of every scene."""

    program: Program
    rtl: bool
    ddr: DdrTiming


@dataclass(frozen=True)
class _Scene:
    """A rendered scene."""

    number: int
    image: Array


@dataclass(frozen=True)
class _TaskRun:
    """What one task of a scene gave: the final residual [tokens, dim], cycles if the RTL counted any, and the experts
    used in each mixture.
    """

    task: str
    differences: tuple[SceneDifference, ...]
    output: Array
    cycles: int | None
    experts: tuple[int, ...]


def _rtl(asked: _Asked, image: Array, stages: Stages, work: Path) -> list[RtlResult]:
    """A scene for every task in one simulation."""
    program, request = asked.program, asked.program.request
    simulator = RtlSimulator(request.accelerator, memory_bytes=len(program.image.memory), base=program.image.address)
    runs = [RtlRun(task, image=image) for task in request.tasks]
    with stages.following(work / "marks.jsonl", len(runs) * (request.blocks + 1)):
        return simulator.run(
            program.image,
            runs,
            work_dir=work,
            seed=request.seed + 1,
            plusargs=memory_plusargs(asked.ddr, request.accelerator),
        )


def _run_scene(asked: _Asked, scene: _Scene, stages: Stages) -> list[_TaskRun]:
    """All tasks of a scene through every model, compared."""
    program, qmodel = asked.program, asked.program.qmodel
    names = [entry["name"] for entry in program.image.manifest["tensors"]]
    steps = [qmodel.embed_step, *(block.residual_step for block in qmodel.blocks)]
    with scratch() as work:
        outcomes = execute(program, scene.image, Stages(quiet=True), rtl=False, work=work, quality=False)
        results: Sequence[RtlResult | None] = (
            _rtl(asked, scene.image, stages, work) if asked.rtl else [None] * len(outcomes)
        )
    return [
        _compared(scene.number, outcome, result, names, steps)
        for outcome, result in zip(outcomes, results, strict=True)
    ]


def _compared(
    scene: int, outcome: TaskOutcome, result: RtlResult | None, names: Sequence[str], steps: Sequence[float]
) -> _TaskRun:
    found, output = list(outcome.differences), outcome.functional.output
    if result is not None:
        models = {"integer golden": outcome.golden, "RTL": Residuals(result.marks, result.output)}
        found += differences(names, models, steps, outcome.items)
        output = result.output
    return _TaskRun(
        outcome.task,
        tuple(SceneDifference(scene, outcome.task, f"{d.models}: {d.mismatch}") for d in found),
        outcome.golden.marks[-1] if output is None else output,
        None if result is None else result.counters.get("cycles"),
        tuple(sum(1 for tokens in queue if tokens) for queue in outcome.experts.values()),
    )


def _score(task: str, predicted: Array, truth: _Truth) -> float:
    """mIoU, or for depth the root mean squared error in metres."""
    if task == "depth":
        return metrics.depth_rmse(predicted, truth.depths)
    return metrics.mean_iou(metrics.confusion(predicted.argmax(axis=1), truth.labels, len(CLASSES)))


@one_thread()
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


def score_scenes(
    program: Program,
    scenes: Sequence[int],
    stages: Stages,
    *,
    rtl: bool = True,
    ddr: DdrTiming = IDEAL,
    runner: Runner | None = None,
) -> ScenesReport:
    """Run scenes through every model and the RTL, compare all residuals bit by bit, and score the maps.

    Parameters
    ----------
    program : Program
    scenes : sequence of int
        Seeds of rendered scenes; those below 90,000 are never trained on.
    stages : Stages
    rtl : bool
        Simulate the RTL, each scene by itself; without it the functional simulator's outputs are scored.
    ddr : DdrTiming
        Of the simulated memory.
    runner : Runner, optional
        Where scenes are run; here if not given.

    Raises
    ------
    InputError, ToolMissing, BuildFailed, SimulationFailed
    """
    check_numbers(scenes)
    _check_heads(program)
    request = program.request
    truth = _Truth(*render_batch(scenes, request.model.image_size))
    need = SimulatorNeed.of(program.image)
    models = "integer golden model, functional simulator" + (", RTL" if rtl else "")
    job = Job(
        name="scenes",
        title=f"{models}: {len(scenes)} scenes",
        function=_run_scene,
        common=_Asked(replace(program, network=None), rtl, ddr),
        items=[_Scene(int(scene), image) for scene, image in zip(scenes, truth.images, strict=True)],
        needs=lambda scene: need if rtl else None,
    )
    runs = [run for scene in (runner or InProcess()).run(job, stages) for run in scene]
    by_task = {task: [run for run in runs if run.task == task] for task in request.tasks}
    cycles = {task: [run.cycles for run in mine if run.cycles is not None] for task, mine in by_task.items()}
    experts = {task: [count for run in mine for count in run.experts] for task, mine in by_task.items()}
    found = tuple(difference for run in runs for difference in run.differences)
    with stages.stage("score", "maps against the truth"):
        scores = _scores(program, {task: [run.output for run in mine] for task, mine in by_task.items()}, truth)
    return ScenesReport(
        model=request.model.name,
        weights=program.qmodel.weights,
        widths=program.qmodel.widths,
        board=request.board,
        memory=IDEAL_MEMORY if ddr.dram is None else BOARD_MEMORY,
        scenes=tuple(int(scene) for scene in scenes),
        compared=("integer golden", "functional simulator", *(("RTL",) if rtl else ())),
        bit_exact=not found,
        differences=found,
        tasks=scores,
        cycles={task: Spread.of(values) for task, values in cycles.items() if values},
        experts_used={task: Spread.of(values) for task, values in experts.items() if values},
    )
