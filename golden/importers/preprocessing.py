"""What the files beside a checkpoint say about pixels: normalisation, size, and what is done to reach that size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.normalisation import Normalisation, recognised
from moesaic.json_file import read_json

__all__ = ["Preprocessing", "read_preprocessing"]

PROCESSORS = ("preprocessor_config.json", "processor_config.json")  # of `transformers`; the second holds several
CONFIG = "config.json"  # timm keeps its pre-processing there
_MOST = 16 << 20  # bytes: far more than any of them has
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # as Pillow numbers them
_OURS = "bilinear"
# Flags that are read, or that change nothing here: every image is converted to RGB, labels are not used.
_READ = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_reduce_labels"}

Size = tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """What is stated; nothing where there are no such files.

    Parameters
    ----------
    source : str
        Name of the file.
    normalisation : Normalisation or None
    size : (int, int) or None
        Height and width of what reaches the model, pixels.
    steps : tuple of str
        What is done to an image to reach that size, in order.
    filter : str
        Interpolation; empty if it is not stated.
    direct : bool
        Whether the only step is to scale to `size`.
    undone : tuple of str
        Names of further steps that change pixels, and are not done here.
    instead : str
        What `--pixels` says in place of the file's normalisation; empty if it says nothing.
    """

    source: str = ""
    normalisation: Normalisation | None = None
    size: Size | None = None
    steps: tuple[str, ...] = ()
    filter: str = ""
    direct: bool = True
    undone: tuple[str, ...] = ()
    instead: str = ""

    def remarks(self, size: Size) -> list[str]:
        """What a user should know if the model takes images of `size`."""
        lines = []
        if self.normalisation is not None:
            lines.append(f"mean and deviation of pixels are those of {self.source}")
            if self.normalisation.warning:
                lines.append(f"warning: {self.source}: {self.normalisation.warning}")
        if self.instead:
            lines.append(f"--pixels {self.instead} is taken, whatever {self.source} says of mean and deviation")
        if self.steps and not (self.direct and self.size == size and self.filter in ("", _OURS)):
            by = f" ({self.filter})" if self.filter else ""
            lines.append(
                f"{self.source} {', then '.join(self.steps)}{by}; here --resize and --calibrate scale to "
                f"{_by(size)} ({_OURS}): prepare images as it says for the same pixels"
            )
        if self.undone:
            lines.append(f"warning: {self.source} asks for {', '.join(self.undone)}, which is not done here")
        return lines


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


@dataclass(frozen=True)
class _Fields:
    """Fields of a file, checked as they are taken."""

    data: Mapping[str, Any]
    path: Path

    def refuse(self, key: str, what: str) -> ImportProblem:
        return ImportProblem(f"{key} must be {what}, not {self.data.get(key)!r} ({str(self.path)!r})")

    def flag(self, key: str, usual: bool) -> bool:
        value = self.data.get(key)
        if value is None:
            return usual
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def number(self, key: str, usual: float) -> float:
        value = self.data.get(key)
        if value is None:
            return usual
        if not _is_number(value) or not value > 0:
            raise self.refuse(key, "a positive number")
        return float(value)

    def three(self, key: str) -> list[float] | None:
        """One value for each channel, from one or three."""
        value = self.data.get(key)
        if value is None:
            return None
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if len(values) not in (1, 3) or not all(_is_number(v) for v in values):
            raise self.refuse(key, "one number or three")
        return [float(v) for v in values] * (3 // len(values))

    def pair(self) -> tuple[list[float], list[float]] | None:
        """Mean and deviation, under the names of `transformers` or of timm."""
        names = (
            ("image_mean", "image_std") if "image_mean" in self.data or "image_std" in self.data else ("mean", "std")
        )
        mean, std = self.three(names[0]), self.three(names[1])
        if (mean is None) != (std is None):
            missing = names[0] if mean is None else names[1]
            raise self.refuse(missing, f"given with {names[1] if mean is None else names[0]}")
        if mean is None or std is None:
            return None
        if not all(s > 0 for s in std):
            raise self.refuse(names[1], "positive")
        return mean, std

    def filter(self, key: str) -> str:
        value = self.data.get(key)
        if value is None:
            return ""
        name = _FILTERS.get(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(name, str):
            raise self.refuse(key, f"one of {', '.join(f'{k} ({v})' for k, v in _FILTERS.items())}")
        return name.lower()

    def size(self, key: str) -> tuple[Size | None, str]:
        """Height and width if both are told, and the size in words: "to 224x224", "the shorter edge to 256"."""
        value = self.data.get(key)
        if isinstance(value, Mapping):
            if {"height", "width"} <= value.keys():
                value = [value["height"], value["width"]]
            else:
                words = {
                    "shortest_edge": "the shorter edge to {}",
                    "longest_edge": "the longer edge to at most {}",
                    "max_height": "the height to at most {}",
                    "max_width": "the width to at most {}",
                }
                parts = [words[k].format(v) for k, v in value.items() if k in words and _is_size(v)]
                if not parts or len(parts) < len([v for v in value.values() if v is not None]):
                    raise self.refuse(key, "height and width, shortest_edge, longest_edge, or max_height and max_width")
                return None, " and ".join(parts)
        pair = [value, value] if _is_size(value) else value
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(_is_size(v) for v in pair):
            raise self.refuse(key, "one positive whole number or two")
        return (pair[0], pair[1]), f"to {_by((pair[0], pair[1]))}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _normalisation(fields: _Fields) -> Normalisation | None:
    """The normalisation of pixels in [0, 1] that a `transformers` processor does to bytes, scaled and normalised."""
    if fields.flag("do_flip_channel_order", False):
        raise fields.refuse("do_flip_channel_order", "false: pixels enter in the order red, green, blue")
    rescale, normalise = fields.flag("do_rescale", True), fields.flag("do_normalize", True)
    factor = fields.number("rescale_factor", 1 / 255) if rescale else 1.0
    # Some processors take 1 off after scaling, for pixels in [-1, 1].
    shift = float(rescale and (fields.flag("rescale_offset", False) or fields.flag("offset", False)))
    pair = fields.pair() if normalise else ([0.0] * 3, [1.0] * 3)
    if pair is None:
        if rescale and (shift or abs(255 * factor - 1) > 1e-6):
            raise fields.refuse(
                "image_mean", "given with image_std, as pixels are scaled in a way of its own (--pixels)"
            )
        return None
    mean, std = pair
    if factor == 1:  # bytes, or images that lie in [0, 1] already: only the numbers tell
        if not normalise:
            raise fields.refuse("do_normalize", "true where pixels are not rescaled, or --pixels be given")
        found = recognised([m + shift for m in mean], std)
        taken = "do_rescale is false, and image_mean and image_std can only be of pixels in [0, 1] (--pixels)"
        return replace(found, warning=found.warning or taken if found.white == 1 else "")
    white = 255 * factor
    white = 1.0 if abs(white - 1) < 1e-6 else white
    return recognised([(m + shift) / white for m in mean], [s / white for s in std])


def _of_processor(fields: _Fields, pixels: str | None) -> Preprocessing:
    resize, crop = (
        fields.flag("do_resize", "size" in fields.data),
        fields.flag("do_center_crop", "crop_size" in fields.data),
    )
    size, steps, ends = None, [], None
    if resize and fields.data.get("size") is not None:
        size, words = fields.size("size")
        ends, steps = size, [f"scales {words}" if size is not None else f"scales {words}, proportions kept"]
    if crop and (key := next((k for k in ("crop_size", "size") if fields.data.get(k) is not None), None)):
        ends, words = fields.size(key)
        steps.append(f"crops the centre {words}")
    undone = tuple(k for k, v in fields.data.items() if k.startswith("do_") and v is True and k not in _READ)
    return Preprocessing(
        source=fields.path.name,
        normalisation=_normalisation(fields) if pixels is None else None,
        size=ends,
        steps=tuple(steps),
        filter=fields.filter("resample"),
        direct=not crop or size == ends,
        undone=undone,
        instead=pixels or "",
    )


def _of_timm(fields: _Fields, pixels: str | None) -> Preprocessing:
    stated = fields.data.get("input_size")
    size = None
    if stated is not None:
        if not isinstance(stated, (list, tuple)) or len(stated) != 3 or not all(_is_size(v) for v in stated):
            raise fields.refuse("input_size", "channels, height and width")
        size = (stated[1], stated[2])
    part, mode = fields.number("crop_pct", 1.0), fields.data.get("crop_mode") or "center"
    steps: tuple[str, ...] = ()
    if size is not None and mode == "squash":
        before = (math.floor(size[0] / part), math.floor(size[1] / part))
        steps = (f"scales to {_by(before)}",)
    elif size is not None:
        steps = (f"scales the shorter edge to {math.floor(min(size) / part)}, proportions kept",)
    if size is not None and (part != 1 or mode != "squash"):
        steps = (*steps, f"crops the {'centre' if mode in ('center', 'squash') else mode} to {_by(size)}")
    pair = fields.pair() if pixels is None else None
    return Preprocessing(
        source=fields.path.name,
        normalisation=None if pair is None else recognised(*pair),
        size=size,
        steps=steps,
        filter=fields.filter("interpolation"),
        direct=len(steps) == 1,
        instead=pixels or "",
    )


def _object(path: Path) -> Mapping[str, Any]:
    data = read_json(path, most=_MOST, what=path.name, error=ImportProblem)
    if not isinstance(data, dict):
        raise ImportProblem(f"{path.name} must be an object in braces, not {type(data).__name__} ({str(path)!r})")
    return data


def read_preprocessing(folder: Path, *, pixels: str | None) -> Preprocessing:
    """What the first of `preprocessor_config.json`, `processor_config.json` and timm's `config.json` says.

    Parameters
    ----------
    folder : Path
    pixels : str or None
        What `--pixels` says in place of the file; the normalisation is not read then.

    Raises
    ------
    ImportProblem
        If a file is damaged, a value is not of its kind, or the file does not tell the range of pixels.
    """
    for name in PROCESSORS:
        if (folder / name).is_file():
            data = _object(folder / name)
            inner = data.get("image_processor")
            if isinstance(inner, dict):
                data = inner
            elif name == PROCESSORS[1]:
                continue
            return _of_processor(_Fields(data, folder / name), pixels)
    if (folder / CONFIG).is_file():
        data = _object(folder / CONFIG)
        inner = data.get("pretrained_cfg", data if "architecture" in data else None)
        if isinstance(inner, dict):
            return _of_timm(_Fields(inner, folder / CONFIG), pixels)
    return Preprocessing()
