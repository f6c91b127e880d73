"""Float calibration: what every tensor of a layer looks like over images and tasks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from moesaic.errors import InputError
from moesaic.golden.layers.activity import LayerActivity
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network
from moesaic.golden.sample_images import sample_images
from moesaic.golden.trace import Trace

__all__ = [
    "CalibrationError",
    "Residuals",
    "calibrate_layers",
    "calibration_count",
    "calibration_images",
    "check_images",
    "check_parameters",
    "inference",
    "residual_peaks",
]

Array = np.ndarray[Any, Any]

FIRST_TRAINING_SEED = 100_000  # of scenes, as in `train`
KEPT = (
    ".q",
    ".k",
    ".v",
    ".context",
    ".proj",
    ".hidden_pre",
    ".hidden",
    ".hidden_gate",
    ".hidden_value",
    ".out",
    ".gate.index",
    ".expert_index",
    ".expert_token",
    ".expert_hidden_pre",
    ".expert_hidden",
    ".expert_hidden_gate",
    ".expert_hidden_value",
    ".expert_out",
)


class CalibrationError(InputError):
    """A network that cannot be calibrated: something in it is not finite, or the images do not fit it."""


@contextmanager
def inference(model: M3ViT) -> Iterator[None]:
    """The model in inference mode (a router adds noise while training), and afterwards in the mode it was in."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)


@dataclass(frozen=True)
class Residuals:
    """Largest magnitudes in the residual stream, at the embedding and in each block; what is added to it counts too.

    Members
    -------
    ranges : mapping of layer name to what its `FloatLayer.ranges` says
        Of the layers that say anything.
    """

    embed: float
    blocks: tuple[float, ...]
    ranges: Mapping[str, Any]


def calibration_count(network: Network) -> int:
    """Images that make about 2,000 tokens: 16 of m3vit-tiny, 4 of m3vit-small."""
    return min(max(2112 // network.tokens, 4), 32)


def calibration_images(network: Network, count: int | None = None) -> Array:
    """Samples [count, channels, H, W] to calibrate on: the first that models are trained on, none that tests use.

    `count` is `calibration_count` if it is left out.
    """
    if count is None:
        count = calibration_count(network)
    return sample_images(range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + count), *network.image.size_and_channels)


def check_parameters(model: M3ViT) -> None:
    """`CalibrationError` naming every parameter that holds a NaN or an infinity."""
    bad = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise CalibrationError(f"parameters must be finite, not so in {', '.join(bad)}")


def check_images(images: Array, network: Network) -> None:
    """`CalibrationError` unless `images` is a uint8 array [n, channels, H, W] with n >= 1."""
    shape = network.image.shape
    if images.dtype != np.uint8:
        raise CalibrationError(f"calibration images must be uint8, not {images.dtype.name!r}")
    if images.ndim != 4 or images.shape[1:] != shape or len(images) < 1:
        raise CalibrationError(
            f"calibration images must be [n, {', '.join(map(str, shape))}] with n >= 1, not {list(images.shape)!r}"
        )


@torch.no_grad()
def calibrate_layers(model: M3ViT, images: Array) -> Iterator[LayerActivity]:
    """One layer after the other, over all images and tasks; only one layer's tensors are held at a time.

    Raises
    ------
    CalibrationError
        If a layer's output is not finite.
    """
    tasks, residuals = model.network.tasks, list[tuple[int, torch.Tensor]]()
    for task in range(len(tasks)):
        for image in images:
            residuals.append((task, model.embed(model.normalise(torch.from_numpy(image)[None]))[0]))
    runs = [model.run_of(task) for task in range(len(tasks))]
    for step in model.steps():
        activity, following = LayerActivity(step.name, step.block), []
        for task, x in residuals:
            trace = Trace(only=KEPT)
            y, _ = step(x[None], replace(runs[task], trace=trace))
            for name, tensor in trace.items():
                activity.tensors.setdefault(name.removeprefix(f"{step.name}."), []).append(tensor)
            if not bool(torch.isfinite(y).all()):
                raise CalibrationError(
                    f"{step.edge}: output must be finite in calibration, not so for task {tasks[task]}: "
                    "parameters are too large"
                )
            activity.tasks.append(task)
            activity.before.append(x.numpy())
            activity.after.append(y[0].numpy())
            following.append((task, y[0]))
        yield activity
        residuals = following


@torch.no_grad()
def residual_peaks(model: M3ViT, images: Array, *, wide: bool = False) -> Residuals:
    """Largest magnitudes of the residual stream over all images and tasks; `wide`: for operands of 16 bits."""
    position, learnt = model.pos_embed[0], model.network.prefix_tokens
    embed, blocks, ranges = float(position.abs().max()), [0.0] * model.network.depth, dict[str, Any]()
    for number, (step, activity) in enumerate(zip(model.steps(), calibrate_layers(model, images), strict=True)):
        if number == 0:
            first = np.stack(activity.before)
            patches = first[:, learnt:] - position[learnt:].numpy()
            embed = max(embed, float(np.abs(first).max()), float(np.abs(patches).max()))
        peak = max(float(np.abs(part).max()) for part in (*activity.after, activity.all(step.layer.added)))
        blocks[step.block] = max(blocks[step.block], peak)
        if (found := step.layer.ranges(activity, wide=wide)) is not None:
            ranges[step.name] = found
    return Residuals(embed, tuple(blocks), ranges)
