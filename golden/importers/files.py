"""Tensors out of .pth and .safetensors files, never running code that lies in them."""

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError
from safetensors.torch import load_file

from moesaic.golden.importers.problem import ImportProblem

__all__ = ["Tensors", "read_tensors", "tensors_in"]

Tensors = dict[str, torch.Tensor]

CONTAINERS = ("state_dict", "model_state_dict", "model")  # where a training checkpoint keeps its tensors
_LFS = b"version https://git-lfs"
# Best scores are saved beside the weights as NumPy scalars, under the module's old name before NumPy 2.
_HARMLESS: list[Any] = [
    (multiarray.scalar, name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]
_HARMLESS += [np.dtype, *(type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?"))]

_ASKS = re.compile(
    r"GLOBAL (\S+) was not an allowed|unrecognized function|unsupported class|Can only build|blocked by default"
)


def _refused(path: Path, why: str) -> ImportProblem:
    return ImportProblem(f"weights must be a whole .pth or .safetensors file, not {str(path)!r} ({why})")


def _load_pickle(path: Path) -> Any:
    """A torch.save file through torch's restricted unpickler; large ones are mapped, not read."""
    with torch.serialization.safe_globals(_HARMLESS):
        try:
            with path.open("rb") as file:
                zipped = file.read(2) == b"PK"
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        except pickle.UnpicklingError as error:
            asked = _ASKS.search(str(error))
            if asked is None:
                raise _refused(path, "damaged or cut short") from error
            what = asked.group(1) or "code"
            raise ImportProblem(
                f"weights must be plain tensors, not {str(path)!r}: it asks to run {what}, which a file from "
                f"elsewhere may "
                "not. Where you trust it, save its tensors alone: "
                "torch.save(torch.load(file, weights_only=False)['state_dict'], new_file)"
            ) from error
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _refused(path, f"damaged or cut short: {str(error).splitlines()[0][:120]}") from error


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise _refused(path, "it is empty")
    if head.startswith(_LFS):
        raise _refused(path, "a Git LFS pointer: fetch the file itself with git lfs pull")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        try:
            return load_file(path)
        except SafetensorError as error:
            raise _refused(path, f"damaged or cut short: {error}") from error
    if head[:2] != b"PK" and head[:1] != b"\x80":
        raise _refused(path, "neither a zip archive, nor a pickle, nor safetensors")
    return _load_pickle(path)


def _inner(data: Any) -> Iterator[Mapping[Any, Any]]:
    """Mappings in which tensors may lie, innermost first."""
    if isinstance(data, Mapping):
        for key in CONTAINERS:
            if key in data:
                yield from _inner(data[key])
        yield data


def tensors_in(data: Any, path: Path) -> Tensors:
    """The state dict in what a file held: itself, or under `state_dict`, `model_state_dict` or `model`.

    Raises
    ------
    ImportProblem
        If there is none, or something in it is not a dense tensor.
    """
    for mapping in _inner(data):
        names = [key for key, value in mapping.items() if isinstance(value, torch.Tensor)]
        if not names:
            continue
        strange = {
            "not tensors": [
                f"{key}: {type(value).__name__}"
                for key, value in mapping.items()
                if not isinstance(value, torch.Tensor)
            ],
            "not dense": [
                f"{key}: {value.layout}"
                for key, value in mapping.items()
                if isinstance(value, torch.Tensor) and (value.layout is not torch.strided or value.is_quantized)
            ],
        }
        strange = {kind: entries for kind, entries in strange.items() if entries}
        if strange:
            raise ImportProblem(f"weights must be dense tensors by name, not {str(path)!r}", strange)
        return {str(key): mapping[key].detach() for key in names}
    held = ", ".join(map(str, list(data)[:8])) if isinstance(data, Mapping) else type(data).__name__
    raise ImportProblem(
        f"weights must be tensors by name (or under {', '.join(CONTAINERS)}), not {str(path)!r}, which holds: {held}"
    )


def read_tensors(path: Path) -> Tensors:
    """Tensors of a .safetensors or torch.save file, by the names in the file; what it is, its content says.

    Raises
    ------
    ImportProblem
        If it is damaged, cut short, empty, holds no state dict, or asks to run code.
    OSError
        If it cannot be read.
    """
    return tensors_in(_read(path), path)
