"""Image files to and from the bytes that a model takes."""

from pathlib import Path

import numpy as np
from PIL import Image

from moesaic.golden.training.scenes import render
from moesaic.images import ImageError, read_rgb

__all__ = ["ImageError", "read_image", "write_image", "write_sample"]


def read_image(path: str | Path, size: tuple[int, int], *, resize: bool = False) -> np.ndarray:
    """RGB bytes of an image file, uint8 [3, H, W]: what `read_rgb` reads, with the channels first."""
    return np.ascontiguousarray(read_rgb(path, size, resize=resize).transpose(2, 0, 1))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 [3, H, W] (RGB) or [H, W] (grey) as PNG; the file appears whole or not at all."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[0] != 3):
        raise ValueError(f"image must be uint8 [3, H, W] or [H, W], not {image.dtype} {list(image.shape)}")
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        Image.fromarray(image.transpose(1, 2, 0) if image.ndim == 3 else image).save(partial, format="PNG")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_sample(path: str | Path, size: tuple[int, int], seed: int = 0) -> None:
    """Write the rendered street scene of `seed` as PNG: an input for a model that takes images of `size`."""
    write_image(path, render(seed, size).image)
