"""Images to calibrate on, chosen so that experts see tokens."""

import math
from typing import Any

import numpy as np
import torch

from moesaic.golden.calibrate import inference
from moesaic.golden.gate import Routing
from moesaic.golden.image_choice import NEED, ThinExpert
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network

__all__ = ["Cover", "choose_covering", "choose_greedily", "choose_sufficient", "expert_tokens", "thin_experts"]


class Cover:
    """How well images cover the experts of a network.

    Parameters
    ----------
    tokens : int64 [images, experts]
        Tokens of each image for each expert of each mixture and task, from `expert_tokens`.
    need : int
        Tokens of an expert that are enough.
    """

    def __init__(self, tokens: np.ndarray[Any, Any], need: int = NEED) -> None:
        self.tokens, self.need = tokens, need

    def of(self, images: list[int]) -> np.ndarray[Any, Any]:
        """Tokens of each expert over these images."""
        return np.asarray(self.tokens[images].sum(axis=0))

    def worth(self, images: list[int]) -> float:
        """Sum over the experts of the tokens that they get, up to `need` of each, in shares of that."""
        return float(np.minimum(self.of(images), self.need).sum() / self.need) if images else 0.0

    def unused(self, images: list[int]) -> int:
        """Experts, counted once for each task, that get no token of these images."""
        return int((self.of(images) == 0).sum())


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


def choose_greedily(cover: Cover, count: int) -> list[int]:
    """Numbers of `count` images, ascending, of which every next one adds most to `Cover.worth` (greedy, within 1 - 1/e
    of the best choice: Nemhauser, Wolsey, Fisher 1978); of equal ones the first.
    """
    left, chosen = list(range(len(cover.tokens))), list[int]()
    while len(chosen) < count:
        best, most = left[0], -math.inf
        for image in left:
            worth = cover.worth([*chosen, image])
            if worth > most:
                best, most = image, worth
        chosen.append(best)
        left.remove(best)
    return sorted(chosen)


def choose_covering(cover: Cover, count: int) -> list[int]:
    """`choose_greedily`, or the first `count` images where that covers no expert more."""
    first, chosen = list(range(count)), choose_greedily(cover, count)
    return chosen if cover.unused(chosen) < cover.unused(first) else first


def choose_sufficient(cover: Cover, count: int) -> list[int]:
    """`choose_greedily`, or the first `count` images where those are worth as much."""
    first, chosen = list(range(count)), choose_greedily(cover, count)
    return chosen if cover.worth(chosen) > cover.worth(first) else first


def thin_experts(cover: Cover, images: list[int], network: Network) -> tuple[ThinExpert, ...]:
    """Experts that get fewer tokens of these images than `Cover.need`."""
    found, tokens, column = list[ThinExpert](), cover.of(images), 0
    for task in network.tasks:
        for block, (_, experts) in network.mixtures.items():
            mixture = network.blocks[block].nodes[-1].name
            for expert, count in enumerate(tokens[column : column + experts]):
                if count < cover.need:
                    found.append(ThinExpert(mixture=mixture, task=task, expert=expert, tokens=int(count)))
            column += experts
    return tuple(found)
