"""The canonical model against the user's, on random images: a match that computes something else is refused."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from moesaic.golden.frontend.head import Head
from moesaic.golden.frontend.refusal import CaptureError
from moesaic.golden.m3vit import M3ViT

__all__ = ["IMAGES", "TOLERANCE", "random_image", "unit_pixels", "worst_difference"]

IMAGES = 2
TOLERANCE = 1e-5  # of the largest value of an output
SINGLE = 1e-4  # where the user's code insists on float32


def random_image(like: torch.Tensor, seed: int) -> torch.Tensor:
    """An image as a model takes it: bytes, or numbers in [0, 1]."""
    rng = torch.Generator().manual_seed(seed)
    if like.dtype == torch.uint8:
        return torch.randint(0, 256, like.shape, generator=rng, dtype=torch.uint8)
    return torch.rand(like.shape, generator=rng, dtype=torch.float64)


def unit_pixels(given: torch.Tensor, model: M3ViT, *, normalised: bool) -> torch.Tensor:
    """What the canonical model takes for what the user's was given; `normalised` if the user normalises outside."""
    if not normalised:
        return given
    return given * model.get_buffer("pixel_std") + model.get_buffer("pixel_mean")


def _outputs(module: nn.Module, image: torch.Tensor, args: Sequence[Any]) -> tuple[list[Any], float]:
    """Everything the module returns, and how exact it is."""
    with torch.no_grad():
        try:
            return pytree.tree_leaves(copy.deepcopy(module).double()(image, *args)), TOLERANCE
        except (RuntimeError, TypeError):  # code that makes float32 tensors of its own
            single = image if image.dtype == torch.uint8 else image.float()
            return pytree.tree_leaves(module(single, *args)), SINGLE


def worst_difference(
    module: nn.Module,
    image: torch.Tensor,
    args: Sequence[Any],
    model: M3ViT,
    task: int,
    head: Head,
    *,
    normalised: bool,
) -> float:
    """Largest difference of any output from the user's, as a fraction of that output's largest value.

    Parameters
    ----------
    module : nn.Module
        The user's.
    image : [1, 3, H, W]
        Shape and type of what it takes.
    args : sequence
        What else it takes, for this task.
    model : M3ViT
        The canonical model, float64.
    task : int
    head : Head
        From the canonical model's tokens to the outputs numbered `head.outputs` of the user's, float64.
    normalised : bool
        Whether the user's model takes pixels that are normalised already.

    Raises
    ------
    CaptureError
        If an output differs by more than `TOLERANCE`.
    """
    worst = 0.0
    for number in range(IMAGES):
        given = random_image(image, 1 + number)
        wanted, tolerance = _outputs(module, given, args)
        with torch.no_grad():
            got = head(model(unit_pixels(given, model, normalised=normalised), task)[-1][0])
        for i, tensor in zip(head.outputs, got, strict=True):
            error = float((tensor - wanted[i]).abs().max()) / max(float(wanted[i].abs().max()), 1e-30)
            worst = max(worst, error)
            if not error <= tolerance:
                raise CaptureError(
                    f"the captured model must compute what the module computes, not something else: output {i} "
                    f"differs by "
                    f"{error:.1e} of its largest value on random image {number + 1} of {IMAGES} (allowed: "
                    f"{tolerance:g})"
                )
    return worst
