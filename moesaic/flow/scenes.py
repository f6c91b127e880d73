"""Many unseen scenes through the accelerator: every output against the integer model, every map against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moesaic.errors import InputError
from moesaic.flow.execute import Residuals, TaskOutcome, differences, execute
from moesaic.flow.program import Program
from moesaic.flow.stages import Stages
from moesaic.golden.evaluation import metrics
from moesaic.golden.heads import DenseHead
from moesaic.golden.training.scenes import CLASSES, render_batch
from moesaic.golden.training.trainer import FIRST_CHECK_SEED
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

__all__ = ["check_numbers", "score_scenes"]

Array = np.ndarray[Any, Any]


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


def _rtl(program: Program, images: Array, stages: Stages, work: Path, latency: int | None) -> list[RtlResult]:
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
            plusargs=[] if latency is None else [f"+latency={latency}"],
        )


def _score(task: str, predicted: Array, truth: _Truth) -> float:
    """mIoU, or for depth the root mean squared error in metres."""
    if task == "depth":
        return metrics.depth_rmse(predicted, truth.depths)
    return metrics.mean_iou(metrics.confusion(predicted.argmax(axis=1), truth.labels, len(CLASSES)))


@torch.no_grad()
def _scores(program: Program, outputs: dict[str, list[Array]], truth: _Truth) -> dict[str, dict[str, Any]]:
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
        result[task] = {
            "measure": "depth RMSE, m" if task == "depth" else "mIoU",
            "float": _score(task, by_float, truth),
            "accelerator": _score(task, by_accelerator, truth),
        }
    return result


def _spread(values: list[int]) -> dict[str, float]:
    return {"min": min(values), "mean": round(float(np.mean(values)), 1), "max": max(values)}


def _run_all(
    program: Program,
    scenes: Sequence[int],
    images: Array,
    stages: Stages,
    work: Path,
    *,
    rtl: bool,
    latency: int | None,
) -> list[tuple[int, TaskOutcome, RtlResult | None]]:
    silent = Stages(quiet=True)
    expected = []
    with stages.stage("golden", f"integer golden model and functional simulator, {len(scenes)} scenes"):
        for number, (scene, image) in enumerate(zip(scenes, images, strict=True)):
            stages.note(f"scene {number + 1} of {len(scenes)}")
            expected += [
                (scene, outcome) for outcome in execute(program, image, silent, rtl=False, work=work, quality=False)
            ]
    results: Sequence[RtlResult | None] = (
        _rtl(program, images, stages, work, latency) if rtl else [None] * len(expected)
    )
    return [(scene, outcome, result) for (scene, outcome), result in zip(expected, results, strict=True)]


def score_scenes(
    program: Program, scenes: Sequence[int], stages: Stages, work: Path, *, rtl: bool = True, latency: int | None = None
) -> dict[str, Any]:
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
    latency : int or None, cycles
        Of the DDR model.

    Returns
    -------
    dict
        `model`, `weights`, `board`, `scenes`, `compared`, `bit_exact`, `differences` (task, scene, text), `tasks` (for
        each: `measure`, `float`, `accelerator`), and by task the spread of `cycles` and of `experts_used` over scenes.

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
    found, outputs = [], {task: list[Array]() for task in request.tasks}
    cycles = {task: list[int]() for task in request.tasks}
    experts = {task: list[int]() for task in request.tasks}
    for scene, outcome, result in _run_all(program, scenes, truth.images, stages, work, rtl=rtl, latency=latency):
        mine = list(outcome.differences)
        output = outcome.functional.output
        if result is not None:
            mine += differences(
                names, {"integer golden": outcome.golden, "RTL": Residuals(result.marks, result.output)}, steps
            )
            output = result.output
            if result.counters:
                cycles[outcome.task].append(result.counters["cycles"])
        found += [{"scene": scene, "task": outcome.task, "text": f"{d.models}: {d.mismatch}"} for d in mine]
        outputs[outcome.task].append(outcome.golden.marks[-1] if output is None else output)
        experts[outcome.task] += [sum(1 for tokens in queue if tokens) for queue in outcome.experts.values()]
    with stages.stage("score", "maps against the truth"):
        tasks = _scores(program, outputs, truth)
    return {
        "model": request.model.name,
        "weights": qmodel.weights,
        "widths": qmodel.widths,
        "board": request.board,
        "scenes": [int(scene) for scene in scenes],
        "compared": ["integer golden", "functional simulator", *(["RTL"] if rtl else [])],
        "bit_exact": not found,
        "differences": found,
        "tasks": tasks,
        "cycles": {task: _spread(values) for task, values in cycles.items() if values},
        "experts_used": {task: _spread(values) for task, values in experts.items() if values},
    }
