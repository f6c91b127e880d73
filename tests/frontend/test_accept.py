"""Equivalent ways to write a vision transformer are captured, and compute the same in the canonical model."""

import pytest
import torch
import zoo

from moesaic.golden.frontend.capture import capture


@pytest.mark.parametrize("name", zoo.ACCEPTED)
def test_equivalent_models(name):
    module = zoo.ACCEPTED[name]()
    captured = capture(module, zoo.image())
    assert captured.difference < 1e-5
    # Not only on what `capture` tried: an image of its own, in float32, through the canonical model and the head.
    x = torch.rand(1, 3, zoo.SIDE, zoo.SIDE, generator=torch.Generator().manual_seed(7))
    unit = x * 0.5 + 0.5 if captured.normalised else x
    with torch.no_grad():
        wanted = module(x)
        got = captured.heads["output"](captured.model()(unit, 0)[-1][0])[0]
    assert got.shape == wanted.shape
    assert float((got - wanted).abs().max()) < 2e-5 * float(wanted.abs().max())
