"""What the rounding of each layer costs alone: where more bits would help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.golden import metrics
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.rounded import PARTS, Choice, Outcome, RoundedM3ViT, everything

__all__ = ["Cost", "sensitivity", "tensor_noise"]

GATE = ("norm2.gate", "gate.weight", "gate.logits")
MIXTURE = (*GATE, "expert_out", "scores16")
MLP = (*MIXTURE, "norm2", "fc1.weight", "hidden_pre", "hidden", "fc2.weight")


@dataclass(frozen=True)
class Cost:
    """What one rounding costs where all others are left out, and the block's input is float's.

    Parameters
    ----------
    block : int
    part : str
        One of `rounded.PARTS`.
    noise : float
        Power of the error over the power of the block's output, if every token goes to the experts it goes to in float.
    rerouted : float
        Fraction of tokens that go to other experts (0 in a dense block).
    """

    block: int
    part: str
    noise: float
    rerouted: float


def _only(part: str) -> Choice:
    return lambda block, name: name == part


def parts_of(moe: bool) -> list[str]:
    """What is rounded in a mixture, or in a dense block."""
    return [part for part in PARTS if moe or part not in MIXTURE]


@torch.no_grad()
def sensitivity(
    model: M3ViT, qmodel: QuantModel, images: np.ndarray[Any, Any], *, note: Callable[[str], None] = lambda text: None
) -> list[Cost]:
    """Cost of every rounding of every block, over images of all tasks.

    Parameters
    ----------
    model, qmodel
        The same network, float (`quantize.prepared`) and quantised.
    images : uint8 [n, 3, H, W]
    note : callable of str
        Told how far it is.
    """
    config, costs = model.config, []
    engine = RoundedM3ViT(model, qmodel, _only(""))
    inputs = [engine.embed(images) for _ in config.tasks]
    for i in range(config.depth):
        note(f"block {i + 1} of {config.depth}")
        engine.on, engine.held = _only(""), {}
        middles, wanted = [], []
        for task, x in enumerate(inputs):
            found = Outcome()
            middles.append(engine.middle(x, i))
            engine.rest(middles[-1], i, task, found)
            wanted.append(found)
        power = sum(float(found.outputs[0].double().square().sum()) for found in wanted)
        for part in parts_of(config.is_moe(i)):
            engine.on = _only(part)
            noise, moved = 0.0, []
            for task, (x, middle, reference) in enumerate(zip(inputs, middles, wanted, strict=True)):
                engine.held, found = reference.experts, Outcome()
                out = engine.rest(middle if part in MLP else engine.middle(x, i), i, task, found)
                noise += float((out - reference.outputs[0]).double().square().sum())
                if found.experts:
                    moved.append(1 - metrics.routing_agreement(reference.experts[i].numpy(), found.experts[i].numpy()))
            costs.append(Cost(i, part, noise / max(power, 1e-300), float(np.mean(moved)) if moved else 0.0))
        inputs = [found.outputs[0] for found in wanted]
    return costs


@torch.no_grad()
def tensor_noise(model: M3ViT, qmodel: QuantModel, images: np.ndarray[Any, Any]) -> dict[tuple[int, str], float]:
    """Noise over power of every rounded tensor, by block and part, with all roundings on; arguments as in `sensitivity`.

    Every token goes to the experts it goes to in float, so that tensors have the same rows.
    """
    power: dict[tuple[int, str], float] = {}
    noise: dict[tuple[int, str], float] = {}
    wanted: list[torch.Tensor] = []

    def keep(i: int, part: str, x: torch.Tensor) -> None:
        wanted.append(x.clone())

    def compare(i: int, part: str, x: torch.Tensor) -> None:
        reference, key = wanted.pop(0), (i, part)
        power[key] = power.get(key, 0.0) + float(reference.double().square().sum())
        noise[key] = noise.get(key, 0.0) + float((x - reference).double().square().sum())

    exact = RoundedM3ViT(model, qmodel, _only(""), watch=keep)
    rounded = RoundedM3ViT(model, qmodel, everything, watch=compare)
    for task in range(len(model.config.tasks)):
        found = Outcome()
        x, y = exact.embed(images), rounded.embed(images)
        for i in range(model.config.depth):  # side by side, so that one block's tensors are held
            x = exact.rest(exact.middle(x, i), i, task, found)
            rounded.held = found.experts
            y = rounded.rest(rounded.middle(y, i), i, task, Outcome())
    return {key: noise[key] / max(power[key], 1e-300) for key in power}
