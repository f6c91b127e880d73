"""How good a model is at its tasks, and how its gates share out the tokens."""

from typing import Any

import numpy as np
import torch

from moesaic.golden.evaluation import metrics
from moesaic.golden.gate import Routing
from moesaic.golden.heads import Heads
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.training.scenes import CLASSES, FAR, render_batch

__all__ = ["quality"]

BATCH = 20  # images


@torch.no_grad()
def quality(model: M3ViT, heads: Heads, scenes: int = 200, first: int = 0) -> dict[str, Any]:
    """Quality on unseen scenes from seed `first`: mIoU, depth RMSE (metres), and how each gate shares out its
    tokens.
    """
    network = model.network
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    squares, ratios, near = 0.0, 0.0, 0
    chosen: dict[str, list[list[np.ndarray]]] = {task: [[] for _ in network.mixtures] for task in network.tasks}
    for start in range(first, first + scenes, BATCH):
        images, labels, depths = render_batch(range(start, min(start + BATCH, first + scenes)), network.image.size)
        for task in network.tasks:
            routings: list[Routing] = []
            out = heads[task](model(images, task, routings=routings)[-1]).numpy()
            for old, new in zip(chosen[task], routings, strict=True):
                old.append(new.index.numpy())
            if task == "depth":
                squares += float(np.sum((out - depths).astype(np.float64) ** 2)) / depths[0].size
                close = depths < FAR
                ratios += float(np.sum((np.abs(out - depths)[close] / depths[close]).astype(np.float64)))
                near += int(close.sum())
            else:
                matrix += metrics.confusion(out.argmax(axis=1), labels, len(CLASSES))
    result: dict[str, Any] = {"scenes": scenes}
    if matrix.any():
        union = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
        result["miou"] = metrics.mean_iou(matrix)
        result["iou"] = {name: float(matrix[i, i] / max(union[i], 1)) for i, name in enumerate(CLASSES)}
    if "depth" in network.tasks:
        result["depth_rmse_m"] = (squares / scenes) ** 0.5
        result["depth_relative_error"] = ratios / max(near, 1)
    if network.most_experts:
        experts = {task: [np.concatenate(parts) for parts in blocks] for task, blocks in chosen.items()}
        result["expert_load"] = {
            task: [(np.bincount(x.ravel(), minlength=network.most_experts) / x.size).round(4).tolist() for x in blocks]
            for task, blocks in experts.items()
        }
        if len(network.tasks) == 2:
            result["same_experts_for_both_tasks"] = [
                metrics.routing_agreement(a, b) for a, b in zip(*experts.values(), strict=True)
            ]
    return result
