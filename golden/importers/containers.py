"""Where in a file tensors lie by name: at its top, or under the keys that a training run keeps them under."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from moesaic.golden.importers.files import Tensors, read_file
from moesaic.golden.importers.problem import ImportProblem

__all__ = ["WRAPPERS", "Held", "held_in", "read_held", "unwrapped"]

# What modules that wrap others put into names, at any depth: DDP and averaged models, torch.compile, FSDP, activation
# checkpointing, Lightning Fabric.
WRAPPERS = frozenset(
    {
        "module",
        "_orig_mod",
        "_fsdp_wrapped_module",
        "_fpw_module",
        "_checkpoint_wrapped_module",
        "_forward_module",
    }
)


def unwrapped(name: str) -> str:
    """A tensor's name without what wrappers have put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


@dataclass(frozen=True)
class Held:
    """A mapping with tensors, somewhere in a file.

    Parameters
    ----------
    where : tuple of str
        Keys that lead to it; none for the top.
    tensors : dict of str to Tensor
        Without the names that wrappers put into theirs.
    written : mapping of str to str
        For each name that of the file.
    others : tuple of str
        What lies beside the tensors and is none: name and type.
    """

    where: tuple[str, ...]
    tensors: Tensors
    written: Mapping[str, str]
    others: tuple[str, ...] = ()


def _mappings(data: Any) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every mapping in the mappings of `data`, once, with the keys that lead to it; outer ones first."""
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), data)])
    seen = set[int]()  # a file may hold one twice, or within itself
    while waiting:
        where, held = waiting.popleft()
        if not isinstance(held, Mapping) or id(held) in seen:
            continue
        seen.add(id(held))
        yield where, held
        waiting += [((*where, str(key)), value) for key, value in held.items() if isinstance(value, Mapping)]


def held_in(data: Any, path: Path) -> list[Held]:
    """Every mapping in what a file held that has tensors, outer ones first.

    Raises
    ------
    ImportProblem
        If there is none.
    """
    found = []
    for where, mapping in _mappings(data):
        tensors: Tensors = {}
        written: dict[str, str] = {}
        others = []
        for key, value in mapping.items():
            if isinstance(value, torch.Tensor):
                name = unwrapped(str(key))
                name = str(key) if name in tensors else name  # two of one name: the second is no model's, and is named
                tensors[name], written[name] = value, str(key)
            else:
                others.append(f"{key} ({type(value).__name__})")
        if tensors:
            found.append(Held(where, tensors, written, tuple(others)))
    if not found:
        held = ", ".join(map(str, list(data)[:8])) if isinstance(data, Mapping) else type(data).__name__
        raise ImportProblem(f"weights must be tensors by name, not {str(path)!r}, which holds: {held}")
    return found


def read_held(path: Path) -> list[Held]:
    """Every mapping of a .safetensors or torch.save file that has tensors, outer ones first.

    Raises
    ------
    ImportProblem
        If it is damaged, cut short, empty, holds no tensors by name, or asks to run code.
    OSError
        If it cannot be read.
    """
    return held_in(read_file(path), path)
