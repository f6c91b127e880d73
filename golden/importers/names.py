"""Names in a state dict: the prefixes of wrappers, what is the backbone's, and what is a head's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from moesaic.golden.importers.choice import WeightSet
from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.imported import Notes
from moesaic.golden.importers.problem import folded
from moesaic.golden.importers.wide import for_host, wide
from moesaic.names import name_after

__all__ = ["Split", "head_tasks", "model_name", "split"]

# Where heads stand beside the backbone: M3ViT's, this project's, and the classifiers of timm and transformers.
_PER_TASK = ("decoders.", "heads.")
_CLASSIFIERS = ("head.", "head_dist.", "fc_norm.", "classifier.", "cls_classifier.", "distillation_classifier.")
_HEADS = (*_PER_TASK, "decoder.", *_CLASSIFIERS)


_IN_BLOCK = re.compile(r"(blocks|layers?)\.\d+\.")


@dataclass(frozen=True)
class Split:
    """A state dict, sorted; whatever types the file has, its tensors have float32 or wider ones.

    Parameters
    ----------
    anchor : str
        `TIMM` or `HUGGING_FACE`: whose names the backbone has.
    prefix : str
        What stood before each of the backbone's names in the file.
    backbone, heads, rest : dict of str to Tensor
        The backbone's tensors and the heads' without prefixes, and what is neither, as it was called.
    written : mapping of str to str
        What a tensor of the backbone, or of the rest, is called in the file.
    """

    anchor: str
    prefix: str
    backbone: Tensors
    heads: Tensors
    rest: Tensors
    written: Mapping[str, str]

    def in_file(self, name: str) -> str:
        """What a tensor of the backbone, or of the rest, is called in the file, or would be."""
        return self.written.get(name, f"{self.prefix}{name}")


def split(taken: WeightSet, others: Sequence[WeightSet], notes: Notes) -> Split:
    """Sort the tensors around a set of weights, without those of other sets and what training has left behind.

    Parameters
    ----------
    taken : WeightSet
    others : sequence of WeightSet
        Other sets of the file.
    notes : Notes
        Receives what is left out, and conversions.
    """
    prefix, held = taken.prefix, taken.held
    roots = [(taken.root(other), other.root(taken)) for other in others if other.held is held]
    # The heads' prefix is the backbone's without its last part: backbone. and decoders.
    outer = prefix[: prefix[:-1].rfind(".") + 1] if prefix else ""
    backbone: Tensors = {}
    heads: Tensors = {}
    rest: Tensors = {}
    written: dict[str, str] = {}
    left = [f"{name}, no tensor" for name in held.others]
    for key, tensor in held.tensors.items():
        if any(_fits(key, theirs) > _fits(key, ours) for ours, theirs in roots):
            continue
        inside = key.removeprefix(prefix) if key.startswith(prefix) else None
        beside = key.removeprefix(outer) if key.startswith(outer) else None
        if key.endswith("_extra_state") or (tensor.ndim == 0 and not _IN_BLOCK.search(key)):
            left.append(held.written[key])
        elif inside is not None and not inside.startswith(_HEADS):
            backbone[inside], written[inside] = tensor, held.written[key]
        elif inside is not None:
            heads[inside] = tensor
        elif beside is not None and beside.startswith(_HEADS):
            heads[beside] = tensor
        else:
            rest[key], written[key] = tensor, held.written[key]
    if left:
        notes.notes.append(f"left out, as inference does not use it: {', '.join(folded(left))}")
    _say_conversions(backbone, notes)
    return Split(
        taken.anchor,
        _written_prefix(taken),
        {name: wide(tensor) for name, tensor in backbone.items()},
        {name: for_host(tensor) for name, tensor in heads.items()},
        {name: wide(tensor) for name, tensor in rest.items()},
        written,
    )


def _fits(key: str, root: str) -> int:
    """How much of a name a root is; -1 if it does not begin with it."""
    return len(root) if key.startswith(root) else -1


def _written_prefix(taken: WeightSet) -> str:
    """The prefix of a set with what wrappers have put into it."""
    parts = taken.held.written[taken.prefix + taken.anchor].split(".")
    first = taken.anchor.partition(".")[0]
    return "".join(f"{part}." for part in parts[: len(parts) - 1 - parts[::-1].index(first)])


def _say_conversions(tensors: Tensors, notes: Notes) -> None:
    types = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    for kind in dict.fromkeys(types):
        if kind is not torch.float32:
            name = str(kind).removeprefix("torch.")
            notes.notes.append(f"{types.count(kind)} tensors converted from {name} to float32")


def head_tasks(heads: Tensors) -> tuple[str, ...]:
    """Names of the tasks that have a head of their own, in the file's order."""
    return tuple(
        dict.fromkeys(name.split(".")[1] for name in heads if name.startswith(_PER_TASK) and name.count(".") >= 2)
    )


def model_name(path: Path) -> str:
    """A model's name from its file's or folder's."""
    stem = re.sub(r"(\.(pth|pt|tar|bin|safetensors|ckpt))+$", "", path.resolve().name)
    return name_after(stem, "model")
