"""Which weights are taken where a file holds several sets of them: trained, averaged, a teacher's and a student's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from moesaic.golden.importers.containers import Held
from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.imported import Notes
from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.importers.wide import wide

__all__ = ["ANCHORS", "HUGGING_FACE", "TIMM", "WeightSet", "check_stored", "choose"]

TIMM, HUGGING_FACE = "patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight"
ANCHORS = (TIMM, HUGGING_FACE)  # tensors that every set has one of
# Averaged weights and teachers are what papers evaluate, and what timm and DINO load unless told otherwise.
_FIRST = re.compile(r"ema|averaged?|swa|teacher", re.IGNORECASE)
_LAST = re.compile(r"student|momentum|target", re.IGNORECASE)
_BACKBONE = re.compile(r"(patch_embed|embeddings|blocks|layers|encoder\.layer)\.|pos_embed|cls_token")
_FLAT = ("_flat_param", "flat_param")  # FSDP's own form: many parameters in one


@dataclass(frozen=True)
class WeightSet:
    """A vision transformer's weights in a file.

    Parameters
    ----------
    held : Held
        The mapping they lie in.
    prefix : str
        What stands before each of the backbone's names in it.
    anchor : str
        `TIMM` or `HUGGING_FACE`: whose names the backbone has.
    """

    held: Held
    prefix: str
    anchor: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Keys that lead to the set, then the parts of its prefix."""
        return (*self.held.where, *self.prefix.split(".")[:-1])

    @property
    def label(self) -> str:
        """What the set is called in messages, and with --state-dict."""
        return ".".join(self.parts) or "the top"

    @property
    def rank(self) -> int:
        """Order of preference, the lowest first."""
        words = [word for part in self.parts for word in part.split("_")]
        if any(_FIRST.fullmatch(word) for word in words):
            return 0
        return 2 if any(_LAST.fullmatch(word) for word in words) else 1

    def backbone(self) -> Tensors:
        """The backbone's tensors, without the prefix."""
        inside = {
            name.removeprefix(self.prefix): tensor
            for name, tensor in self.held.tensors.items()
            if name.startswith(self.prefix)
        }
        return {name: tensor for name, tensor in inside.items() if _BACKBONE.match(name)}

    def like(self, other: "WeightSet") -> bool:
        """Whether both are weights of one architecture."""
        mine, theirs = self.backbone(), other.backbone()
        return mine.keys() == theirs.keys() and all(mine[name].shape == theirs[name].shape for name in mine)

    def same(self, other: "WeightSet") -> bool:
        """Whether both are the same numbers."""
        theirs = other.backbone()
        return self.like(other) and all(
            torch.equal(wide(tensor), wide(theirs[name])) for name, tensor in self.backbone().items()
        )

    def root(self, other: "WeightSet") -> str:
        """What all names of this set begin with, and none of another set's of the same mapping."""
        mine, theirs = self.prefix.split(".")[:-1], other.prefix.split(".")[:-1]
        common = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), len(theirs))
        return "".join(f"{part}." for part in mine[: common + 1])


def _sets_in(held: Sequence[Held]) -> list[WeightSet]:
    return [
        WeightSet(one, name.removesuffix(anchor), anchor)
        for one in held
        for name in one.tensors
        for anchor in ANCHORS
        if name == anchor or name.endswith(f".{anchor}")
    ]


def check_stored(tensors: Tensors, path: Path) -> None:
    """That every tensor is dense, in memory, and has no more values than its file: a view of one may claim any size.

    Raises
    ------
    ImportProblem
        Lists those that are not.
    """
    strange: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "quantised" if tensor.is_quantized else "meta" if tensor.is_meta else str(tensor.layout)
            strange.setdefault("not dense", []).append(f"{name}: {kind.removeprefix('torch.')}")
        elif tensor.nbytes > (stored := tensor.untyped_storage().nbytes()):
            strange.setdefault("expanded", []).append(f"{name}: {list(tensor.shape)} of {stored} bytes")
    if strange:
        raise ImportProblem(f"weights must be dense tensors by name, value by value, not {str(path)!r}", strange)


def _asked_for(sets: Sequence[WeightSet], wanted: str, path: Path) -> WeightSet:
    parts = tuple(wanted.split("."))
    exact = [one for one in sets if one.label == wanted]
    found = exact or [one for one in sets if any(one.parts[i : i + len(parts)] == parts for i in range(len(one.parts)))]
    if len(found) != 1:
        raise ImportProblem(
            f"state-dict must name one set of weights in {str(path)!r}, not {wanted!r}",
            {"it holds": [one.label for one in sets]},
        )
    return found[0]


def choose(held: Sequence[Held], path: Path, wanted: str | None, notes: Notes) -> tuple[WeightSet, list[WeightSet]]:
    """The set of weights that is taken, and the others; of several it is said which.

    Parameters
    ----------
    held : sequence of Held
        All of a file's tensors.
    path : Path
        For messages.
    wanted : str or None
        The label of a set, or parts of it; None takes averaged weights or a teacher's before others, a student's last.
    notes : Notes
        Receives which was taken.

    Raises
    ------
    ImportProblem
        If there is no set, `wanted` is none, or nothing tells several apart.
    """
    sets = _sets_in(held)
    if not sets:
        names = max((one.tensors for one in held), key=len)
        flat = [name for name in names if name.rpartition(".")[2].startswith(_FLAT)]
        if flat:
            raise ImportProblem(
                f"weights must be a tensor for each parameter, not FSDP's flat ones ({flat[0]} in {str(path)!r}): "
                f"save with StateDictType.FULL_STATE_DICT"
            )
        raise ImportProblem(
            f"weights must be a vision transformer's, not {str(path)!r}: no name ends in {' or '.join(ANCHORS)}",
            {f"its {len(names)} tensors begin with": sorted({name.split(".")[0] for name in names})[:20]},
        )
    for tensors in {id(one.held): one.held.tensors for one in sets}.values():
        check_stored(tensors, path)
    if wanted is not None:
        taken = _asked_for(sets, wanted, path)
    else:
        taken = min(sets, key=lambda one: one.rank)
        rivals = [one for one in sets if one is not taken and (one.rank == taken.rank or not one.like(taken))]
        if any(not one.same(taken) for one in rivals):
            raise ImportProblem(
                f"weights must be one vision transformer's, not {str(path)!r} (--state-dict takes one of them)",
                {"sets": [one.label for one in sets]},
            )
    others = [one for one in sets if one is not taken]
    if others:
        labels = ", ".join(one.label for one in others)
        notes.notes.append(f"weights of {taken.label} taken, not those of {labels} (--state-dict)")
    elif taken.rank != 1:
        notes.notes.append(f"weights of {taken.label}, the only ones in the file")
    return taken, others
