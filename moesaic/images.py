"""An image file as bytes, grey or RGB, with alpha or without: as a viewer shows it, or a refusal by name."""

from pathlib import Path
from typing import Any

import numpy as np

from moesaic.errors import InputError

__all__ = ["ImageError", "read_pixels", "scaled"]

# Pillow is imported where it is used: this module is copied to boards, where images may come from arrays alone.

_COLOUR = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
_ALPHA = {"LA": "RGBA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}  # mode -> mode on the way to RGBA
_CHANNELS = {1: "grey", 2: "grey with alpha", 4: "RGB with alpha"}
_WORDS = ("I;16", "I;16B", "I;16L", "I;16N")
_WORDS_AS_INTEGERS = ("PNG", "PPM")  # formats whose 16 bits some versions of Pillow give as mode I, and never 32
_FIRST_IS_THE_IMAGE = ("MPO", "PSD")  # previews of a photograph, layers of a drawing: the first is the whole
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF

Array = np.ndarray[Any, Any]


class ImageError(InputError):
    """An image file that a model cannot take."""


class _Unsuitable(Exception):
    """An image that is whole, but not what is wanted: requirement and reason."""

    def __init__(self, requirement: str, reason: str) -> None:
        self.requirement, self.reason = requirement, reason
        super().__init__(reason)


def _check_one_picture(image: Any) -> None:
    count = 1 if image.format in _FIRST_IS_THE_IMAGE else getattr(image, "n_frames", 1)
    if count != 1:
        raise _Unsuitable("one picture", f"{count} frames or pages: save the one that is meant as a file of its own")
    if image.format == "EPS":
        raise _Unsuitable("pixels", "EPS is a program: save the picture as PNG")


def _grey(levels: Array, tags: dict[int, Any]) -> Array:
    """Grey bytes [H, W] as RGB; the other way round where a TIFF file says that white is 0."""
    return np.repeat((255 - levels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else levels)[..., None], 3, axis=2)


def _wide(upright: Any, tags: dict[int, Any]) -> Array:
    """Grey of 16 bits, or of as many as a TIFF file says, scaled to bytes and rounded."""
    top = 2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1
    table = ((np.arange(top + 1) * 510 + top) // (2 * top)).astype(np.uint8)
    return _grey(table[np.asarray(upright)], tags)


def _floats(upright: Any, tags: dict[int, Any]) -> Array:
    """Floats in [0, 1], scaled to bytes and rounded."""
    values = np.asarray(upright)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also NaN
        raise _Unsuitable(
            "of 8 or 16 bits, or of floats in [0, 1]",
            f"its floats lie between {low:g} and {high:g}, which says nothing of black and white: scale them to [0, 1]",
        )
    return _grey((values * 255 + 0.5).astype(np.uint8), tags)


def _opaque(upright: Any, *, low_bits: bool) -> Array:
    """Colours of an image that has transparency, if no pixel makes use of it."""
    if low_bits:  # the transparent level is in the file's few bits, the pixels are not any more
        raise _Unsuitable("opaque", "a level of its grey is transparent: put it on a background and save it again")
    image = upright.convert(_ALPHA.get(upright.mode, "RGBA")).convert("RGBA")
    pixels = np.asarray(image)
    through = int((pixels[..., 3] != 255).sum())
    if through:
        raise _Unsuitable(
            "opaque", f"{through} of its pixels are transparent: put it on a background and save it again"
        )
    return pixels[..., :3]


def _rgb(upright: Any, image: Any) -> Array:
    """RGB bytes [H, W, 3] of an upright image, read from the file that `image` is."""
    mode, tags = upright.mode, dict(getattr(image, "tag_v2", {}))
    keyed = "transparency" in upright.info
    if mode in _WORDS or (mode == "I" and image.format in _WORDS_AS_INTEGERS):
        return _opaque(upright, low_bits=True) if keyed else _wide(upright, tags)
    if mode == "F":
        return _floats(upright, tags)
    if mode == "I":
        raise _Unsuitable(
            "of 8 or 16 bits, or of floats in [0, 1]",
            "integers with a sign or 32 bits say nothing of black and white: save it with 16 bits",
        )
    if mode not in _COLOUR and mode not in _ALPHA:
        raise _Unsuitable("grey or RGB", f"its mode is {mode}: convert it to RGB")
    if mode in _ALPHA or mode == "P" or keyed:
        return _opaque(upright, low_bits=mode in ("1", "L") and image.format == "PNG")
    return np.asarray(upright.convert("RGB"))


def _with_alpha(upright: Any, channels: int) -> Array:
    """Grey or RGB bytes and alpha, [H, W, 2] or [H, W, 4]."""
    mode = upright.mode
    if mode not in _ALPHA and not (mode == "P" and "transparency" in upright.info):
        raise _Unsuitable(_CHANNELS[channels], f"its mode is {mode}, without an alpha channel")
    rgba = np.asarray(upright.convert(_ALPHA.get(mode, "RGBA")).convert("RGBA"))
    return rgba if channels == 4 else np.concatenate([_one_grey(rgba[..., :3], channels), rgba[..., 3:]], axis=2)


def _one_grey(rgb: Array, channels: int) -> Array:
    """The one level [H, W, 1] of pixels without colour."""
    if (rgb != rgb[..., :1]).any():
        raise _Unsuitable(_CHANNELS[channels], "its pixels have colours: convert it first")
    return rgb[..., :1]


def _pixels(upright: Any, image: Any, channels: int) -> Array:
    """Bytes [H, W, channels] of an upright image, read from the file that `image` is."""
    if channels in (2, 4):
        return _with_alpha(upright, channels)
    rgb = _rgb(upright, image)
    return rgb if channels == 3 else _one_grey(rgb, channels)


def scaled(pixels: Array, size: tuple[int, int]) -> Array:
    """Bytes [H, W, channels] at another height and width: bilinear, each channel by itself."""
    from PIL import Image

    planes = [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(pixels.shape[2])]
    return np.stack([np.asarray(p.resize(size[::-1], Image.Resampling.BILINEAR)) for p in planes], axis=2)


def read_pixels(path: str | Path, size: tuple[int, int], channels: int = 3, *, resize: bool) -> Array:
    """Bytes of an image file, uint8 [H, W, channels], as a viewer shows them.

    Turned and mirrored as its EXIF orientation says. Grey of 16 bits is scaled from its own range (0..65535) and
    rounded, floats from 0..1; of colours with 16 bits the upper byte is taken. Colour profiles are not applied.

    Parameters
    ----------
    path : path
        A file of any format that Pillow reads.
    size : (int, int)
        Height and width, pixels.
    channels : int
        1 is grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Other channels than the file's are refused; but what has
        no colours is grey, and grey is RGB.
    resize : bool
        Scale an image of another size (bilinear; proportions are not kept), instead of refusing it.

    Raises
    ------
    ImageError
        If the file is not an image, is cut short, has the wrong size or other channels; is transparent in places, an
        animation, or of values that say nothing of black and white.
    OSError
        If the file cannot be opened.
    ImportError
        If there is no Pillow.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with Path(path).open("rb") as file:
        try:
            with Image.open(file) as image:
                _check_one_picture(image)
                pixels = _pixels(ImageOps.exif_transpose(image), image, channels)
        except _Unsuitable as error:
            raise ImageError(f"image must be {error.requirement}, not {str(path)!r} ({error.reason})") from error
        except MemoryError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(
                f"image must be a readable image file, not {str(path)!r} (no format that Pillow knows)"
            ) from error
        except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
            why = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(f"image must be a readable image file, not {str(path)!r} ({why})") from error
    found, (height, width) = pixels.shape[:2], size
    if found == size:
        return np.ascontiguousarray(pixels)
    if not resize:
        raise ImageError(
            f"image must be {height} pixels high and {width} wide, not {found[0]} and {found[1]} ({str(path)!r}); "
            "pass resize to scale it"
        )
    return scaled(pixels, size)
