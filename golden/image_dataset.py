"""Images of a torch Dataset (or of anything that can be indexed or iterated) to calibrate on."""

import importlib
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from moesaic.golden.frontend.surroundings import found_from, printing_to_stderr, usual_torch
from moesaic.golden.image_folder import ImageFolder, doubts
from moesaic.golden.image_io import ImageError
from moesaic.golden.image_sources import dataset_name
from moesaic.images import scaled

__all__ = ["labelled_images", "read_dataset"]

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by channels
_KEYS = ("image", "img", "pixel_values")  # of a dictionary
_TARGETS = ("label", "target", "labels", "targets")


def _found(text: str) -> Any:
    """The object of that name; called, if it is a function or a class."""
    named = dataset_name(text)
    if named is None:
        raise ImageError(f"calibrate must be a dataset as module:name, not {text!r}")
    where, name = named
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(f"moesaic_dataset_{Path(where).stem}", where)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        found = getattr(module, name)
        return found if hasattr(found, "__getitem__") and not isinstance(found, type) else found()
    except Exception as error:
        said = " ".join(str(error).split())
        raise ImageError(
            f"calibrate must be a dataset, or a function without arguments that returns one, not {text!r} "
            f"({type(error).__name__}: {said})"
        ) from error


def _items(found: Any, limit: int) -> Any:
    """Up to `limit` items with their names, evenly spread where the length is known."""
    if hasattr(found, "__len__") and hasattr(found, "__getitem__"):
        count = len(found)
        indices = [i * count // limit for i in range(limit)] if count > limit else range(count)
        return ((f"item {index}", found[index]) for index in indices)
    return ((f"item {index}", item) for index, item in enumerate(itertools.islice(iter(found), limit)))


def _image(item: Any, size: tuple[int, int], channels: int) -> np.ndarray[Any, Any]:
    """Bytes [channels, H, W] of a dataset's item: an image, alone or first of a tuple, or by name in a dictionary.

    Raises
    ------
    ValueError
        If it is none; says why.
    """
    if isinstance(item, tuple | list):
        item = item[0]
    elif isinstance(item, dict):
        item = next((item[key] for key in _KEYS if key in item), None)
    if isinstance(item, Image.Image):
        if channels != 3 and item.mode != _MODES[channels]:
            raise ValueError(f"of mode {item.mode}, where {_MODES[channels]} is an image of {channels} channels")
        item = np.asarray(item.convert(_MODES[channels]))
    if isinstance(item, torch.Tensor):
        item = item.detach().cpu().numpy()
    if not isinstance(item, np.ndarray):
        raise ValueError(f"no image, tensor or array but {type(item).__name__}")
    if item.ndim == 2:
        item = item[None]
    counts = {1, 3} if channels == 3 else {channels}
    if item.ndim != 3 or not {item.shape[0], item.shape[-1]} & counts:
        raise ValueError(f"of shape {list(item.shape)}, where [{channels}, H, W] or [H, W, {channels}] is an image")
    chw = item if item.shape[0] in counts else item.transpose(2, 0, 1)
    if chw.dtype != np.uint8:
        if not np.issubdtype(chw.dtype, np.floating) or not (chw.min() >= 0 and chw.max() <= 1):
            raise ValueError(f"of {chw.dtype} from {chw.min():g} to {chw.max():g}: give bytes, or floats in [0, 1]")
        chw = (chw.astype(np.float64) * 255 + 0.5).astype(np.uint8)
    hwc = np.ascontiguousarray(np.broadcast_to(chw, (channels, *chw.shape[1:])).transpose(1, 2, 0))
    if hwc.shape[:2] != size:
        hwc = scaled(hwc, size)
    return np.ascontiguousarray(hwc.transpose(2, 0, 1))


def labelled_images(
    dataset: Any, size: tuple[int, int], channels: int, limit: int
) -> Iterator[tuple[np.ndarray[Any, Any], Any]]:
    """Images, uint8 [channels, H, W], with their targets, of up to `limit` items, evenly spread where the length is
    known.

    Raises
    ------
    ImageError
        At the first item that is no image with a target.
    """
    for name, item in _items(dataset, limit):
        pair = isinstance(item, tuple | list) and len(item) > 1
        key = next((key for key in _TARGETS if key in item), None) if isinstance(item, dict) else None
        if not pair and key is None:
            raise ImageError(f"{name} must be an image with its target, as a pair or a dictionary with {_TARGETS[0]!r}")
        try:
            yield _image(item, size, channels), item[1] if pair else item[key]
        except ValueError as error:
            raise ImageError(f"{name} must be an image, not one {error}") from error


def read_dataset(text: str, size: tuple[int, int], limit: int, channels: int = 3) -> ImageFolder:
    """Up to `limit` images of a dataset, scaled to `size` (height, width).

    Parameters
    ----------
    text : str
        `package.module:name` or `path/file.py:name`: a dataset, or a function or class without arguments that makes
        one. Its items are images of Pillow, bytes or floats in [0, 1], as [channels, H, W] or [H, W, channels]; alone,
        first of a tuple, or called `image` in a dictionary; before normalisation, which the model does itself.

    Raises
    ------
    ImageError
        If there is no such dataset, or no image in it.
    """
    where = text.rpartition(":")[0]
    folder = Path(where).parent if where.endswith(".py") else Path.cwd()
    images, names, skipped = [], list[str](), list[tuple[str, str]]()
    with printing_to_stderr(), found_from(folder), usual_torch(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = _found(text)
        try:
            for name, item in _items(found, limit):
                try:
                    images.append(_image(item, size, channels))
                    names.append(name)
                except ValueError as error:
                    skipped.append((name, str(error)))
        except Exception as error:  # of the user's code
            said = " ".join(str(error).split())
            raise ImageError(
                f"calibrate must be a dataset that gives its items, not {text!r} ({type(error).__name__}: {said})"
            ) from error
    if not images:
        why = f", {skipped[0][0]} is {skipped[0][1]}" if skipped else ""
        raise ImageError(f"calibrate must be a dataset with images in it, not {text!r} ({len(skipped)} items{why})")
    stacked = np.stack(images)
    return ImageFolder(stacked, names, skipped, doubts(stacked, names))
