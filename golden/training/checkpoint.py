"""A training run's state on disk: parameters, moments of the optimiser, and how far it is."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from moesaic.golden.weights import WeightError

__all__ = ["load_checkpoint", "save_checkpoint"]

MOMENTS = ("exp_avg", "exp_avg_sq")


def _named(modules: dict[str, nn.Module]) -> dict[str, nn.Parameter]:
    return {f"{prefix}{name}": p for prefix, module in modules.items() for name, p in module.named_parameters()}


def save_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, facts: dict[str, Any]
) -> None:
    """Write parameters (float32), AdamW's moments and `facts` (JSON) to one .safetensors file, whole or not at all."""
    tensors = {}
    for name, parameter in _named(modules).items():
        tensors[name] = parameter.detach()
        for moment in MOMENTS:
            tensors[f"{moment}:{name}"] = optimizer.state[parameter][moment]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial, {"facts": json.dumps(facts)})
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Continue from `path`; returns its facts, of which `step` is the number of updates done.

    Raises
    ------
    WeightError
        The file is no checkpoint, or not of this model; nothing is changed then.
    """
    with path.open("rb"):  # the reader's own error for a missing file does not name it
        pass
    parameters = _named(modules)
    wanted = {f"{kind}{name}": p.shape for name, p in parameters.items() for kind in ("", *(f"{m}:" for m in MOMENTS))}
    try:
        with safe_open(path, "pt") as file:
            there = set(file.keys())
            problems = [f"{name}: missing" for name in wanted if name not in there]
            problems += [f"{name}: not in the model" for name in sorted(there - wanted.keys())]
            for name in there & wanted.keys():
                shape = list(file.get_slice(name).get_shape())
                if shape != list(wanted[name]):
                    problems.append(f"{name}: shape must be {list(wanted[name])}, not {shape}")
            if problems:
                raise WeightError(str(path), problems)
            facts = json.loads((file.metadata() or {})["facts"])
            tensors = {name: file.get_tensor(name) for name in there}
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise WeightError(str(path), [f"no checkpoint of a training: {error}"]) from error
    for name, parameter in parameters.items():
        parameter.data.copy_(tensors[name])
        optimizer.state[parameter] = {
            "step": torch.tensor(float(facts["step"])),
            **{m: tensors[f"{m}:{name}"] for m in MOMENTS},
        }
    return facts
