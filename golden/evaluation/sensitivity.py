"""What the rounding of each layer costs alone: where more bits would help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.golden.evaluation import metrics
from moesaic.golden.evaluation.rounded_model import RoundedM3ViT, everything
from moesaic.golden.layers.rounding import PARTS, Choice, Outcome
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network
from moesaic.golden.qmodel import QuantModel

__all__ = ["Cost", "sensitivity", "tensor_noise"]


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


def _apart(network: Network, block: int, residuals: list[torch.Tensor]) -> list[torch.Tensor]:
    """One residual for each task; a single one where no gate has told tasks apart yet, nor does this block."""
    same = all(x is residuals[0] for x in residuals)
    return residuals[:1] if same and block not in network.mixtures else residuals


def _of_all(network: Network, residuals: list[torch.Tensor]) -> list[torch.Tensor]:
    """One residual for each task again."""
    return residuals * (len(network.tasks) // len(residuals))


def _middles(engine: RoundedM3ViT, residuals: list[torch.Tensor], block: int) -> list[torch.Tensor]:
    """`engine.middle` of each; it knows no tasks."""
    first = engine.middle(residuals[0], block)
    return [first if x is residuals[0] else engine.middle(x, block) for x in residuals]


def parts_of(model: M3ViT, block: int) -> list[str]:
    """What is rounded in a block, in the order of the data."""
    known = {part for step in model.steps_of(block) for part in step.layer.parts} | {"residual"}
    return [part for part in PARTS if part in known]


def _parts_before_last(model: M3ViT, block: int) -> set[str]:
    return {part for step in model.steps_of(block)[:-1] for part in (*step.layer.parts, "residual")}


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
    network, costs = model.network, []
    engine = RoundedM3ViT(model, qmodel, _only(""))
    inputs = [engine.embed(images)] * len(network.tasks)
    for i in range(network.depth):
        note(f"block {i + 1} of {network.depth}")
        engine.rounding.on, engine.rounding.held = _only(""), {}
        inputs = _apart(network, i, inputs)
        middles, wanted = _middles(engine, inputs, i), [Outcome() for _ in inputs]
        for task, (middle, found) in enumerate(zip(middles, wanted, strict=True)):
            engine.rest(middle, i, task, found)
        power = sum(float(found.outputs[0].double().square().sum()) for found in wanted)
        early = _parts_before_last(model, i)
        for part in parts_of(model, i):
            engine.rounding.on = _only(part)
            noise, moved = 0.0, []
            rounded = _middles(engine, inputs, i) if part in early else middles
            for task, (middle, reference) in enumerate(zip(rounded, wanted, strict=True)):
                engine.rounding.held, found = reference.experts, Outcome()
                out = engine.rest(middle, i, task, found)
                noise += float((out - reference.outputs[0]).double().square().sum())
                if found.experts:
                    moved.append(1 - metrics.routing_agreement(reference.experts[i].numpy(), found.experts[i].numpy()))
            costs.append(Cost(i, part, noise / max(power, 1e-300), float(np.mean(moved)) if moved else 0.0))
        inputs = _of_all(network, [found.outputs[0] for found in wanted])
    return costs


@torch.no_grad()
def tensor_noise(model: M3ViT, qmodel: QuantModel, images: np.ndarray[Any, Any]) -> dict[tuple[int, str], float]:
    """Noise over power of every rounded tensor, by block and part, with all roundings on; arguments as in
    `sensitivity`.

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
    network = model.network
    plain, other = [exact.embed(images)] * len(network.tasks), [rounded.embed(images)] * len(network.tasks)
    for i in range(network.depth):  # side by side, so that one block's tensors are held
        plain, other = _apart(network, i, plain), _apart(network, i, other)
        for task, (x, y) in enumerate(zip(plain, other, strict=True)):
            found = Outcome()
            plain[task] = exact.rest(exact.middle(x, i), i, task, found)
            rounded.rounding.held = found.experts
            other[task] = rounded.rest(rounded.middle(y, i), i, task, Outcome())
        plain, other = _of_all(network, plain), _of_all(network, other)
    return {key: noise[key] / max(power[key], 1e-300) for key in power}
