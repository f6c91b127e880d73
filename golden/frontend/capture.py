"""`capture`: any module made of supported layers, as an M3ViT with its parameters, its head and the user's names."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from moesaic.errors import MoesaicError
from moesaic.golden.frontend.assemble import assemble
from moesaic.golden.frontend.carried import check_channels, check_layers
from moesaic.golden.frontend.head import Head
from moesaic.golden.frontend.prepare import prepare
from moesaic.golden.frontend.prove import random_image, worst_difference
from moesaic.golden.frontend.recognise import recognise
from moesaic.golden.frontend.refusal import UNFORESEEN, CaptureError
from moesaic.golden.frontend.surroundings import usual_torch
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network
from moesaic.names import check_tasks

__all__ = ["DEFAULT_TASK", "CaptureError", "Captured", "capture"]

DEFAULT_TASK = "output"


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A module, captured.

    Parameters
    ----------
    network : Network
    state : dict of name to Tensor
        Parameters of `M3ViT(network)`, float32.
    names : dict of name to tuple of str
        Which of the user's parameters each comes from; none for zeros that the module has no parameter for.
    heads : dict of task to Head
        What the host computes from the last block's tokens to return what the module returns.
    notes : tuple of str
        What the user should know.
    normalised : bool
        Whether the module takes pixels that are normalised already.
    difference : float
        Largest difference of any output on random images, as a fraction of that output's largest value.
    """

    network: Network
    state: dict[str, torch.Tensor]
    names: dict[str, tuple[str, ...]]
    heads: dict[str, Head]
    notes: tuple[str, ...]
    normalised: bool
    difference: float

    def model(self) -> M3ViT:
        """The canonical model, in inference mode."""
        model = M3ViT(self.network)
        model.load_state_dict(self.state)
        return model.eval()


def capture(
    module: nn.Module,
    image: torch.Tensor,
    *,
    name: str = "captured",
    tasks: Mapping[str, Sequence[Any]] | None = None,
    pixel_mean: Sequence[float] = (0.5, 0.5, 0.5),
    pixel_std: Sequence[float] = (0.5, 0.5, 0.5),
) -> Captured:
    """Capture a module.

    Parameters
    ----------
    module : nn.Module
        In inference mode; called as `module(image, *arguments)`.
    image : Tensor, [1, channels, H, W]
        An example: its shape is the only one the program will take. Bytes, or floats.
    name : str
        Of the model.
    tasks : mapping of task to further arguments, optional
        A module with a gate per task is captured once for each; one task without arguments if left out.
    pixel_mean, pixel_std : numbers, one for each channel; the same number of any channels
        How pixels in [0, 1] are normalised before they reach a module that does not normalise them itself.

    Raises
    ------
    CaptureError
        If the module cannot be traced, has a layer that is not supported (the message has the user's line and the
        nearest supported thing), or computes something else than what was recognised.
    """
    tasks = {DEFAULT_TASK: ()} if tasks is None else tasks
    check_tasks(tuple(tasks), error=CaptureError)
    for task, arguments in tasks.items():
        if not isinstance(arguments, (tuple, list)):
            raise CaptureError(
                f"arguments of task '{task}' must be a tuple or list, not {type(arguments).__name__}: (0,) for the "
                "number 0"
            )
    with usual_torch():
        try:
            return _captured(module, _example(image), name, tasks, pixel_mean, pixel_std)
        except MoesaicError:
            raise
        except Exception as error:
            said = f"({type(error).__name__}: {' '.join(str(error).split())})"
            raise CaptureError(f"the module must be one that can be captured, not one {UNFORESEEN} {said}") from error


def _example(image: Any) -> torch.Tensor:
    """An image like a user's example, as a plain tensor: bytes, or float32."""
    if not isinstance(image, torch.Tensor) or image.ndim != 4 or image.shape[0] != 1 or image.is_nested:
        shape = list(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
        raise CaptureError(
            f"example image must be a tensor [1, channels, height, width], not {shape}: shapes are fixed, "
            "batches are one"
        )
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise CaptureError(f"example image must be uint8 or floating point, not {image.dtype}")
    # Only its shape and type matter: it may be uninitialised, or of inference mode.
    like = torch.empty(image.shape, dtype=torch.uint8 if image.dtype == torch.uint8 else torch.float32)
    return random_image(like, 0).to(like.dtype)


def _captured(
    module: nn.Module,
    image: torch.Tensor,
    name: str,
    tasks: Mapping[str, Sequence[Any]],
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
) -> Captured:
    module, said = prepare(module)
    notes = list(said)
    readings = {
        task: recognise(module, image, tuple(arguments), number)
        for number, (task, arguments) in enumerate(tasks.items())
    }
    for reading in readings.values():
        check_channels(reading)
    result = assemble(
        name,
        tuple(tasks),
        [reading.last for reading in readings.values()],
        uint8=image.dtype == torch.uint8,
        mean=pixel_mean,
        std=pixel_std,
    )
    check_layers(result.network)
    canonical = M3ViT(result.network).eval()
    canonical.load_state_dict(result.state)
    canonical = canonical.double()
    difference = max(
        worst_difference(
            module,
            image,
            tuple(arguments),
            canonical,
            number,
            copy.deepcopy(readings[task].head).double(),
            normalised=result.normalised,
            white=result.white,
        )
        for number, (task, arguments) in enumerate(tasks.items())
    )
    if result.warning:
        notes.append(f"warning: pixels: {result.warning}")
    for reading in readings.values():
        notes += [*reading.notes, *reading.head.notes]
    return Captured(
        network=result.network,
        state=result.state,
        names=result.names,
        notes=tuple(dict.fromkeys(notes)),
        normalised=result.normalised,
        difference=difference,
        heads={task: reading.head for task, reading in readings.items()},
    )
