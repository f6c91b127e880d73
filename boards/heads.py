"""Task heads with numpy alone: from the final tokens to a segmentation or a depth map, as `golden.heads` does with torch."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FILE", "DenseHead", "HeadError", "HostHeads", "load_heads", "save_heads"]

Array = np.ndarray[Any, np.dtype[Any]]

FILE = "heads.npz"  # in a program folder
FORMAT = 1
_META = "meta"
_TENSORS = ("norm.weight", "norm.bias", "conv.weight", "conv.bias", "predict.weight", "predict.bias")


class HeadError(ValueError):
    """Heads that cannot be read, or do not belong to the program."""


def _erf(x: Array) -> Array:
    """Error function, to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    size = np.abs(x)
    t = 1 / (1 + 0.3275911 * size)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1 - poly * np.exp(-size * size)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / np.float32(np.sqrt(2)))))


def _conv3(x: Array, weight: Array, bias: Array) -> Array:
    """3 x 3 convolution with a border of zeros: [C, H, W] to [O, H, W]."""
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    patches = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]  # each [C, H, W]
    columns = np.stack(patches, axis=1).reshape(-1, height * width)  # [C * 9, H * W]
    return np.asarray((weight.reshape(len(weight), -1) @ columns + bias[:, None]).reshape(-1, height, width))


def _bilinear(size: int, found: int) -> Array:
    """Matrix [size, found] that interpolates samples at pixel centres, the edges held."""
    at = np.clip((np.arange(size) + 0.5) * found / size - 0.5, 0, found - 1)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, found - 1), (at - low).astype(np.float32)
    matrix = np.zeros((size, found), np.float32)
    np.add.at(matrix, (np.arange(size), low), 1 - part)
    np.add.at(matrix, (np.arange(size), high), part)
    return matrix


@dataclass(frozen=True)
class DenseHead:
    """LayerNorm, class token dropped, folded, 3 x 3, GELU, 1 x 1 to sub-patch cells, bilinear upsampling.

    Parameters
    ----------
    tensors : mapping
        float32, by the names of `golden.heads.DenseHead`.
    grid, image_size : (int, int)
        Patches down and across; pixels.
    prefix : int
        Tokens before those of the patches.
    cells : int
        Predicted cells along a patch's side.
    eps : float
        Added to the variance.
    near, far : float, metres, or None
        Ends of the range of a depth head; None makes classes.
    """

    tensors: Mapping[str, Array]
    grid: tuple[int, int]
    image_size: tuple[int, int]
    prefix: int
    cells: int
    eps: float
    near: float | None = None
    far: float | None = None

    def scores(self, tokens: Array) -> Array:
        """What the network says of every pixel, float32 [channels, H, W], from tokens [N, dim] float32."""
        t, (down, across) = self.tensors, self.grid
        centred = tokens - tokens.mean(axis=1, keepdims=True)
        x = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.eps) * t["norm.weight"] + t["norm.bias"]
        x = x[self.prefix :].T.reshape(-1, down, across).astype(np.float32)
        x = _gelu(_conv3(x, t["conv.weight"], t["conv.bias"]))
        weight = t["predict.weight"]
        x = weight.reshape(len(weight), -1) @ x.reshape(len(x), -1) + t["predict.bias"][:, None]
        c = self.cells
        x = x.reshape(-1, c, c, down, across).transpose(0, 3, 1, 4, 2).reshape(-1, down * c, across * c)
        height, width = self.image_size
        return np.asarray(_bilinear(height, down * c) @ x @ _bilinear(width, across * c).T, np.float32)

    def map(self, tokens: Array) -> Array:
        """Class of every pixel, uint8 [H, W]; of a depth head metres, float32 [H, W]."""
        scores = self.scores(tokens)
        if self.near is None or self.far is None:
            return scores.argmax(axis=0).astype(np.uint8)
        ratio = np.float32(self.far / self.near)
        return np.asarray(self.near * ratio ** (1 / (1 + np.exp(-scores[0]))), np.float32)


@dataclass(frozen=True)
class HostHeads:
    """The heads of a program.

    Parameters
    ----------
    step : float
        Value of one unit of the final residual.
    heads : mapping of task to DenseHead
    palette : tuple of (red, green, blue)
        Colour of each class.
    """

    step: float
    heads: Mapping[str, DenseHead]
    palette: tuple[tuple[int, int, int], ...] = ()

    def picture(self, found: Array) -> Array:
        """A map as colours, uint8 [H, W, 3]: classes by the palette; depth in greys, near is bright, equal ratios equal steps."""
        if found.dtype == np.uint8:
            colours = np.array(self.palette or [(i, i, i) for i in range(256)], np.uint8)
            return colours[found]
        far = max((head.far or 0.0) for head in self.heads.values()) or float(found.max())
        grey = 255 * (1 - np.log(np.clip(found, 1, far)) / np.log(far))
        return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2)

    def map(self, task: str, residual: Array) -> Array | None:
        """The task's map from the final residual [tokens, dim] int16; None if the task has no head."""
        head = self.heads.get(task)
        return None if head is None else head.map(residual.astype(np.float32) * np.float32(self.step))


def save_heads(path: Path, heads: HostHeads, *, program_sha256: str) -> None:
    """Write heads beside a program, which is known by the hash of its memory."""
    arrays: dict[str, Any] = {}
    tasks: dict[str, Any] = {}
    for task, head in heads.heads.items():
        arrays |= {f"{task}/{name}": np.asarray(head.tensors[name], np.float32) for name in _TENSORS}
        tasks[task] = {
            "kind": "dense", "grid": head.grid, "image_size": head.image_size, "prefix": head.prefix, "cells": head.cells,
            "eps": head.eps, "near": head.near, "far": head.far,
        }
    meta = {"format": FORMAT, "program_sha256": program_sha256, "step": heads.step, "palette": heads.palette, "tasks": tasks}
    arrays[_META] = np.array(json.dumps(meta))
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load_heads(path: Path, *, program_sha256: str) -> HostHeads:
    """Read what `save_heads` wrote.

    Raises
    ------
    HeadError
        If the file is missing, damaged, or of another program.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop(_META)))
        if meta["format"] != FORMAT:
            raise HeadError(f"format of heads must be {FORMAT}, not {meta['format']!r} ({str(path)!r})")
        if meta["program_sha256"] != program_sha256:
            raise HeadError(f"heads must be of the program beside them, not of another one ({str(path)!r})")
        heads = {
            task: DenseHead(
                {name: arrays[f"{task}/{name}"] for name in _TENSORS},
                (entry["grid"][0], entry["grid"][1]), (entry["image_size"][0], entry["image_size"][1]),
                entry["prefix"], entry["cells"], entry["eps"], entry["near"], entry["far"],
            )
            for task, entry in meta["tasks"].items()
        }
        palette = tuple((int(red), int(green), int(blue)) for red, green, blue in meta["palette"])
        return HostHeads(float(meta["step"]), heads, palette)
    except HeadError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise HeadError(f"heads must be a readable {FILE}, not {str(path)!r} ({type(error).__name__}: {error})") from error
