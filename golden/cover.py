"""Images to calibrate on, chosen so that experts see tokens."""

import math
from typing import Any

import numpy as np
import torch

from moesaic.golden.calibrate import inference
from moesaic.golden.gate import Routing
from moesaic.golden.m3vit import M3ViT

__all__ = ["NEED", "Cover", "choose_covering", "expert_tokens"]

NEED = 32  # tokens of an expert, from which on further ones add little to what calibration knows of it


class Cover:
    """How well images cover the experts of a network.

    Parameters
    ----------
    tokens : int64 [images, experts]
        Tokens of each image for each expert of each mixture and task, from `expert_tokens`.
    """

    def __init__(self, tokens: np.ndarray[Any, Any]) -> None:
        self.tokens = tokens

    def worth(self, images: list[int]) -> float:
        """Sum over the experts of the tokens that they get, up to `NEED` of each, in shares of `NEED`."""
        return float(np.minimum(self.tokens[images].sum(axis=0), NEED).sum() / NEED) if images else 0.0

    def unused(self, images: list[int]) -> int:
        """Experts, counted once for each task, that get no token of these images."""
        return int((self.tokens[images].sum(axis=0) == 0).sum())


@torch.no_grad()
def expert_tokens(model: M3ViT, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tokens of each of the images, uint8 [n, channels, H, W], for each expert of each mixture and task: int64
    [n, experts].
    """
    rows = []
    with inference(model):
        for image in images:
            routings: list[Routing] = []
            for task in model.network.tasks:
                model(image, task, routings=routings)
            rows.append(
                np.concatenate([np.bincount(r.index.numpy().ravel(), minlength=r.logits.shape[-1]) for r in routings])
            )
    return np.stack(rows)


def choose_covering(cover: Cover, count: int) -> list[int]:
    """Numbers of `count` images, ascending, of which every next one adds most to `Cover.worth` (greedy, within 1 - 1/e
    of the best choice: Nemhauser, Wolsey, Fisher 1978).

    The first `count` images stay where the choice covers no expert more.
    """
    first, left, chosen = list(range(count)), list(range(len(cover.tokens))), list[int]()
    while len(chosen) < count:
        best, most = left[0], -math.inf
        for image in left:
            worth = cover.worth([*chosen, image])
            if worth > most:
                best, most = image, worth
        chosen.append(best)
        left.remove(best)
    return sorted(chosen) if cover.unused(chosen) < cover.unused(first) else first
