"""Integer model against float model, block by block."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from moesaic.golden.calibrate import inference
from moesaic.golden.evaluation import metrics
from moesaic.golden.gate import Routing
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.saturation import Saturation
from moesaic.golden.threads import one_thread
from moesaic.golden.trace import Trace

__all__ = ["CHOICES", "Agreement", "agreement"]

CHOICES = ("gate.index",)  # of a trace: all that `Agreement.add` looks at


class Agreement:
    """How near the integers come, over images of one task that are added one by one.

    Parameters
    ----------
    qmodel : QuantModel
    blocks : int, optional
        Only the first so many.
    """

    def __init__(self, qmodel: QuantModel, blocks: int | None = None) -> None:
        self.qmodel, network = qmodel, qmodel.network
        self.blocks = network.depth if blocks is None else min(blocks, network.depth)
        self.distances = [metrics.Distance() for _ in range(self.blocks)]
        self.alike: dict[int, list[float]] = {i: [] for i in network.mixtures if i < self.blocks}

    def add(
        self,
        outputs: Sequence[torch.Tensor],
        routings: Sequence[Routing],
        residuals: Sequence[np.ndarray[Any, Any]],
        trace: Trace,
    ) -> None:
        """Count one image.

        Parameters
        ----------
        outputs : sequence of Tensor [tokens, dim]
            Float, of each block.
        routings : sequence of Routing
            Float, of each mixture of the model.
        residuals : sequence of [tokens, dim]
            Of `IntM3ViT.run`.
        trace : Trace
            Of that run, with (at least) `CHOICES`.
        """
        for i, distance in enumerate(self.distances):
            step = np.float64(self.qmodel.blocks[i].residual_step)
            distance.add(outputs[i].numpy(), residuals[i] * step)
        for (i, alike), routing in zip(self.alike.items(), routings, strict=False):
            mixture = self.qmodel.blocks[i].layers[-1].name
            alike.append(metrics.routing_agreement(routing.index.numpy(), trace[f"{mixture}.gate.index"]))

    def rows(self) -> list[dict[str, Any]]:
        """What `agreement` returns."""
        return [
            {
                "name": self.qmodel.blocks[i].name,
                "kind": "moe" if i in self.alike else "dense",
                "sqnr_db": distance.sqnr_db,
                "cosine": distance.cosine,
                "routing_agreement": float(np.mean(self.alike[i])) if i in self.alike else None,
            }
            for i, distance in enumerate(self.distances)
        ]


@one_thread()
@torch.no_grad()
def agreement(
    model: M3ViT,
    integer: IntM3ViT,
    images: np.ndarray[Any, Any],
    task: str | int,
    *,
    blocks: int | None = None,
    saturation: Saturation | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """How near the integers come, over one or more images of one task.

    Parameters
    ----------
    model : M3ViT
    integer : IntM3ViT
        The same network.
    images : uint8 [3, H, W] or [n, 3, H, W]
    task : str or int
    blocks : int, optional
        Only the first so many.
    saturation : Saturation, optional
        Counts, over all images, what had no room.
    note : callable of str
        Told how far it is.

    Returns
    -------
    list of dict
        For each block `name`, `kind` ("dense" or "moe"), `sqnr_db` and `cosine` of the residual after it, and
        `routing_agreement`: fraction of tokens that go to the same set of experts (None for a dense block).
    """
    images = np.asarray(images)
    batch = images if images.ndim == 4 else images[None]
    found = Agreement(integer.qmodel, blocks)
    for number, image in enumerate(batch):
        note(f"image {number + 1} of {len(batch)}")
        routings: list[Routing] = []
        with inference(model):
            outputs = model(image, task, routings=routings)
        trace = Trace(only=CHOICES)
        residuals = integer.run(image, task, blocks=found.blocks, trace=trace, saturation=saturation)
        found.add(outputs, routings, residuals, trace)
    return found.rows()
