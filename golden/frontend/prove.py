"""The canonical model against the user's, on random images: a match that computes something else is refused."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from moesaic.golden.frontend.head import Head
from moesaic.golden.frontend.prepare import copied
from moesaic.golden.frontend.refusal import FAILURES, CaptureError, place_of
from moesaic.golden.frontend.surroundings import quiet_torch
from moesaic.golden.m3vit import M3ViT

__all__ = ["IMAGES", "TOLERANCE", "difference", "random_image", "unit_pixels", "worst_difference"]

IMAGES = 2
TOLERANCE = 1e-5  # of the largest value of an output
SINGLE = 1e-4  # where the user's code insists on float32


def random_image(like: torch.Tensor, seed: int, white: float = 1.0) -> torch.Tensor:
    """An image as a model takes it: bytes, or numbers from 0 to `white`."""
    rng = torch.Generator().manual_seed(seed)
    if like.dtype == torch.uint8:
        return torch.randint(0, 256, like.shape, generator=rng, dtype=torch.uint8)
    return torch.rand(like.shape, generator=rng, dtype=torch.float64) * white


def unit_pixels(given: torch.Tensor, model: M3ViT, white: float, *, normalised: bool) -> torch.Tensor:
    """What the canonical model takes for what the user's was given; `normalised` if the user normalises outside."""
    if given.dtype == torch.uint8:
        return given
    if not normalised:
        return given / white
    return given * model.get_buffer("pixel_std") + model.get_buffer("pixel_mean")


@contextlib.contextmanager
def _default(kind: torch.dtype) -> Iterator[None]:
    """Type of the tensors that code makes itself, an identity matrix, say."""
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def _outputs(module: nn.Module, image: torch.Tensor, args: Sequence[Any]) -> tuple[list[Any], float]:
    """Everything the module returns, and how exact it is; the module may change the image that it is given."""

    def mine(kind: torch.dtype) -> nn.Module:
        try:
            return copied(module, kind)
        except CaptureError:
            if kind == torch.float32:  # which it is (`prepare`)
                return module
            raise

    def leaves(kind: torch.dtype) -> list[Any]:
        given = image.clone() if image.dtype == torch.uint8 else image.to(kind, copy=True)
        with torch.no_grad(), quiet_torch(), _default(kind):
            return pytree.tree_leaves(mine(kind)(given, *args))

    try:
        return leaves(torch.float64), TOLERANCE
    except FAILURES:  # code that insists on float32, or cannot be copied
        try:
            return leaves(torch.float32), SINGLE
        except Exception as error:
            raise CaptureError(
                f"the module must run on a random image, not fail with {type(error).__name__}: "
                f"{' '.join(str(error).split())}{place_of(error)}"
            ) from error


def difference(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference as a fraction of the largest finite value of `wanted`; infinite if they differ in shape, in
    a whole number or truth value, or in where they are infinite. Not a number if `wanted` is nowhere one.
    """
    if got.shape != wanted.shape:
        return math.inf
    if not wanted.numel():
        return 0.0
    if not (wanted.is_floating_point() or wanted.is_complex()):
        return 0.0 if torch.equal(got.to(wanted.dtype), wanted) else math.inf
    if bool(wanted.isnan().any()):
        return math.nan
    finite = wanted.isfinite()
    if not torch.equal(got.to(wanted.dtype)[~finite], wanted[~finite]):
        return math.inf
    if not bool(finite.any()):
        return 0.0
    largest = float(wanted[finite].abs().max())
    return float((got[finite] - wanted[finite]).abs().max()) / max(largest, 1e-30)


def worst_difference(
    module: nn.Module,
    image: torch.Tensor,
    args: Sequence[Any],
    model: M3ViT,
    task: int,
    head: Head,
    *,
    normalised: bool,
    white: float,
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
    white : float
        Value of a white pixel where it takes others than bytes.

    Raises
    ------
    CaptureError
        If an output differs by more than `TOLERANCE`.
    """
    worst = 0.0
    for number in range(IMAGES):
        given = random_image(image, 1 + number, white)
        wanted, tolerance = _outputs(module, given, args)
        with torch.no_grad(), _default(torch.float64):
            got = head(model(unit_pixels(given, model, white, normalised=normalised), task)[-1][0])
        for i, tensor in zip(head.outputs, got, strict=True):
            if not isinstance(tensor, torch.Tensor):
                raise CaptureError(
                    f"outputs of the module must be tensors, not {type(tensor).__name__}: output {i}; return the "
                    "tensor that .tolist() or .item() was called on"
                )
            if tensor.layout != torch.strided:
                raise CaptureError(
                    f"outputs of the module must be dense, not sparse: output {i}; call .to_dense() on it"
                )
            error = difference(tensor, wanted[i])
            worst = max(worst, error)
            if math.isnan(error):
                raise CaptureError(
                    f"outputs of the module must be numbers, not NaN: output {i} has NaN on random image {number + 1} "
                    f"of {IMAGES}, before anything is captured"
                )
            if not error <= tolerance:
                how = f"by {error:.1e} of its largest value" if math.isfinite(error) else "in whole or infinite values"
                raise CaptureError(
                    f"the captured model must compute what the module computes, not something else: output {i} "
                    f"differs {how} on random image {number + 1} of {IMAGES} (allowed: {tolerance:g})"
                )
    return worst
