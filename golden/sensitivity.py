"""What the rounding of each layer costs alone: where more bits would help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.golden import metrics
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.rounded import PARTS, Choice, Outcome, RoundedM3ViT

__all__ = ["Cost", "sensitivity"]

GATE = ("norm2.gate", "gate.weight", "gate.logits")


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


def _exists(part: str, moe: bool) -> bool:
    return moe or not (part in GATE or part in ("expert_out", "scores16"))


def _only(part: str) -> Choice:
    return lambda block, name: name == part


@torch.no_grad()
def sensitivity(
    model: M3ViT, qmodel: QuantModel, images: np.ndarray[Any, Any], *, note: Callable[[str], None] = lambda text: None
) -> list[Cost]:
    """Cost of every rounding of every block, over images of all tasks.

    Parameters
    ----------
    model, qmodel
        The same network, float and quantised.
    images : uint8 [n, 3, H, W]
    note : callable of str
        Told how far it is.
    """
    config = model.config
    exact = RoundedM3ViT(model, qmodel, _only(""))
    rounded = RoundedM3ViT(model, qmodel, _only(""))
    inputs = [exact.embed(images) for _ in config.tasks]
    costs = []
    for i in range(config.depth):
        note(f"block {i + 1} of {config.depth}")
        wanted = []
        for task, x in enumerate(inputs):
            found = Outcome()
            exact.block(x, i, task, found)
            wanted.append(found)
        power = sum(float(found.outputs[0].double().square().sum()) for found in wanted)
        for part in PARTS:
            if not _exists(part, config.is_moe(i)):
                continue
            noise, moved = 0.0, []
            for task, (x, reference) in enumerate(zip(inputs, wanted, strict=True)):
                rounded.on, rounded.held, found = _only(part), reference.experts, Outcome()
                out = rounded.block(x, i, task, found)
                noise += float((out - reference.outputs[0]).double().square().sum())
                if found.experts:
                    moved.append(1 - metrics.routing_agreement(reference.experts[i].numpy(), found.experts[i].numpy()))
            costs.append(Cost(i, part, noise / max(power, 1e-300), float(np.mean(moved)) if moved else 0.0))
        inputs = [found.outputs[0] for found in wanted]
    return costs
