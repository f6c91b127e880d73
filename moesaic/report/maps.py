"""Predicted maps: what the host's heads make of the final tokens, as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from moesaic.flow.execute import TaskOutcome
from moesaic.flow.program import Program
from moesaic.flow.run import Input
from moesaic.golden.heads import DenseHead
from moesaic.golden.image_io import write_image
from moesaic.golden.pictures import depth_picture, label_picture
from moesaic.golden.training.scenes import CLASSES

__all__ = ["picture", "write_maps"]

Array = np.ndarray[Any, Any]


def _bytes(values: Array) -> Array:
    return np.ascontiguousarray((255 * np.clip(values, 0, 1)).round().astype(np.uint8))


def picture(task: str, output: Any, size: tuple[int, int]) -> Array | None:
    """A head's output as uint8 [3, H, W] or [H, W]; None if it is no map of the image's size.

    Parameters
    ----------
    task : str
        Depth [H, W] in metres; normals [3, H, W]; of every other task [1, H, W] is a logit, [classes, H, W] are scores.
    output : Tensor or anything else
    size : (int, int)
        Height and width of the image.
    """
    if not isinstance(output, torch.Tensor) or tuple(output.shape[-2:]) != size or output.ndim not in (2, 3):
        return None
    array = output.numpy()
    if array.ndim == 2:
        return depth_picture(array) if task == "depth" else _bytes(array)
    if task == "normals" and len(array) == 3:
        return _bytes(array / np.maximum(np.linalg.norm(array, axis=0), 1e-12) / 2 + 0.5)
    if len(array) == 1:
        return _bytes(0.5 + 0.5 * np.tanh(array[0] / 2))
    labels = array.argmax(axis=0)
    if len(array) == len(CLASSES):
        return label_picture(labels)
    return _bytes(matplotlib.colormaps["tab20"](labels % 20)[..., :3].transpose(2, 0, 1))


@torch.no_grad()
def write_maps(
    program: Program, outcomes: Sequence[TaskOutcome], given: Input, folder: Path
) -> dict[str, dict[str, str]]:
    """Write PNGs, and say which there are: {item: {what: file name}}, an item being called `Item.label`.

    `accelerator` is made from the output that was simulated, `float` by the float network; `truth` is there for a
    rendered scene. There are none if not all blocks were run, without the float network, or for a task without a head;
    the accelerator's is missing after an error.
    """
    network = program.network
    if network is None or not program.request.whole:
        return {}
    step = np.float32(program.qmodel.blocks[-1].residual_step)
    files: dict[str, dict[str, str]] = {}
    for item, output in (each for outcome in outcomes for each in outcome.outputs):
        task, image, scene = item.task, given.pixels[item.image], given.scenes[item.image]
        if task not in network.heads:  # a model from outside whose heads are not known here
            continue
        head, size, label = network.heads[task], program.request.model.image_size, item.label(len(given.pixels))
        pictures = {}
        if output is not None:
            pictures["accelerator"] = picture(task, head(torch.from_numpy(output * step)), size)
        pictures["float"] = picture(task, head(network.model(image, task)[-1]), size)
        if scene is not None and isinstance(head, DenseHead):  # the scene's classes and metres are not another head's
            pictures["truth"] = depth_picture(scene.depth) if task == "depth" else label_picture(scene.labels)
        drawn = {what: pixels for what, pixels in pictures.items() if pixels is not None}
        if drawn:
            files[label] = {what: f"{label}-{what}.png" for what in drawn}
            for what, pixels in drawn.items():
                write_image(folder / files[label][what], pixels)
    return files
