"""Task heads with numpy alone: from the final tokens to a segmentation or a depth map, as `golden.heads` does with
torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.boards.npz_file import read_npz
from moesaic.errors import InputError

__all__ = ["FILE", "HeadError", "HostHead", "HostHeads", "load_heads", "save_heads"]

Array = np.ndarray[Any, np.dtype[Any]]

FILE = "heads.npz"  # in a program folder
FORMAT = 1
MOST_BYTES = 1 << 28  # of all tensors of all heads
_META = "meta"
LAYERS = ("conv", "gelu", "relu", "shuffle", "resize")
OUTPUTS = ("classes", "value", "ratio")
Layer = tuple[Any, ...]


class HeadError(InputError):
    """Heads that cannot be read, or do not belong to the program."""


def _erf(x: Array) -> Array:
    """Error function, to 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    size = np.abs(x)
    t = 1 / (1 + 0.3275911 * size)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1 - poly * np.exp(-size * size)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / np.float32(np.sqrt(2)))))


def _conv(x: Array, weight: Array, bias: Array) -> Array:
    """1 x 1 or 3 x 3 convolution with a border of zeros: [C, H, W] to [O, H, W]."""
    size, (_, height, width) = weight.shape[-1], x.shape
    border = size // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border)))
    found = np.repeat(bias[:, None], height * width, axis=1)
    for i in range(size):
        for j in range(size):
            part = padded[:, i : i + height, j : j + width].reshape(len(x), -1)
            found += np.ascontiguousarray(weight[:, :, i, j]) @ part
    return found.reshape(-1, height, width)


def _shuffle(x: Array, cells: int) -> Array:
    """[C * cells**2, H, W] to [C, H * cells, W * cells], as torch's pixel_shuffle."""
    _, down, across = x.shape
    spread = x.reshape(-1, cells, cells, down, across).transpose(0, 3, 1, 4, 2)
    return spread.reshape(-1, down * cells, across * cells)


def _bilinear(size: int, found: int) -> Array:
    """Matrix [size, found] that interpolates samples at pixel centres, the edges held."""
    at = np.clip((np.arange(size) + 0.5) * found / size - 0.5, 0, found - 1)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, found - 1), (at - low).astype(np.float32)
    matrix = np.zeros((size, found), np.float32)
    np.add.at(matrix, (np.arange(size), low), 1 - part)
    np.add.at(matrix, (np.arange(size), high), part)
    return matrix


def _resize(x: Array, height: int, width: int) -> Array:
    return np.asarray(_bilinear(height, x.shape[1]) @ x @ _bilinear(width, x.shape[2]).T, np.float32)


def _layer(x: Array, layer: Layer, tensors: Mapping[str, Array]) -> Array:
    kind, *sizes = layer
    if kind == "conv":
        return _conv(x, tensors[f"{sizes[0]}.weight"], tensors[f"{sizes[0]}.bias"])
    if kind == "gelu":
        return _gelu(x)
    if kind == "relu":
        return np.maximum(x, 0)
    if kind == "shuffle":
        return _shuffle(x, int(sizes[0]))
    if kind == "resize":
        return _resize(x, int(sizes[0]), int(sizes[1]))
    raise HeadError(f"layer must be one of {', '.join(LAYERS)}, not {kind!r}")


@dataclass(frozen=True)
class HostHead:
    """LayerNorm, learnt tokens dropped, folded into a map, and layers one after the other.

    Parameters
    ----------
    tensors : mapping
        float32: `norm.weight`, `norm.bias`, and `N.weight` [O, C, k, k], `N.bias` of convolution N.
    layers : tuple
        `("conv", N)`, `("gelu",)`, `("relu",)`, `("shuffle", cells)`, `("resize", height, width)` (bilinear).
    grid : (int, int)
        Patches down and across.
    prefix : int
        Tokens before those of the patches.
    eps : float
        Added to the variance.
    output : str
        `classes`: the largest channel of each pixel. `value`: the only channel. `ratio`: between `near` and `far` by
        the sigmoid of the only channel, in equal ratios.
    near, far : float
        Metres, of `ratio`.
    """

    tensors: Mapping[str, Array]
    layers: tuple[Layer, ...]
    grid: tuple[int, int]
    prefix: int
    eps: float
    output: str
    near: float = 1.0
    far: float = 1.0

    def __post_init__(self) -> None:
        if self.output not in OUTPUTS:
            raise HeadError(f"output must be one of {', '.join(OUTPUTS)}, not {self.output!r}")

    def scores(self, tokens: Array) -> Array:
        """What the network says of every pixel, float32 [channels, H, W], from tokens [N, dim] float32."""
        deviation = tokens - tokens.mean(axis=1, keepdims=True)
        x = deviation / np.sqrt((deviation**2).mean(axis=1, keepdims=True) + self.eps)
        x = x * self.tensors["norm.weight"] + self.tensors["norm.bias"]
        x = x[self.prefix :].T.reshape(-1, *self.grid).astype(np.float32)
        for layer in self.layers:
            x = _layer(x, layer, self.tensors)
        return x

    def map(self, tokens: Array) -> Array:
        """Class of every pixel, uint8 [H, W]; or its value, float32 [H, W]."""
        scores = self.scores(tokens)
        if self.output == "classes":
            return scores.argmax(axis=0).astype(np.uint8)
        if self.output == "value":
            return scores[0]
        ratio = np.float32(self.far / self.near)
        return np.asarray(self.near * ratio ** (1 / (1 + np.exp(-scores[0]))), np.float32)


@dataclass(frozen=True)
class HostHeads:
    """The heads of a program.

    Parameters
    ----------
    step : float
        Value of one unit of the final residual.
    heads : mapping of task to HostHead
    palette : tuple of (red, green, blue)
        Colour of each class.
    """

    step: float
    heads: Mapping[str, HostHead]
    palette: tuple[tuple[int, int, int], ...] = ()

    def picture(self, found: Array) -> Array:
        """A map as colours, uint8 [H, W, 3]: classes by the palette; depth in greys, near is bright, equal ratios equal
        steps.
        """
        if found.dtype == np.uint8:
            colours = np.array(self.palette or [(i, i, i) for i in range(256)], np.uint8)
            return colours[found]
        far = max([head.far for head in self.heads.values() if head.output == "ratio"], default=float(found.max()))
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
        arrays |= {f"{task}/{name}": np.asarray(tensor, np.float32) for name, tensor in head.tensors.items()}
        tasks[task] = {
            "tensors": list(head.tensors),
            "layers": head.layers,
            "grid": head.grid,
            "prefix": head.prefix,
            "eps": head.eps,
            "output": head.output,
            "near": head.near,
            "far": head.far,
        }
    meta = {
        "format": FORMAT,
        "program_sha256": program_sha256,
        "step": heads.step,
        "palette": heads.palette,
        "tasks": tasks,
    }
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
    arrays = read_npz(path, most=MOST_BYTES, what="heads", error=HeadError)
    try:
        meta = json.loads(str(arrays.pop(_META)))
        if meta["format"] != FORMAT:
            raise HeadError(f"format of heads must be {FORMAT}, not {meta['format']!r} ({str(path)!r})")
        if meta["program_sha256"] != program_sha256:
            raise HeadError(f"heads must be of the program beside them, not of another one ({str(path)!r})")
        heads = {
            task: HostHead(
                {name: arrays[f"{task}/{name}"] for name in entry["tensors"]},
                tuple(map(tuple, entry["layers"])),
                (entry["grid"][0], entry["grid"][1]),
                entry["prefix"],
                entry["eps"],
                entry["output"],
                entry["near"],
                entry["far"],
            )
            for task, entry in meta["tasks"].items()
        }
        palette = tuple((int(red), int(green), int(blue)) for red, green, blue in meta["palette"])
        return HostHeads(float(meta["step"]), heads, palette)
    except HeadError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise HeadError(
            f"heads must be a readable {FILE}, not {str(path)!r} ({type(error).__name__}: {error})"
        ) from error
