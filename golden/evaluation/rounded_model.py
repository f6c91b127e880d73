"""The float network with any choice of its roundings switched on: what each of them costs is seen apart, on whole
batches.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moesaic.golden.layers.rounding import Choice, Outcome, Place, Rounding
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import embedded
from moesaic.golden.ops_int import patch_vectors
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.saturation import Saturation

__all__ = ["EMBED", "RoundedM3ViT", "everything"]

EMBED = -1  # "block" of the patch embedding


def everything(block: int, part: str) -> float:
    """All roundings: the integer model, but for the errors of its tables."""
    return 1


class RoundedM3ViT:
    """Float arithmetic with the rounding of a quantised network where `on(block, part)` says so.

    Parameters
    ----------
    model, qmodel
        The same network, float (`golden.quantize.prepared`: with the channels it was quantised with) and
        quantised.
    on : callable of (block, part)
        `part` is one of `PARTS`; block -1 is the patch embedding ("embed.weight" and "residual").
    held : dict of int to Tensor, optional
        Experts [B * tokens, k] that tokens of a mixture go to whatever the gate says; `Outcome.experts` has the
        gate's choice all the same.
    watch : callable of (block, part, Tensor), optional
        Sees every tensor, after its rounding if there is one.
    """

    def __init__(
        self,
        model: M3ViT,
        qmodel: QuantModel,
        on: Choice,
        *,
        held: dict[int, torch.Tensor] | None = None,
        watch: Callable[[int, str, torch.Tensor], None] | None = None,
    ) -> None:
        self.model, self.qmodel = model, qmodel
        self.rounding = Rounding(on, held={} if held is None else held, watch=watch)

    def embed(self, images: np.ndarray[Any, Any]) -> torch.Tensor:
        """Residual [B, tokens, dim] before block 0, of uint8 [B, 3, H, W]."""
        model, qmodel = self.model, self.qmodel
        if qmodel.embed_norm is not None and self.rounding.on(EMBED, "embed.weight"):
            whole = np.stack([embedded(qmodel, image, Saturation()) for image in images]).astype(np.float32)
            x = torch.from_numpy(whole * np.float32(qmodel.embed_step))
        elif self.rounding.on(EMBED, "embed.weight"):
            vectors = np.stack([patch_vectors(image, model.network) for image in images]).astype(np.float32)
            x = F.linear(torch.from_numpy(vectors), *self.rounding.dequantised(qmodel.embed))
            x = x + torch.from_numpy(qmodel.position * np.float32(qmodel.embed_step))
        else:
            x = model.embed(model.normalise(torch.from_numpy(images)))
        return self.rounding.round(x, EMBED, "residual", qmodel.embed_step, -32768, 32767)

    def layer(self, x: torch.Tensor, i: int, position: int, task: int, found: Outcome) -> torch.Tensor:
        """Residual behind a layer of block `i`, from the one before it; what a router chooses goes to `found`."""
        step, quant = self.model.steps_of(i)[position], self.qmodel.blocks[i]
        gate = None
        if step.layer.routes:
            weight, bias = self.model.folded_gate(i, task)
            gate = weight.T, bias
        name = self.model.network.tasks[task]
        place = Place(norm=step.norm, block=i, task=name, gate=gate, found=found)
        out = step.layer.rounded(self.rounding, x, quant.layers[position], place)
        return self.rounding.round(x + out, i, "residual", quant.residual_step, -32768, 32767)

    def middle(self, x: torch.Tensor, i: int) -> torch.Tensor:
        """Residual before the last layer of block `i`: no layer up to there knows tasks."""
        for position in range(len(self.qmodel.blocks[i].layers) - 1):
            x = self.layer(x, i, position, 0, Outcome())
        return x

    def rest(self, x: torch.Tensor, i: int, task: int, found: Outcome) -> torch.Tensor:
        """Residual after block `i` from the one before its last layer, which is also added to `found`."""
        found.outputs.append(self.layer(x, i, len(self.qmodel.blocks[i].layers) - 1, task, found))
        return found.outputs[-1]

    @torch.no_grad()
    def run(self, images: np.ndarray[Any, Any], task: str | int) -> Outcome:
        """Forward pass of uint8 [B, 3, H, W]."""
        number, found, x = self.model.network.task_index(task), Outcome(), self.embed(images)
        for i in range(self.model.network.depth):
            x = self.rest(self.middle(x, i), i, number, found)
        return found
