"""Image files to and from the bytes that a model takes."""

from pathlib import Path

import numpy as np
from PIL import Image

from moesaic.golden.sample_images import sample_images
from moesaic.images import ImageError, read_pixels

__all__ = ["ImageError", "read_image", "write_image", "write_sample"]


def read_image(path: str | Path, size: tuple[int, int], channels: int = 3, *, resize: bool = False) -> np.ndarray:
    """Bytes of an image file, uint8 [channels, H, W]: what `read_pixels` reads, with the channels first."""
    return np.ascontiguousarray(read_pixels(path, size, channels, resize=resize).transpose(2, 0, 1))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 [H, W] or [1 to 4, H, W] as PNG (L, LA, RGB, RGBA); the file appears whole or not at all."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[0] not in (1, 2, 3, 4)):
        raise ValueError(f"image must be uint8 [1 to 4, H, W] or [H, W], not {image.dtype} {list(image.shape)}")
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        pixels = image.transpose(1, 2, 0) if image.ndim == 3 and len(image) > 1 else image.reshape(image.shape[-2:])
        Image.fromarray(np.ascontiguousarray(pixels)).save(partial, format="PNG")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_sample(path: str | Path, size: tuple[int, int], seed: int = 0, channels: int = 3) -> None:
    """Write the sample of `seed` (`sample_images`) as PNG: an input for a model that takes images of `size`."""
    write_image(path, sample_images([seed], size, channels)[0])
