"""What the network carries is captured as a whole: its float forward pass gives the module's outputs."""

import operators
import pytest
import torch
import torch.nn.functional as F
import zoo
from operators import Half
from torch import nn
from zoo import DIM, HEADS

from moesaic.golden.frontend.capture import CaptureError, capture


def halves(*make) -> nn.Module:
    return zoo.seeded(zoo.Vit(zoo.Conv(), nn.Sequential(*(Half(f()) for f in make))))


def rms(make) -> nn.Module:
    return zoo.seeded(zoo.Vit(zoo.Conv(), operators.RmsBlock(make, zoo.Fused(DIM, HEADS), zoo.Mlp(DIM))))


CARRIED = {
    "heads of a width of their own": lambda: zoo.vit(lambda: operators.Inner(3, 8)),
    "no output projection": lambda: zoo.vit(operators.Unprojected),
    "patches of 4 x 8": lambda: zoo.vit(embed=operators.Cut(3, (4, 8))),
    "MLPs alone": lambda: halves(lambda: zoo.Mlp(DIM), lambda: zoo.Mlp(DIM)),
    "attention alone": lambda: halves(lambda: zoo.Fused(DIM, HEADS)),
    "a gated MLP": lambda: zoo.vit(mlp=operators.Separate),
    "GLU": lambda: zoo.vit(mlp=operators.Glu),
    "ReLU": lambda: zoo.vit(mlp=lambda: zoo.Mlp(DIM, nn.ReLU())),
    "experts of squared ReLU": lambda: zoo.vit(mlp=operators.ReluRecipe),
    "pooled by attention": lambda: zoo.vit(head=operators.PoolingHead()),
}
CARRIED |= {f"RMSNorm, {name}": lambda make=make: rms(make) for name, (_, make) in operators.RMS_NORMS.items()}
REFUSED = {
    "with a gate of activation 'relu2'": lambda: zoo.vit(mlp=lambda: operators.Separate(lambda x: F.relu(x).square())),
    "one to four channels, not 5": lambda: zoo.vit(embed=operators.Cut(5, (8, 8))),
}


@pytest.mark.parametrize("name", CARRIED)
def test_carried(name):
    module = CARRIED[name]()
    captured = capture(module, zoo.image())
    assert captured.difference < 1e-5
    x = torch.rand(1, 3, zoo.SIDE, zoo.SIDE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        wanted = module(x)
        got = captured.heads["output"](captured.model()(x * 0.5 + 0.5, 0)[-1][0])[0]
    assert float((got - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


@pytest.mark.parametrize("name", REFUSED)
def test_not_carried_yet(name):
    module = REFUSED[name]()
    with pytest.raises(CaptureError, match=name):
        capture(module, torch.zeros(1, 5 if "channels" in name else 3, zoo.SIDE, zoo.SIDE))
