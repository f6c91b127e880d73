"""Integer model against float model, block by block."""

from typing import Any

import numpy as np
import torch

from moesaic.golden import metrics
from moesaic.golden.calibrate import inference
from moesaic.golden.gate import Routing
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.trace import Trace

__all__ = ["agreement"]


@torch.no_grad()
def agreement(
    model: M3ViT,
    qmodel: QuantModel,
    images: np.ndarray[Any, Any],
    task: str | int,
    *,
    key_block: int = 64,
    blocks: int | None = None,
) -> list[dict[str, Any]]:
    """How near the integers come, over one or more images of one task.

    Parameters
    ----------
    model, qmodel
        The same network, float and quantised.
    images : uint8 [3, H, W] or [n, 3, H, W]
    task : str or int
    key_block : int
        Of `IntM3ViT`.
    blocks : int, optional
        Only the first so many.

    Returns
    -------
    list of dict
        For each block `name`, `kind` ("dense" or "moe"), `sqnr_db` and `cosine` of the residual after it, and
        `routing_agreement`: fraction of tokens that go to the same set of experts (None for a dense block).
    """
    images = np.asarray(images)
    batch = images if images.ndim == 4 else images[None]
    config, integer = model.config, IntM3ViT(qmodel, key_block)
    count = config.depth if blocks is None else min(blocks, config.depth)
    reference: list[list[np.ndarray]] = [[] for _ in range(count)]
    actual: list[list[np.ndarray]] = [[] for _ in range(count)]
    wanted: dict[int, list[np.ndarray]] = {}
    chosen: dict[int, list[np.ndarray]] = {}
    for image in batch:
        routings: list[Routing] = []
        with inference(model):
            outputs = model(image, task, routings=routings)
        trace = Trace(only=("gate.index",))
        residuals = integer.run(image, task, blocks=count, trace=trace)
        for i in range(count):
            reference[i].append(outputs[i].numpy())
            actual[i].append(residuals[i] * qmodel.blocks[i].residual_step)
        for i, routing in zip(config.moe_blocks, routings, strict=True):
            if i < count:
                wanted.setdefault(i, []).append(routing.index.numpy())
                chosen.setdefault(i, []).append(trace[f"blocks.{i}.mlp.gate.index"])
    rows: list[dict[str, Any]] = []
    for i in range(count):
        a, b = np.concatenate(reference[i]), np.concatenate(actual[i])
        agree = metrics.routing_agreement(np.concatenate(wanted[i]), np.concatenate(chosen[i])) if i in wanted else None
        rows.append(
            {
                "name": qmodel.blocks[i].name,
                "kind": "moe" if config.is_moe(i) else "dense",
                "sqnr_db": metrics.sqnr_db(a, b),
                "cosine": metrics.cosine(a, b),
                "routing_agreement": agree,
            }
        )
    return rows
