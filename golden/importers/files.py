"""What .pth and .safetensors files hold, never running code that lies in them."""

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError
from safetensors.torch import load_file

from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.trained_with import trained_with

__all__ = ["Tensors", "read_file"]

Tensors = dict[str, torch.Tensor]

_LFS = b"version https://git-lfs"
# Best scores are saved beside the weights as NumPy scalars, under the module's old name before NumPy 2; what was typed
# to train them as a Namespace, which is a mapping of names to such values and no more.
_HARMLESS: list[Any] = [
    (multiarray.scalar, name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]
_HARMLESS += [np.dtype, *(type(np.dtype(code)) for code in ("f2", "f4", "f8", "i4", "i8", "?")), argparse.Namespace]

_ASKS = re.compile(
    r"GLOBAL (\S+) was not an allowed|unrecognized function|unsupported class|Can only build|blocked by default"
)


def _refused(path: Path, why: str) -> ImportProblem:
    return ImportProblem(f"weights must be a whole .pth or .safetensors file, not {str(path)!r} ({why})")


def _check_archive(path: Path) -> None:
    """That a whole zip archive is one of torch.save; one that is cut short has no list of its members."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, OSError, struct.error):
        return  # damaged: torch says what is wrong
    if "constants.pkl" in members:
        raise _refused(path, "a TorchScript archive: save the scripted module's state_dict() in its place")
    if "data.pkl" not in members:
        raise _refused(path, "a zip archive that torch.save did not write")


def _check_own(path: Path) -> None:
    """That a file is not one of `moesaic train` whose network its tensors do not tell."""
    if trained_with(path).suffix:
        raise ImportProblem(
            f"weights that were trained with options must be given with --weights beside the model that they are of, "
            f"not as a model of their own: {str(path)!r}"
        )


def _load_pickle(path: Path, *, zipped: bool) -> Any:
    """A torch.save file through torch's restricted unpickler; large ones are mapped, not read."""
    with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's guesses at damage: the error says it
        try:
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
        except Exception as error:  # what bytes at random make an unpickler raise is not to be foreseen
            why = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise _refused(path, f"damaged or cut short: {why}") from error


def read_file(path: Path) -> Any:
    """What a .safetensors or torch.save file holds, tensors by name or anything else; what it is, its content says.

    Raises
    ------
    ImportProblem
        If it is damaged, cut short, empty, of another format, or asks to run code.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise _refused(path, "it is empty")
    if head.startswith(_LFS):
        raise _refused(path, "a Git LFS pointer: fetch the file itself with git lfs pull")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        _check_own(path)
        try:
            return load_file(path)
        except SafetensorError as error:
            raise _refused(path, f"damaged or cut short: {error}") from error
    if head[:2] != b"PK" and head[:1] != b"\x80":
        raise _refused(path, "neither a zip archive, nor a pickle, nor safetensors")
    zipped = head[:2] == b"PK"
    if zipped:
        _check_archive(path)
    return _load_pickle(path, zipped=zipped)
