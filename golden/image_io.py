"""Image files to and from the bytes that a model takes."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from moesaic.errors import InputError
from moesaic.golden.scenes import render

__all__ = ["ImageError", "read_image", "write_image", "write_sample"]


class ImageError(InputError):
    """An image file that a model cannot take."""


def read_image(path: str | Path, size: tuple[int, int], *, resize: bool = False) -> np.ndarray:
    """RGB bytes of an image file, uint8 [3, H, W].

    Parameters
    ----------
    path : path
        A file of any format that Pillow reads.
    size : (int, int)
        Height and width that the model takes, pixels.
    resize : bool
        Scale an image of another size, instead of refusing it; proportions are not kept.

    Raises
    ------
    ImageError
        If the file is not an image, is cut short, or has the wrong size.
    OSError
        If the file cannot be opened.
    """
    height, width = size
    with Path(path).open("rb") as file:
        try:
            with Image.open(file) as image:
                found = image.height, image.width
                if found != size and not resize:
                    raise ImageError(
                        f"image must be {height} pixels high and {width} wide, not {found[0]} and {found[1]} "
                        f"({str(path)!r}); pass resize to scale it"
                    )
                rgb = image.convert("RGB")
        except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, OSError) as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(f"image must be a readable image file, not {str(path)!r} ({error})") from error
    if found != size:
        rgb = rgb.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(rgb, dtype=np.uint8).transpose(2, 0, 1))


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
