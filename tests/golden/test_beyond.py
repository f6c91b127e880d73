"""How far images lie from calibration, and experts that it never saw."""

import dataclasses

import numpy as np
import pytest
import torch

from moesaic.golden import weights
from moesaic.golden.evaluation.awkward import EXHIBITS
from moesaic.golden.evaluation.beyond import beyond_calibration
from moesaic.golden.hollow import hollow_model
from moesaic.golden.saturation import Saturation
from moesaic.golden.training.scenes import render_batch


def test_range_and_share():
    model = weights.load("m3vit-micro")[0]
    images = render_batch(range(2), model.network.image.size)[0]
    saturation = Saturation()
    same = beyond_calibration(model, images, images, saturation)
    assert same == {"range": 1.0, "block": "blocks.0", "saturated": 0.0, "most": None, "most_share": 0.0}
    saturation.fit("a", np.array([0, 40000, 1, 2]), 16)
    saturation.fit("b", np.array([0, 1, 1, 2]), 16)
    noise = np.random.default_rng(0).integers(0, 2, images.shape, dtype=np.uint8) * 255
    other = beyond_calibration(model, images, noise, saturation)
    with torch.no_grad():
        here, there = (
            [
                max(float(x.abs().max()) for x in block)
                for block in zip(*(model(i, t) for t in model.network.tasks), strict=True)
            ]
            for i in (images, noise)
        )
    assert other["range"] == pytest.approx(max(b / a for a, b in zip(here, there, strict=True)), rel=1e-4)
    assert (other["saturated"], other["most"], other["most_share"]) == (0.125, "a", 0.25)


def test_experts_that_calibration_never_saw():
    layer = hollow_model(EXHIBITS["experts"].model().network).blocks[1].layers[-1]
    assert layer.unused == ()  # not known
    shares = {"task": (0.5, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0)}
    assert dataclasses.replace(layer, usage=shares).unused == (1, 3)
    other = {**shares, "other": (0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0)}
    assert dataclasses.replace(layer, usage=other).unused == (1,)
    assert hollow_model(EXHIBITS["experts"].model().network).blocks[0].layers[0].unused == ()
