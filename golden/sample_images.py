"""Images for networks of any channels where a user gives none: rendered scenes, or noise."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from moesaic.golden.natural import natural_images
from moesaic.golden.training.scenes import render_batch

__all__ = ["are_scenes", "sample_images", "sample_words"]

_GREY, _RGB = 1, 3  # channels


def are_scenes(channels: int) -> bool:
    """Whether the samples show scenes: in colour, or their luminance."""
    return channels in (_GREY, _RGB)


def sample_words(channels: int) -> str:
    """What the samples are, for reports."""
    return "rendered scenes" if are_scenes(channels) else "images of noise with natural spectra"


def sample_images(seeds: Iterable[int], size: tuple[int, int], channels: int = 3) -> np.ndarray[Any, Any]:
    """Bytes [n, channels, H, W], one for each seed.

    Three channels are a rendered scene's colours, one is its luminance (ITU-R BT.601, as Pillow's mode L). Of two and
    four, which no scene has, each image is noise with the spectra of photographs.
    """
    if not are_scenes(channels):
        return np.concatenate([natural_images(size, 1, first=seed, channels=channels) for seed in seeds])
    colours = render_batch(seeds, size)[0]
    if channels == _RGB:
        return colours
    return np.stack([np.asarray(Image.fromarray(scene.transpose(1, 2, 0)).convert("L"))[None] for scene in colours])
