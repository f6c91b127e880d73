"""Training's forward pass: all tasks of a batch at once, tokens sorted by expert; the same function as `M3ViT`."""

from dataclasses import dataclass, field

import torch

from moesaic.golden.gate import Routing, joined
from moesaic.golden.layers.norm_float import FloatNorm
from moesaic.golden.m3vit import M3ViT

__all__ = ["Pass", "forward_together"]


@dataclass
class Pass:
    """What a forward pass leaves behind.

    Parameters
    ----------
    tokens : Tensor, [tasks * B, N, dim]
        Output of the last block, first all images for the first task.
    routings : list of list of Routing
        For each mixture block, one for each task.
    normed : list of Tensor, [n, N, dim]
        Inputs of every attention and MLP before the norms' gains, of the first images of each task.
    """

    tokens: torch.Tensor
    routings: list[list[Routing]] = field(default_factory=list)
    normed: list[torch.Tensor] = field(default_factory=list)


def forward_together(
    model: M3ViT, images: torch.Tensor, *, noise: float = 0.0, generator: torch.Generator | None = None, watch: int = 0
) -> Pass:
    """Run every task of `model` on images [B, 3, H, W].

    What comes before the first gate is computed once for all tasks.

    Parameters
    ----------
    noise : float
        Deviation of Gaussian noise on the gates' logits when experts are chosen; the scores are those of the noisy
        logits, the recorded logits have none.
    generator : torch.Generator, optional
        Of the noise.
    watch : int
        Images of each task whose normalised tokens are kept.
    """
    tasks, B = len(model.network.tasks), len(images)
    x = model.embed(model.normalise(images)).float()
    result = Pass(x)

    def norm(layer: FloatNorm) -> torch.Tensor:
        plain = layer.plain(x)
        if watch:
            result.normed.append(torch.cat([plain[first : first + watch] for first in range(0, len(plain), B)]))
        return plain * layer.weight + layer.bias

    for step in model.steps():
        y = norm(step.norm)
        if not step.layer.routes:
            x = x + step.layer.batched(y).float()
            continue
        if len(y) == B and tasks > 1:  # here the tasks part
            x, y = x.repeat(tasks, 1, 1), y.repeat(tasks, 1, 1)
        routings = []
        for task, part in enumerate(y.split(B)):
            weight, bias = model.folded_gate(step.block, task)
            with torch.autocast("cpu", enabled=False):
                logits = part.flatten(0, 1) @ weight + bias
            ranked = logits
            if noise:
                ranked = logits + noise * torch.randn(logits.shape, generator=generator)
            scores, index = step.layer.choose(ranked)
            routings.append(Routing(logits=logits, scores=scores, index=index))
        result.routings.append(routings)
        x = x + step.layer.batched(y, joined(routings)).float()
    result.tokens = x if len(x) == tasks * B else x.repeat(tasks, 1, 1)
    return result
