"""How good a model is before and after quantisation: on images in a folder for each class, or on rendered scenes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from moesaic.errors import InputError
from moesaic.flow.calibration import Calibration, covering, given_images, shown
from moesaic.flow.quantised import FloatModel, load_float, quantised
from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Job, Runner
from moesaic.golden.calibrate import calibration_count
from moesaic.golden.class_folders import ClassFolders, find_classes
from moesaic.golden.evaluation import metrics
from moesaic.golden.evaluation.accuracy import METRICS, Accuracy, Metric, Networks, head_output, scored
from moesaic.golden.heads import DenseHead
from moesaic.golden.image_io import ImageError, read_image
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.network import Network
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.threads import one_thread
from moesaic.golden.training.scenes import CLASSES, render_batch

__all__ = ["EvaluateReport", "evaluate"]

Array = np.ndarray[Any, Any]
_AT_ONCE = 8  # images of a task


@dataclass(frozen=True)
class EvaluateReport:
    """What `moesaic evaluate` found.

    Parameters
    ----------
    model, weights, widths : str
    calibrated_on, measured_on : str
    skipped : tuple of str
        Files that are no images.
    tasks : tuple of Accuracy
    """

    model: str
    weights: str
    widths: str
    calibrated_on: str
    measured_on: str
    skipped: tuple[str, ...]
    tasks: tuple[Accuracy, ...]


def miou(outputs: Sequence[Any], targets: Sequence[Any]) -> float:
    """Mean IoU of maps of scores."""
    classes = np.stack(outputs).argmax(axis=1)
    return metrics.mean_iou(metrics.confusion(classes, np.stack(targets), len(CLASSES)))


def rmse_m(outputs: Sequence[Any], targets: Sequence[Any]) -> float:
    """Root mean squared error of depth, metres."""
    return metrics.depth_rmse(np.stack(outputs), np.stack(targets))


def _classes(network: FloatModel, task: str) -> int:
    """Outputs of a task's head.

    Raises
    ------
    InputError
        If it has no head, or one that does not classify images.
    """
    sizes = network.model.network
    if task not in network.heads:
        raise InputError(f"task must be one with a head, not {task!r}, of which {sizes.name} has the blocks alone")
    shape = np.shape(head_output(network.heads[task], torch.zeros(sizes.tokens, sizes.dim)))
    if isinstance(network.heads[task], DenseHead) or not shape or int(np.prod(shape)) != shape[-1]:
        raise InputError(
            f"data must be left out for {task!r} of {sizes.name}, which gives {list(shape)} and no class of an image: "
            "rendered scenes score maps"
        )
    return int(shape[-1])


def _read(found: ClassFolders, network: Network, skipped: list[str]) -> Iterator[tuple[Array, int]]:
    """Images with their classes; names of files that are none go to `skipped`."""
    for file, target in zip(found.files, found.targets, strict=True):
        try:
            image = read_image(file, network.image_size, network.image.channels, resize=True)
        except (ImageError, OSError):
            skipped.append(str(file))
            continue
        yield image, target


@dataclass(frozen=True)
class _Data:
    """Images to judge by: of each task the head, the measure, and the items."""

    words: str
    tasks: tuple[tuple[str, nn.Module, str | Metric, list[tuple[Array, Any]]], ...]
    skipped: tuple[str, ...] = ()


def _from_folders(
    request: Request, network: FloatModel, where: str, metric: str, limit: int, stages: Stages
) -> tuple[Calibration, _Data]:
    task, skipped = request.tasks[0], list[str]()
    found = find_classes(where, _classes(network, task))
    seen = None
    if request.calibrate is None and (few := min(calibration_count(request.model) * 4 // 3, len(found.files) // 4)):
        apart, found = found.spread(few)
        with stages.stage("images", f"images of {where}"):
            images = [image for image, _ in _read(apart, request.model, skipped)]
        if images:
            seen = given_images(np.stack(images), f"images of {where}, which are not evaluated", request.choice)
    seen = shown(request, stages) if seen is None else seen
    items = list(_read(found.spread(limit)[0], request.model, skipped))
    if not items:
        raise InputError(f"data must have images in it, not {where!r} ({len(skipped)} files, none readable)")
    for name in skipped:
        stages.say(f"           skipped {name}: no image")
    words = f"{len(items)} images of {where}, {len(found.names)} classes"
    return seen, _Data(words, ((task, network.heads[task], metric, items),), tuple(skipped))


def _from_scenes(request: Request, network: FloatModel, count: int) -> _Data:
    tasks = [task for task in request.tasks if isinstance(network.heads.get(task), DenseHead)]
    if not tasks:
        raise InputError(
            f"data must be given for {request.model.name}, which has no head for the classes or the depth of rendered "
            "scenes: a folder with a folder of images for each class"
        )
    images, labels, depths = render_batch(range(count), request.model.image_size)
    truth = {task: (depths, rmse_m) if task == "depth" else (labels, miou) for task in tasks}
    return _Data(
        f"{count} rendered scenes that no training has seen",
        tuple(
            (task, network.heads[task], measure, list(zip(images, targets, strict=True)))
            for task, (targets, measure) in truth.items()
        ),
    )


@one_thread()
def _outputs(networks: Networks, images: Sequence[Array], stages: Stages) -> list[tuple[Any, Any]]:
    """Of both networks, for some images."""
    return [networks.outputs(image) for image in images]


@one_thread()
def evaluate(
    request: Request,
    stages: Stages,
    *,
    data: str | None = None,
    metric: str = "top1",
    limit: int = 1000,
    scenes: int = 100,
    runner: Runner | None = None,
) -> tuple[QuantModel, EvaluateReport]:
    """Quantise (or find in the cache), and measure both networks on the same images.

    Parameters
    ----------
    data : str, optional
        Folder or pattern (`golden.class_folders`). Without `request.calibrate`, some of its images are set apart to
        calibrate on, a quarter of them at most. Not given: rendered scenes.
    metric : str
        Of classes: a name in `METRICS`.
    limit : int
        Images of `data` at most, evenly spread.
    scenes : int
        How many to render.
    runner : Runner, optional
        Where images are run through both networks; here if not given.

    Raises
    ------
    InputError, ImageError, CalibrationError, WeightError
        If the data do not suit the model, or the network cannot be calibrated.
    """
    runner = runner or InProcess()
    if metric not in METRICS:
        raise InputError(f"metric must be {' or '.join(METRICS)}, not {metric!r}")
    with stages.stage("weights", f"float {request.model.name}"):
        network = load_float(request)
    if data is None:
        found = _from_scenes(request, network, scenes)
        seen = shown(request, stages)
    else:
        seen, found = _from_folders(request, network, data, metric, limit, stages)
    seen = covering(seen, network.model, stages)
    with stages.stage("quantise", "calibration and quantisation"):
        made = quantised(network, request, seen=seen, note=stages.note)
    scores = []
    for task, head, measure, items in found.tasks:
        networks = Networks(network.model, IntM3ViT.of(made.model, request.accelerator), head, task)
        images = [image for image, _ in items]
        job = Job(
            name="evaluate",
            title=f"{task}, float and integers, {len(items)} images",
            function=_outputs,
            common=networks,
            items=[images[first : first + _AT_ONCE] for first in range(0, len(images), _AT_ONCE)],
        )
        outputs = [pair for part in runner.run(job, stages) for pair in part]
        scores.append(scored(task, measure, outputs, [target for _, target in items]))
    return made.model, EvaluateReport(
        model=request.model.name,
        weights=network.kind,
        widths=request.widths,
        calibrated_on=seen.source,
        measured_on=found.words,
        skipped=found.skipped,
        tasks=tuple(scores),
    )
