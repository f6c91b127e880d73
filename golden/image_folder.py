"""A folder of images to calibrate on: what can be used, what cannot and why, and what is suspicious about the rest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.golden.image_io import ImageError, read_image

__all__ = ["ImageFolder", "doubts", "read_folder"]

FEW = 4  # images: fewer than this are warned of
FLAT = 8  # levels between the darkest and the brightest value of an image that shows nothing


@dataclass(frozen=True)
class ImageFolder:
    """Images of a folder.

    Parameters
    ----------
    images : uint8 [n, channels, H, W]
    names : list of str
        Their files.
    skipped : list of (str, str)
        Files that are not among them, and why.
    warnings : list of str
        What makes the images doubtful for calibration.
    """

    images: np.ndarray[Any, Any]
    names: list[str]
    skipped: list[tuple[str, str]]
    warnings: list[str]


def _reason(error: Exception) -> str:
    text = str(error)
    return text[text.rindex("(") + 1 : -1] if isinstance(error, ImageError) and text.endswith(")") else text


def doubts(images: np.ndarray[Any, Any], names: list[str]) -> list[str]:
    """What makes images doubtful for calibration."""
    found = []
    flat = [name for name, image in zip(names, images, strict=True) if int(image.max()) - int(image.min()) < FLAT]
    if flat:
        found.append(f"{len(flat)} of {len(names)} images show one colour only: {', '.join(flat[:5])}")
    if len(names) > 1 and np.array_equal(images, np.broadcast_to(images[:1], images.shape)):
        found.append(f"all {len(names)} images are the same picture")
    if len(names) < FEW:
        found.append(f"{len(names)} images are few: steps may be too small for others; {FEW} or more are better")
    return found


def read_folder(path: Path, size: tuple[int, int], limit: int, channels: int = 3) -> ImageFolder:
    """Read up to `limit` images, an even selection of the folder's files by name, scaled to `size` (height, width).

    Raises
    ------
    ImageError
        If there is no such folder, or no image in it that can be read.
    """
    if limit < 1:
        raise ValueError(f"limit must be positive, not {limit!r}")
    if not path.is_dir():
        raise ImageError(f"calibrate must be a folder of images, not {str(path)!r}")
    files = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    images, names, skipped = [], list[str](), []
    # Evenly spread, and the gaps after those if some are broken.
    spread = [files[i * len(files) // limit] for i in range(limit)] if len(files) > limit else files
    chosen = set(spread)
    for file in [*spread, *(file for file in files if file not in chosen)]:
        if len(names) == limit:
            break
        try:
            image = read_image(file, size, channels, resize=True)
        except (ImageError, OSError) as error:
            skipped.append((file.name, _reason(error)))
            continue
        images.append(image)
        names.append(file.name)
    if not images:
        raise ImageError(
            f"calibrate must be a folder with images in it, not {str(path)!r} ({len(files)} files, none readable)"
        )
    stacked = np.stack(images)
    return ImageFolder(stacked, names, skipped, doubts(stacked, names))
