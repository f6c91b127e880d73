"""How far images lie from those that a network was calibrated on: range, and values that have no room."""

from typing import Any

import numpy as np
import torch

from moesaic.golden.calibrate import inference
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.saturation import Saturation

__all__ = ["beyond_calibration"]


@torch.no_grad()
def _peaks(model: M3ViT, images: np.ndarray[Any, Any]) -> list[float]:
    """Largest magnitude behind each block, over all images and tasks."""
    peaks = [0.0] * model.network.depth
    for task in model.network.tasks:
        for image in images:
            peaks = [max(peak, float(x.abs().max())) for peak, x in zip(peaks, model(image, task), strict=True)]
    return peaks


def beyond_calibration(
    model: M3ViT, seen: np.ndarray[Any, Any], unseen: np.ndarray[Any, Any], saturation: Saturation
) -> dict[str, Any]:
    """How far `unseen` images lie from `seen` ones, both uint8 [n, 3, H, W].

    Parameters
    ----------
    model : M3ViT
    saturation : Saturation
        Of the integer model on the unseen images.

    Returns
    -------
    dict
        `range` : largest magnitude of the float residual over that in calibration, behind the `block` where that is
        largest. `saturated` : share of all values that had no room. `most`, `most_share` : the tensor with the largest
        share, and that; None and 0 if nothing saturated.
    """
    with inference(model):
        ratios = [
            there / max(here, 1e-30) for here, there in zip(_peaks(model, seen), _peaks(model, unseen), strict=True)
        ]
    counts = saturation.counts
    most = max(counts, key=lambda name: counts[name].share, default=None)
    share = counts[most].share if most is not None else 0.0
    return {
        "range": max(ratios),
        "block": model.network.blocks[int(np.argmax(ratios))].name,
        "saturated": sum(c.saturated for c in counts.values()) / max(sum(c.values for c in counts.values()), 1),
        "most": most if share else None,
        "most_share": share,
    }
