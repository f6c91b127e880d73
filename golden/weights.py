"""Weights of the shipped models: trained if the package has them, else seeded."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from moesaic.errors import InputError
from moesaic.golden.config import preset
from moesaic.golden.heads import Heads, build_heads
from moesaic.golden.m3vit import M3ViT, build
from moesaic.golden.shipped import shipped_weights
from moesaic.golden.trained_with import trained_with

__all__ = ["WeightError", "check_tensors", "load", "load_tensors", "read_file"]

HEADS = "heads."  # what the heads' tensors are called in a file, before their own names


class WeightError(InputError):
    """Weights that do not fit a model.

    Parameters
    ----------
    source : str
        Where the weights come from.
    problems : list of str
        One for each tensor that is missing, extra, of the wrong shape or type, or not finite.
    """

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source, self.problems = source, problems
        super().__init__("\n  ".join([f"weights must fit the model, not {source!r}:", *problems]))


def check_tensors(
    wanted: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], prefix: str = ""
) -> list[str]:
    """What is wrong with `tensors` where `wanted` are needed, a line each; names are printed behind `prefix`."""
    problems = []
    for name, parameter in wanted.items():
        if name not in tensors:
            problems.append(f"{prefix}{name}: missing")
            continue
        tensor = tensors[name]
        if tensor.shape != parameter.shape:
            problems.append(f"{prefix}{name}: shape must be {list(parameter.shape)}, not {list(tensor.shape)}")
        elif not tensor.is_floating_point():
            problems.append(f"{prefix}{name}: type must be floating point, not {tensor.dtype}")
        else:
            finite = torch.isfinite(tensor)
            if not finite.all():
                at = [int(i) for i in (~finite).nonzero()[0]]
                problems.append(f"{prefix}{name}: {int((~finite).sum())} values are NaN or infinite, the first at {at}")
    return problems + [f"{prefix}{name}: not in the model" for name in tensors if name not in wanted]


def load_tensors(model: M3ViT, heads: Heads | None, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Copy `tensors` into a model, and those named `heads.*` into its heads (ignored if `heads` is None).

    Raises
    ------
    WeightError
        Lists every missing, extra, mis-shaped or non-finite tensor; the model is then unchanged.
    """
    backbone = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
    rest = {name.removeprefix(HEADS): tensor for name, tensor in tensors.items() if name.startswith(HEADS)}
    problems = check_tensors(model.state_dict(), backbone)
    if heads is not None:
        problems += check_tensors(heads.state_dict(), rest, HEADS)
    if problems:
        raise WeightError(source, problems)
    model.load_state_dict(backbone)
    if heads is not None:
        heads.load_state_dict(rest)


def read_file(path: str | Path) -> dict[str, torch.Tensor]:
    """Tensors of a .safetensors file; `WeightError` if it is none, `OSError` if it cannot be read."""
    path = Path(path)
    with path.open("rb"):  # the reader's own error for a missing file does not name it
        pass
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightError(str(path), [f"not a .safetensors file: {error}"]) from error


def load(
    config_name: str, seed: int = 0, path: str | Path | None = None, *, trained: bool = True
) -> tuple[M3ViT, Heads, Literal["trained", "seeded"]]:
    """A preset's model and heads, in inference mode, and where their weights come from.

    Parameters
    ----------
    config_name : str
        Name of a preset.
    seed : int
        For seeded weights; trained ones do not depend on it.
    path : path, optional
        A .safetensors file to use in place of the shipped one; the network is the one that it was trained as
        (`golden.trained_with`).
    trained : bool
        Whether to use the shipped ones at all: seeded weights spread tokens over all experts, trained ones need not.
    """
    config = preset(config_name)
    if path is not None:
        config = trained_with(path, config.name).network(config)
    model, heads = build(config, seed), build_heads(config, seed)
    if path is not None:
        load_tensors(model, heads, read_file(path), str(path))
        return model, heads, "trained"
    resource = shipped_weights(config.name) if trained else None
    if resource is None:
        return model, heads, "seeded"
    with importlib.resources.as_file(resource) as file:
        load_tensors(model, heads, read_file(file), str(file))
    return model, heads, "trained"
