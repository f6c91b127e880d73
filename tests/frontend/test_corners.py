"""Numbers at the edge of what there is: the whole path takes them, from the module to the functional simulator."""

import mixtures
import numpy as np
import pytest
import torch
import zoo
from torch import nn
from whole import assert_runs_bit_exact

from moesaic.errors import InputError
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.frontend.capture import capture
from moesaic.golden.quantize import quantize


def times(model: nn.Module, factor: float, part: str = "") -> nn.Module:
    """A model with the parameters of a part multiplied."""
    for name, parameter in model.named_parameters():
        if part in name:
            with torch.no_grad():
                parameter.mul_(factor)
    return model


def mixture() -> nn.Module:
    return zoo.vit(mlp=mixtures.WRITTEN["recipe"][0])


# name: (model, whether its integers differ)
CASES = {
    "eps of zero": (lambda: zoo.vit(eps=0.0), True),
    "large eps": (lambda: times(zoo.vit(eps=1.0), 1e-3), True),
    "all zero": (lambda: times(zoo.vit(), 0.0), False),
    "a mixture, all zero": (lambda: times(mixture(), 0.0), False),
    "next to nothing": (lambda: times(zoo.vit(), 1e-12), False),
    "hidden units of next to nothing": (lambda: times(zoo.vit(), 1e-7, "mlp.up"), True),
    "no hidden units": (lambda: times(zoo.vit(), 0.0, "mlp.up"), True),
    "experts of next to nothing": (lambda: times(mixture(), 1e-7, "mlp."), True),
    "no queries, keys and values": (lambda: times(zoo.vit(), 0.0, "qkv"), True),
    "small queries, keys and values": (lambda: times(zoo.vit(), 1e-12, "qkv"), True),
    "small embedding": (lambda: times(zoo.vit(), 1e-9, "embed."), True),
    "large embedding": (lambda: times(zoo.vit(), 1e6, "embed."), True),
    "small norms": (lambda: times(zoo.vit(), 1e-9, "norm"), True),
    "large norms": (lambda: times(zoo.vit(), 3.0, "norm"), True),
}


@pytest.mark.parametrize("name", CASES)
def test_whole_path(name):
    make, lively = CASES[name]
    captured = capture(make(), zoo.image())
    got = assert_runs_bit_exact(captured, lively=lively)
    image = calibration_images(captured.network, 1)[0]
    with torch.no_grad():
        wanted = captured.model()(image, 0)[-1].numpy().reshape(got.shape)
    if lively:
        error = np.abs(got - wanted).max() / np.abs(wanted).max()
        assert error < 0.1, error
    else:
        assert np.abs(got - wanted).max() < 1e-6


@pytest.mark.parametrize("part", ["mlp.up", "qkv", "proj"])
@pytest.mark.parametrize("factor", [1e9, 1e20, 1e38])
def test_what_is_too_large_is_named(part, factor):
    """It may work; else the layer is named in one line."""
    model = times(zoo.vit(), factor, part)
    try:
        captured = capture(model, zoo.image())
        quantize(captured.model(), calibration_images(captured.network, 2), weights="imported")
    except InputError as error:
        assert "must be" in str(error)
