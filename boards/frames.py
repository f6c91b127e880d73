"""Images for an accelerator: from a file, a folder, an array, a video or a camera; and pictures to files."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.images import ImageError, read_pixels

__all__ = ["IMAGES", "VIDEOS", "FrameError", "frames", "write_picture"]

Array = np.ndarray[Any, np.dtype[Any]]
Size = tuple[int, int]

IMAGES = (".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pfm")
VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm")


class FrameError(ImageError):
    """A source of images that cannot be read; the message says what would do."""


def _library(name: str, distribution: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FrameError(
            f"{distribution} must be installed to read {what} (pip install {distribution}); "
            "an .npy file of uint8 [N, height, width, 3] needs nothing"
        ) from error


def _image(path: Path, size: Size, channels: int) -> Array:
    _library("PIL.Image", "pillow", "image files")
    try:
        return read_pixels(path, size, channels, resize=True)
    except OSError as error:
        raise FrameError(f"image must be a readable image file, not {str(path)!r} ({error.strerror})") from error


def _array(path: Path, size: Size, channels: int) -> Iterator[tuple[str, Array]]:
    try:
        data = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FrameError(f"frames must be a readable .npy file, not {str(path)!r} ({error})") from error
    if data.dtype != np.uint8 or data.ndim != 4 or data.shape[1:] != (*size, channels):
        raise FrameError(
            f"frames must be uint8 [N, {size[0]}, {size[1]}, {channels}], not {data.dtype} {list(data.shape)} "
            f"({str(path)!r})"
        )
    for number, frame in enumerate(data):
        yield f"{path.stem}-{number:05d}", frame


def _video(source: str | int, size: Size, channels: int) -> Iterator[tuple[str, Array]]:
    if channels != 3:
        raise FrameError(
            f"frames of a video or a camera must be for a model of 3 channels, not {channels}: give an .npy file"
        )
    cv2 = _library("cv2", "opencv-python-headless", "videos and cameras")
    capture = cv2.VideoCapture(source)
    what = f"camera {source}" if isinstance(source, int) else repr(source)
    try:
        if not capture.isOpened():
            raise FrameError(f"source must be a video or a camera that OpenCV can open, not {what}")
        number = 0
        while True:
            got, frame = capture.read()
            if not got:
                break
            if frame.dtype != np.uint8 or frame.ndim != 3:
                raise FrameError(f"frames must be of 8-bit colour, not {frame.dtype} {list(frame.shape)} ({what})")
            rgb = cv2.cvtColor(cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
            yield f"frame-{number:05d}", rgb
            number += 1
        if not number:
            raise FrameError(f"source must give at least one frame, not {what}")
    finally:
        capture.release()


def frames(source: str | Path, size: Size, channels: int = 3) -> Iterator[tuple[str, Array]]:
    """Name and bytes uint8 [height, width, channels] of every image of a source, scaled to `size`.

    Parameters
    ----------
    source : str or path
        An image file, a folder of them (in the order of their names), an .npy file of uint8
        [N, height, width, channels] (not scaled), a video file, or the number of a camera. Image files need Pillow,
        videos and cameras OpenCV.
    size : (int, int)
        Height and width, pixels.
    channels : int
        1 is grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    Raises
    ------
    FrameError
        If there is no such source, nothing in it, or a library is missing.
    ImageError
        If an image file cannot be read, or not be what is meant: see `read_pixels`.
    """
    path = Path(source)
    if not path.exists() and str(source).isdigit():
        yield from _video(int(str(source)), size, channels)
    elif path.is_dir():
        names = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGES)
        if not names:
            raise FrameError(f"folder must hold images ({', '.join(IMAGES)}), but {str(path)!r} has none")
        for entry in names:
            yield entry.stem, _image(entry, size, channels)
    elif not path.is_file():
        raise FrameError(
            f"source must be an image, a folder, a video, an .npy file or the number of a camera, not {str(source)!r}"
        )
    elif path.suffix.lower() == ".npy":
        yield from _array(path, size, channels)
    elif path.suffix.lower() in VIDEOS:
        yield from _video(str(path), size, channels)
    else:
        yield path.stem, _image(path, size, channels)


def write_picture(path: Path, picture: Array) -> Path:
    """Write uint8 [height, width, 3] as PNG, or as PPM where there is no Pillow; the file that was written."""
    try:
        pil = importlib.import_module("PIL.Image")
    except ImportError:
        path = path.with_suffix(".ppm")
        height, width, _ = picture.shape
        path.write_bytes(b"P6 %d %d 255\n" % (width, height) + np.ascontiguousarray(picture).tobytes())
        return path
    path = path.with_suffix(".png")
    pil.fromarray(picture).save(path)
    return path
