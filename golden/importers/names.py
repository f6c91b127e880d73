"""Names in a state dict: the prefixes of wrappers, what is the backbone's, and what is a head's."""

import re
from dataclasses import dataclass
from pathlib import Path

from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.problem import ImportProblem

__all__ = ["HUGGING_FACE", "TIMM", "Split", "head_tasks", "model_name", "split"]

TIMM, HUGGING_FACE = "patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight"
# Where heads stand beside the backbone: M3ViT's, this project's, and the classifiers of timm and transformers.
_PER_TASK = ("decoders.", "heads.")
_CLASSIFIERS = ("head.", "head_dist.", "fc_norm.", "classifier.", "cls_classifier.", "distillation_classifier.")
_HEADS = (*_PER_TASK, "decoder.", *_CLASSIFIERS)


@dataclass(frozen=True)
class Split:
    """A state dict, sorted.

    Parameters
    ----------
    anchor : str
        `TIMM` or `HUGGING_FACE`: whose names the backbone has.
    prefix : str
        What stood before each of the backbone's names in the file.
    backbone, heads, rest : dict of str to Tensor
        The backbone's tensors and the heads' without prefixes, and what is neither, as it was called.
    """

    anchor: str
    prefix: str
    backbone: Tensors
    heads: Tensors
    rest: Tensors

    def in_file(self, name: str) -> str:
        """What a tensor of the backbone, or of the rest, is called in the file."""
        return name if name in self.rest else f"{self.prefix}{name}"


def split(tensors: Tensors, path: Path) -> Split:
    """Find the backbone by its patch embedding, and sort all tensors.

    Raises
    ------
    ImportProblem
        If there is no patch embedding, or more than one.
    """
    found = [
        (name, anchor)
        for name in tensors
        for anchor in (TIMM, HUGGING_FACE)
        if name == anchor or name.endswith(f".{anchor}")
    ]
    if not found:
        raise ImportProblem(
            f"weights must be a vision transformer's, not {str(path)!r}: no name ends in {TIMM} or {HUGGING_FACE}",
            {f"its {len(tensors)} tensors begin with": sorted({name.split(".")[0] for name in tensors})[:20]},
        )
    if len(found) > 1:
        raise ImportProblem(
            f"weights must be one vision transformer's, not {str(path)!r}", {"patch embeddings": [n for n, _ in found]}
        )
    name, anchor = found[0]
    prefix = name.removesuffix(anchor)
    # The heads' prefix is the backbone's without its last part: module.backbone. and module.decoders.
    outer = prefix[: prefix[:-1].rfind(".") + 1] if prefix else ""
    backbone: Tensors = {}
    heads: Tensors = {}
    rest: Tensors = {}
    for key, tensor in tensors.items():
        inside = key.removeprefix(prefix) if key.startswith(prefix) else None
        beside = key.removeprefix(outer) if key.startswith(outer) else None
        if inside is not None and not inside.startswith(_HEADS):
            backbone[inside] = tensor
        elif inside is not None:
            heads[inside] = tensor
        elif beside is not None and beside.startswith(_HEADS):
            heads[beside] = tensor
        else:
            rest[key] = tensor
    # Copies: what a file maps into memory would go with the file.
    return Split(anchor, prefix, backbone, {key: tensor.clone() for key, tensor in heads.items()}, rest)


def head_tasks(heads: Tensors) -> tuple[str, ...]:
    """Names of the tasks that have a head of their own, in the file's order."""
    return tuple(
        dict.fromkeys(name.split(".")[1] for name in heads if name.startswith(_PER_TASK) and name.count(".") >= 2)
    )


def model_name(path: Path) -> str:
    """A model's name from its file's or folder's."""
    stem = re.sub(r"(\.(pth|pt|tar|bin|safetensors|ckpt))+$", "", path.resolve().name)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") or "model"
