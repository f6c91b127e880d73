"""Tensors by name against what a model needs: everything that is wrong at once, and float32 of what is right."""

from collections.abc import Callable, Mapping

import torch

from moesaic.golden.importers.files import Tensors
from moesaic.golden.importers.imported import Notes
from moesaic.golden.importers.problem import Findings
from moesaic.golden.m3vit import M3ViT, seeded
from moesaic.golden.network import Network

__all__ = ["EXPERTS", "checked_state", "shapes_of", "to_float32"]

EXPERTS = ".mlp.experts."  # in the names of what may be filled


def shapes_of(network: Network) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter of a model, by name; takes no memory."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in M3ViT(network).state_dict().items()}


def to_float32(tensors: Mapping[str, torch.Tensor], findings: Findings, *, named: Callable[[str], str]) -> Tensors:
    """Tensors as float32; what is not of float32 or wider, or not finite, is added to `findings`."""
    result: Tensors = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64):
            kind = str(tensor.dtype).removeprefix("torch.")
            findings.add("of the wrong type", named(name), f"must be floating point, not {kind}")
            continue
        # A copy always: the tensor may be a view of a mapped file, which can be gone later.
        result[name] = tensor.to(torch.float32, copy=True).contiguous()
        finite = torch.isfinite(result[name])
        if not finite.all():
            at = [int(i) for i in (~finite).nonzero()[0]] if tensor.ndim else []
            findings.add(
                "not finite", named(name), f"{int((~finite).sum())} values are NaN or infinite, the first at {at}"
            )
    return result


def checked_state(
    network: Network,
    tensors: Mapping[str, torch.Tensor],
    notes: Notes,
    *,
    source: str,
    fill: bool,
    seed: int,
    named: Callable[[str], str] = lambda name: name,
    findings: Findings | None = None,
) -> Tensors:
    """The state dict of `M3ViT(network)`, float32.

    Parameters
    ----------
    network : Network
    tensors : mapping of canonical name to Tensor
        Float32 or float64.
    notes : Notes
        Receives the names of what was drawn at random.
    source : str
        For messages.
    fill : bool
        Draw missing experts at random from `seed`; nothing else is ever filled.
    seed : int
    named : callable
        From the model's name of a tensor to the file's, for messages.
    findings : Findings, optional
        Problems that are known already, to be listed with the others.

    Raises
    ------
    ImportProblem
        Lists all that is missing, not in the model, mis-shaped, of the wrong type, or not finite.
    """
    findings, wanted = findings if findings is not None else Findings(), shapes_of(network)
    missing = [name for name in wanted if name not in tensors]
    filled = [name for name in missing if fill and EXPERTS in name]
    for name in missing:
        if name not in filled:
            findings.add("missing", named(name), str(list(wanted[name])))
    for name in tensors:
        if name not in wanted:
            findings.add("not in the model", named(name), str(list(tensors[name].shape)))
    right = {}
    for name, tensor in tensors.items():
        if name in wanted and tuple(tensor.shape) != wanted[name]:
            findings.add("of the wrong shape", named(name), f"must be {list(wanted[name])}, not {list(tensor.shape)}")
        elif name in wanted:
            right[name] = tensor
    state = to_float32(right, findings, named=named)
    text = f"weights must fit a model of {network.depth} blocks and {network.dim} channels, not {source!r}"
    if missing and not fill and all(EXPERTS in name for name in missing):
        text += " (--fill-missing draws missing experts at random)"
    findings.check(text)
    if filled:
        drawn = seeded(network, seed).state_dict()
        state |= {name: drawn[name].clone() for name in filled}
        notes.filled += filled
        notes.notes.append(f"{len(filled)} tensors of experts drawn at random, seed {seed}: results mean nothing")
    return {name: state[name] for name in wanted}
