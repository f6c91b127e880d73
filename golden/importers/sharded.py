"""Weights in several files, as `save_pretrained` cuts large ones: an index says which tensor lies in which."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from moesaic.golden.importers.containers import Held, held_in
from moesaic.golden.importers.files import read_file
from moesaic.golden.importers.problem import Findings, ImportProblem
from moesaic.json_file import read_json

__all__ = ["INDEX", "check_alone", "read_sharded", "shards_in"]

INDEX = ".index.json"
_SHARD = re.compile(r".+-(\d+)-of-(\d+)\.\w+")
_MOST = 16 << 20  # bytes of an index: a hundred thousand tensors


def shards_in(folder: Path) -> list[str]:
    """Names of the files in a folder that are called one of several."""
    return sorted(path.name for path in folder.iterdir() if (m := _SHARD.fullmatch(path.name)) and int(m.group(2)) > 1)


def check_alone(path: Path) -> None:
    """That a file is no shard: not called one, nor named by an index beside it that names others too.

    Raises
    ------
    ImportProblem
        If it is one.
    """
    match = _SHARD.fullmatch(path.name)
    if match and int(match.group(2)) > 1:
        raise ImportProblem(
            f"weights must be whole, not shard {int(match.group(1))} of {int(match.group(2))} ({str(path)!r}): give "
            f"the folder that holds all of them and their {INDEX}"
        )
    for index in sorted(path.parent.glob(f"*{INDEX}")):
        files = set(_weight_map(index).values())
        if path.name in files and len(files) > 1:
            raise ImportProblem(
                f"weights must be whole, not one of the {len(files)} shards of {index.name} ({str(path)!r}): give the "
                f"folder"
            )


def _weight_map(index: Path) -> dict[str, str]:
    """File of each tensor, by an index; files lie beside it."""
    data = read_json(index, most=_MOST, what="index of shards", error=ImportProblem)
    found = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(found, dict) or not found or not all(_is_name(file) for file in found.values()):
        raise ImportProblem(
            f"index of shards must have a weight_map from tensors to files beside it, not {str(index)!r}"
        )
    return found


def _is_name(file: Any) -> bool:
    return isinstance(file, str) and file not in ("", ".", "..") and not re.search(r"[/\\\0]", file)


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    data = read_file(path)
    held = data.items() if isinstance(data, dict) else ()
    yield from ((str(key), value) for key, value in held if isinstance(value, torch.Tensor))


def read_sharded(index: Path) -> list[Held]:
    """All tensors of the files that an index names.

    Raises
    ------
    ImportProblem
        If the index is none, or lists what is not there: every missing file, and every tensor that is missing from
        its file or is in one without being listed.
    """
    places, findings = _weight_map(index), Findings()
    files = sorted(set(places.values()))
    for file in files:
        if not (index.parent / file).is_file():
            findings.add("missing", file)
    what = f"shards must be those of {index.name}, all of them, not those in {str(index.parent)!r}"
    findings.check(what)
    tensors = {}
    for file in files:
        for name, tensor in _tensors(index.parent / file):
            if places.get(name) == file:
                tensors[name] = tensor
            else:
                findings.add("not in the index", f"{name} (in {file})")
    for name, file in places.items():
        if name not in tensors:
            findings.add("missing", f"{name} (in {file})")
    findings.check(what)
    return held_in(tensors, index)
