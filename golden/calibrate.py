"""Float calibration: what every tensor of a block looks like over images and tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.errors import InputError
from moesaic.golden.balance import AttentionSizes
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.activity import BlockActivity
from moesaic.golden.m3vit import Block, M3ViT
from moesaic.golden.trace import Trace
from moesaic.golden.training.scenes import render_batch

__all__ = [
    "CalibrationError",
    "Residuals",
    "calibrate_blocks",
    "calibration_count",
    "calibration_images",
    "check_images",
    "check_parameters",
    "embedding",
    "inference",
    "residual_peaks",
]

Array = np.ndarray[Any, Any]

FIRST_TRAINING_SEED = 100_000  # of scenes, as in `train`
KEPT = (
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.context",
    "attn.proj",
    ".mid",
    "mlp.hidden",
    "mlp.out",
    "mlp.gate.index",
    "mlp.expert_index",
    "mlp.expert_token",
    "mlp.expert_hidden",
    "mlp.expert_out",
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
    attention : tuple of AttentionSizes
        How large the channels of each block's attention become.
    """

    embed: float
    blocks: tuple[float, ...]
    attention: tuple[AttentionSizes, ...]


def calibration_count(config: M3ViTConfig) -> int:
    """Images that make about 2,000 tokens: 16 of m3vit-tiny, 4 of m3vit-small."""
    return min(max(2112 // config.tokens, 4), 32)


def calibration_images(config: M3ViTConfig, count: int | None = None) -> Array:
    """Rendered scenes [count, 3, H, W] to calibrate on: the first that models are trained on, none that tests use.

    `count` is `calibration_count` if it is left out.
    """
    if count is None:
        count = calibration_count(config)
    return render_batch(range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + count), config.image_size)[0]


def check_parameters(model: M3ViT) -> None:
    """`CalibrationError` naming every parameter that holds a NaN or an infinity."""
    bad = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise CalibrationError(f"parameters must be finite, not so in {', '.join(bad)}")


def check_images(images: Array, config: M3ViTConfig) -> None:
    """`CalibrationError` unless `images` is a uint8 array [n, 3, H, W] with n >= 1."""
    shape = (3, *config.image_size)
    if images.dtype != np.uint8:
        raise CalibrationError(f"calibration images must be uint8, not {images.dtype.name!r}")
    if images.ndim != 4 or images.shape[1:] != shape or len(images) < 1:
        raise CalibrationError(
            f"calibration images must be [n, {', '.join(map(str, shape))}] with n >= 1, not {list(images.shape)!r}"
        )


def embedding(model: M3ViT, image: Array) -> torch.Tensor:
    """The residual [tokens, dim] that enters block 0."""
    x = model.patch_embed(model.normalise(torch.from_numpy(image)[None]))
    x = torch.cat((model.prefix(), x), dim=1)
    result: torch.Tensor = (x + model.pos_embed)[0]
    return result


@torch.no_grad()
def calibrate_blocks(model: M3ViT, images: Array) -> Iterator[BlockActivity]:
    """One block after the other, over all images and tasks; only one block's tensors are held at a time.

    Raises
    ------
    CalibrationError
        If a block's output is not finite.
    """
    config = model.config
    residuals: list[tuple[int, torch.Tensor]] = []
    for task in range(len(config.tasks)):
        for image in images:
            residuals.append((task, embedding(model, image)))
    embeddings = [
        model.gate_task_represent(task) if model.gate_task_represent is not None else None
        for task in range(len(config.tasks))
    ]
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        activity, following = BlockActivity(index), []
        for task, x in residuals:
            trace = Trace(only=KEPT)
            y, _ = block(x[None], task, embeddings[task], trace)
            for name, tensor in trace.items():
                activity.tensors.setdefault(name.removeprefix(f"blocks.{index}."), []).append(tensor)
            if not bool(torch.isfinite(y).all()):
                raise CalibrationError(
                    f"blocks.{index}: output must be finite in calibration, not so for task {config.tasks[task]}: "
                    "parameters are too large"
                )
            activity.tasks.append(task)
            activity.before.append(x.numpy())
            activity.after.append(y[0].numpy())
            following.append((task, y[0]))
        activity.mid = activity.tensors.pop("mid")
        yield activity
        residuals = following


@torch.no_grad()
def residual_peaks(model: M3ViT, images: Array) -> Residuals:
    """Largest magnitudes of the residual stream over all images and tasks."""
    position = model.pos_embed[0]
    embed, blocks, attention = float(position.abs().max()), [0.0] * model.config.depth, []
    for activity in calibrate_blocks(model, images):
        if activity.index == 0:
            first = np.stack(activity.before)
            learnt = model.config.prefix_tokens
            patches = first[:, learnt:] - position[learnt:].numpy()
            embed = max(embed, float(np.abs(first).max()), float(np.abs(patches).max()))
        parts = [*activity.mid, *activity.after, activity.all("attn.proj"), activity.all("mlp.out")]
        blocks[activity.index] = max(float(np.abs(part).max()) for part in parts)
        keys = activity.all("attn.k").astype(np.float64)
        low, high = keys.min(axis=0), keys.max(axis=0)
        attention.append(
            AttentionSizes(
                q=np.abs(activity.all("attn.q")).max(axis=0),
                k=(high - low) / 2,
                centre=(high + low) / 2,
                context=np.sqrt(np.square(activity.all("attn.context").astype(np.float64)).mean(axis=0)),
            )
        )
    return Residuals(embed, tuple(blocks), tuple(attention))
