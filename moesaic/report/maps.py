"""Predicted maps: what the host's heads make of the final tokens, as pictures."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from moesaic.flow.execute import TaskOutcome
from moesaic.flow.program import Program
from moesaic.golden.image_io import write_image
from moesaic.golden.scenes import FAR, PALETTE, Scene

__all__ = ["depth_picture", "label_picture", "write_maps"]

Array = np.ndarray[Any, Any]


def label_picture(labels: Array) -> Array:
    """Classes [H, W] in their colours, uint8 [3, H, W]."""
    return np.ascontiguousarray(PALETTE[labels].transpose(2, 0, 1))


def depth_picture(depth: Array) -> Array:
    """Depth [H, W] in metres as colours, near is bright, in equal ratios from 1 m to `FAR`; uint8 [3, H, W]."""
    near = 1 - np.log(np.clip(depth, 1, FAR)) / np.log(FAR)
    colours = matplotlib.colormaps["viridis"](near)[..., :3]
    return np.ascontiguousarray((255 * colours).round().astype(np.uint8).transpose(2, 0, 1))


def _picture(task: str, head_output: torch.Tensor) -> Array:
    array = head_output.numpy()
    return depth_picture(array) if task == "depth" else label_picture(array.argmax(axis=0))


@torch.no_grad()
def write_maps(
    program: Program, outcomes: list[TaskOutcome], image: Array, scene: Scene | None, folder: Path
) -> dict[str, dict[str, str]]:
    """Write PNGs, and say which there are: {task: {what: file name}}.

    `accelerator` is made from the output that was simulated, `float` by the float network; `truth` is there for a
    rendered scene. There are none if not all blocks were run, or for a task without a head; the accelerator's is missing after
    an error.
    """
    if not program.request.whole:
        return {}
    step = np.float32(program.qmodel.blocks[-1].residual_step)
    files: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        task = outcome.task
        if task not in program.network.heads:  # a model from outside whose heads are not known here
            continue
        head = program.network.heads[task]
        pictures = {}
        if outcome.output is not None:
            pictures["accelerator"] = _picture(task, head(torch.from_numpy(outcome.output * step)))
        pictures["float"] = _picture(task, head(program.network.model(image, task)[-1]))
        if scene is not None:
            pictures["truth"] = depth_picture(scene.depth) if task == "depth" else label_picture(scene.labels)
        files[task] = {}
        for what, picture in pictures.items():
            files[task][what] = f"{task}-{what}.png"
            write_image(folder / files[task][what], picture)
    return files
