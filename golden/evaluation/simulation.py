"""What 8 bits reach when they are only simulated: `torch.fake_quantize` before and in every matrix product.

The yardstick of the zoo. Everything between the products (residual, norms, softmax, activations, biases) stays float,
so that it knows no fixed point but that of the operands.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moesaic.golden.evaluation.rounded_model import EMBED, RoundedM3ViT
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.norm_float import FloatNorm
from moesaic.golden.layers.rounding import Rounding
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.qmodel import QuantModel

__all__ = ["CLIPS", "Simulated", "simulated"]

CLIPS = (1.0, 0.9999, 0.999, 0.99)  # shares of magnitudes that are not clipped: the largest, percentiles
OPERANDS = ("q", "k", "v", "context", "hidden")  # tensors that a product reads, besides norms and probabilities
LEVELS = 256


def _of_blocks(block: int, part: str) -> float:
    """Everything but the patch embedding."""
    return float(block != EMBED)


@dataclass
class Seen:
    """Range of a tensor in calibration: over batches the widest of the two quantiles."""

    low: float = 0.0
    high: float = 0.0

    def add(self, x: torch.Tensor, clip: float) -> None:
        flat = x.reshape(-1)
        drop = round((1 - clip) / 2 * len(flat))
        low, high = flat.kthvalue(1 + drop).values, flat.kthvalue(len(flat) - drop).values
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))


def fake_weight(weight: torch.Tensor) -> torch.Tensor:
    """A weight [out, ...] in 255 levels for each output."""
    steps = weight.abs().flatten(1).amax(dim=1).clamp(min=1e-30) / 127
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.contiguous(), steps, zeros, 0, -127, 127)


class Simulated(Rounding):
    """Fake quantisation in place of a network's own roundings.

    Parameters
    ----------
    clip : float
        One of `CLIPS`.
    folded : bool
        Whether a norm's gain is folded into the weights behind it, or what it makes is rounded with it.
    """

    def __init__(self, clip: float, *, folded: bool) -> None:
        super().__init__(_of_blocks, held={}, watch=None)
        self.clip, self.fold = clip, folded
        self.seen: dict[tuple[int, str], Seen] = {}
        self.calibrating = True
        self._weights: dict[str, torch.Tensor] = {}

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Ranges are used, not gathered."""
        self.calibrating = False
        try:
            yield
        finally:
            self.calibrating = True

    def fake(self, x: torch.Tensor, i: int, part: str) -> torch.Tensor:
        """`x` in 256 levels, of the range that was seen."""
        seen = self.seen.setdefault((i, part), Seen())
        if self.calibrating:
            seen.add(x, self.clip)
            return x
        scale = max((seen.high - seen.low) / (LEVELS - 1), 1e-30)
        zero = min(max(round(-seen.low / scale), 0), LEVELS - 1)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, LEVELS - 1)

    def see(self, i: int, part: str, x: torch.Tensor) -> torch.Tensor:
        return self.fake(x, i, part) if part == "probs" else x

    def round(self, x: torch.Tensor, i: int, part: str, step: float, low: int, high: int) -> torch.Tensor:
        return self.fake(x, i, part) if part in OPERANDS else x

    def linear(
        self,
        x: torch.Tensor,
        quant: QuantLinear,
        parameters: tuple[torch.Tensor, torch.Tensor],
        rounded: float,
        dropped: int = 0,
    ) -> torch.Tensor:
        weight, bias = parameters
        if self.calibrating:
            return F.linear(x, weight, bias)
        if quant.name not in self._weights:
            self._weights[quant.name] = fake_weight(weight)
        return F.linear(x, self._weights[quant.name], bias)

    def norm(self, x: torch.Tensor, norm: FloatNorm, quant: QuantNorm, i: int, part: str, dropped: int) -> torch.Tensor:
        return self.fake(norm.plain(x) if self.fold else norm(x), i, part)

    def folded(self, norm: FloatNorm, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().folded(norm, weight, bias) if self.fold else (weight, bias)


@torch.no_grad()
def simulated(
    model: M3ViT,
    qmodel: QuantModel,
    seen: np.ndarray[Any, Any],
    unseen: np.ndarray[Any, Any],
    clip: float,
    *,
    folded: bool,
) -> list[torch.Tensor]:
    """Outputs [n, tokens, dim] of the last block for images `unseen`, of each task, calibrated on `seen`.

    Parameters
    ----------
    model : M3ViT
    qmodel : QuantModel
        The same network quantised, of which only names and sizes are looked at.
    seen, unseen : uint8 [n, 3, H, W]
    clip, folded
        Of `Simulated`.
    """
    rounding, tasks = Simulated(clip, folded=folded), model.network.tasks
    engine = RoundedM3ViT(copy.deepcopy(model), qmodel, rounding.on)
    engine.rounding = rounding
    for task in tasks:
        engine.run(seen, task)
    patches = engine.model.patch_embed.proj.weight
    patches.copy_(fake_weight(patches))  # pixels have 8 bits as they are
    with rounding.frozen():
        return [engine.run(unseen, task).outputs[-1] for task in tasks]
