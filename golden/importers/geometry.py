"""Sizes that shapes do not tell: heads, height and width, tasks; the published values, said as assumptions."""

import math
from collections.abc import Sequence

import torch

from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.imported import Notes
from moesaic.golden.importers.options import PIXELS, ImportOptions
from moesaic.golden.importers.problem import ImportProblem

__all__ = [
    "extra_tokens",
    "has_class_token",
    "heads_of",
    "image_size_of",
    "makes_image",
    "pixels_of",
    "task_names",
]

# Published sizes: patches of 16 pixels, Cityscapes (tiny), NYUD-v2, and squares of 224, 384 and 512.
_IMAGES = {(128, 16): (128, 256), (1200, 16): (480, 640)}
_MIXTURE_HEADS = {192: 3, 384: 12, 768: 12}  # M3ViT's small has 32 channels to a head, the others 64
_PLAIN_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16}
_TASKS = {
    1: ("semseg",),
    2: ("semseg", "depth"),
    4: ("semseg", "normals", "edge", "depth"),
    5: ("semseg", "human_parts", "sal", "normals", "edge"),
}


def heads_of(dim: int, options: ImportOptions, notes: Notes, *, mixture: bool) -> int:
    """Attention heads of a model of `dim` channels.

    Raises
    ------
    ImportProblem
        If the option does not divide `dim`, or nothing is published for it.
    """
    if options.heads is not None:
        if dim % options.heads:
            raise ImportProblem(f"heads must divide the model's {dim} channels, not {options.heads!r}")
        return options.heads
    heads = (_MIXTURE_HEADS if mixture else _PLAIN_HEADS).get(dim)
    if heads is None and dim % 64 == 0:
        heads = dim // 64
    if heads is None:
        raise ImportProblem(f"heads must be given with --heads for a model of {dim} channels: its tensors do not tell")
    notes.assumed.append(f"{heads} heads of {dim // heads} channels (--heads)")
    return heads


def _usual_size(patches: int, patch: int) -> tuple[int, int] | None:
    if (patches, patch) in _IMAGES:
        return _IMAGES[patches, patch]
    for across in (1, 2):  # square, or twice as wide as high, as Cityscapes is
        down = math.isqrt(patches // across)
        if down and down * down * across == patches:
            return down * patch, down * across * patch
    return None


def makes_image(patches: int, patch: int, options: ImportOptions) -> bool:
    """Whether so many patches are the given image's, or an image of usual proportions."""
    if options.image_size is not None:
        return (options.image_size[0] // patch) * (options.image_size[1] // patch) == patches
    return _usual_size(patches, patch) is not None


def has_class_token(present: bool, tokens: int, patch: int, options: ImportOptions) -> bool:
    """Whether one of `tokens` is a class token: if the file has one, or if without it the patches make no image."""
    return present or not makes_image(tokens, patch, options)


def extra_tokens(tensors: Tensors, names: Sequence[str], source: str) -> int:
    """Join learnt tokens besides the class token under `extra_tokens`, in the order of `names`, and count them.

    Raises
    ------
    ImportProblem
        If one is not [1, count, dim].
    """
    found = [tensors.pop(name) for name in names if name in tensors]
    for tensor in found:
        if tensor.ndim != 3 or tensor.shape[0] != 1 or tensor.shape[2] != found[0].shape[2]:
            raise ImportProblem(
                f"learnt tokens ({', '.join(names)}) must be [1, count, dim], not {list(tensor.shape)} ({source})"
            )
    if found:
        tensors["extra_tokens"] = torch.cat(found, dim=1)
    return sum(tensor.shape[1] for tensor in found)


def image_size_of(patches: int, patch: int, options: ImportOptions, notes: Notes) -> tuple[int, int]:
    """Height and width in pixels of an image of so many square patches of side `patch`.

    Raises
    ------
    ImportProblem
        If the option gives another number of patches, or nothing sensible does.
    """
    if options.image_size is not None:
        height, width = options.image_size
        if height % patch or width % patch or (height // patch) * (width // patch) != patches:
            raise ImportProblem(
                f"image-size must give the model's {patches} patches of {patch} x {patch} pixels, not {height}x{width}"
            )
        return options.image_size
    size = _usual_size(patches, patch)
    if size is None:
        raise ImportProblem(
            f"image-size must be given with --image-size HEIGHTxWIDTH: {patches} patches of {patch} pixels do not tell"
        )
    notes.assumed.append(f"images of {size[0]} x {size[1]} pixels (--image-size)")
    return size


def pixels_of(usual: str, options: ImportOptions, notes: Notes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels; `usual` names the entry of `PIXELS` that the format is published with."""
    if options.pixels is None:
        notes.assumed.append(f"pixels normalised as {usual!r} (--pixels)")
    return PIXELS[options.pixels or usual]


def task_names(count: int, named: Sequence[str], options: ImportOptions, notes: Notes) -> tuple[str, ...]:
    """Names of `count` tasks in the order of their gates (0: any number).

    Parameters
    ----------
    count : int
        Gates, or inputs of the task embedding; 0 if the model does not tell.
    named : sequence of str
        Names of the heads in the same file, in their order; may be empty.

    Raises
    ------
    ImportProblem
        If names and gates are not equally many.
    """
    if options.tasks is not None:
        if count and len(options.tasks) != count:
            raise ImportProblem(f"tasks must be {count} names, one a gate, not {','.join(options.tasks)!r}")
        return options.tasks
    if named and len(named) == (count or len(named)):
        return tuple(named)
    if named:
        raise ImportProblem(
            f"tasks must be {count} names, one a gate, not the {len(named)} of the heads ({', '.join(named)}): give "
            f"--tasks"
        )
    names = _TASKS.get(count or 2) or tuple(f"task{i}" for i in range(count))
    notes.assumed.append(f"tasks {', '.join(names)}, in this order (--tasks)")
    return names
