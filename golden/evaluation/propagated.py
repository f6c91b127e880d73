"""What roundings of single layers cost at the end of every block behind them: what finer layers would take away."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from moesaic.golden.evaluation.rounded_model import RoundedM3ViT
from moesaic.golden.finer import NO_FINER
from moesaic.golden.layers.rounding import FINER_PARTS, Choice, Outcome
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.scales import FloatArray

__all__ = ["Propagated", "least_db"]


def least_db(noise: FloatArray) -> float:
    """SQNR of the worst block and task, decibels, from noise over power."""
    return -10 * float(np.log10(max(noise.max(), 1e-30)))


class Propagated:
    """Noise over power of the residual after each block [tasks, depth], from a network whose layers have 8 bits.

    Parameters
    ----------
    model, qmodel
        The same network, float (`quantize.prepared`) and quantised.
    images : uint8 [n, channels, H, W]
    """

    @torch.no_grad()
    def __init__(self, model: M3ViT, qmodel: QuantModel, images: np.ndarray[Any, Any]) -> None:
        self.network, self.images = model.network, images
        self._engine = RoundedM3ViT(model, qmodel, lambda block, part: 0)
        self._steps = list(model.steps())
        self._owners = [node.owner for node in self.network.layers]
        self._embedded = self._engine.embed(images)
        self._wanted = [self._run(task, self._embedded, 0) for task in range(len(self.network.tasks))]

    def _run(self, task: int, x: torch.Tensor, first: int) -> Outcome:
        found = Outcome()
        for block in range(first, self.network.depth):
            x = self._engine.rest(self._engine.middle(x, block), block, task, found)
        return found

    def _removed(self, finer: Mapping[str, str]) -> set[tuple[int, str]]:
        """Blocks and parts of which next to no rounding is left in finer layers."""
        return {
            (step.block, part)
            for step, owner in zip(self._steps, self._owners, strict=True)
            if owner in finer
            for part in FINER_PARTS[finer[owner]]
            if part in step.layer.parts
        }

    def _noise(self, on: Choice, first: int, experts: Sequence[dict[int, torch.Tensor]]) -> FloatArray:
        engine, noise = self._engine, np.zeros((len(self._wanted), self.network.depth))
        engine.rounding.on = on
        for task, wanted in enumerate(self._wanted):
            engine.rounding.held = experts[task]
            x = wanted.outputs[first - 1] if first else engine.embed(self.images)
            found = self._run(task, x, first)
            for block, a, b in zip(
                range(first, self.network.depth), wanted.outputs[first:], found.outputs, strict=True
            ):
                noise[task, block] = float((a - b).double().square().sum() / a.double().square().sum().clamp(min=1e-30))
        return noise

    @torch.no_grad()
    def of(self, finer: Mapping[str, str] = NO_FINER, *, held: bool = False) -> FloatArray:
        """With every rounding but those that finer layers (`hollow.check_finer`) do not make; `held`: if tokens went
        where float sends them, which leaves out what hangs on a few tokens.
        """
        removed, experts = self._removed(finer), [wanted.experts if held else {} for wanted in self._wanted]
        return self._noise(lambda block, part: float((block, part) not in removed), 0, experts)

    @torch.no_grad()
    def alone(self, owner: str, how: str) -> FloatArray:
        """With only those roundings that the layers of an owner's matrices would not make if they were finer; tokens go
        where float sends them.
        """
        removed = self._removed({owner: how})
        first = min((block for block, _ in removed), default=0)
        experts = [wanted.experts for wanted in self._wanted]
        return self._noise(lambda block, part: float((block, part) in removed), first, experts)
