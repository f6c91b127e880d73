"""A norm of the embedded tokens: CLIP's (of all tokens, positions added) and one of the patches alone."""

import numpy as np
import pytest
import torch
from torch import nn
from unlike import DIM, PATCH, SIDE, STALLS, Dense

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.belonging import check_belonging
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.evaluation.rounded_model import RoundedM3ViT, everything
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.hollow import hollow_model
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.network import Network
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantfile import load, save
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

PATCHES = (SIDE // PATCH) ** 2


class Net(nn.Module):
    """`early`: patches pass the norm, then class token and positions join them; otherwise the other way round."""

    def __init__(self, *, early: bool) -> None:
        super().__init__()
        self.early, self.cut = early, nn.Conv2d(3, DIM, PATCH, PATCH)
        self.cls, self.position = nn.Parameter(torch.randn(1, 1, DIM)), nn.Parameter(torch.randn(1, 1 + PATCHES, DIM))
        self.norm_pre = nn.RMSNorm(DIM, eps=1e-6) if early else nn.LayerNorm(DIM, eps=1e-5)
        self.norm, self.layer = nn.LayerNorm(DIM), Dense(40)
        with torch.no_grad():
            self.norm_pre.weight.uniform_(0.2, 3)
            if not early:
                self.norm_pre.bias.normal_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.cut(x).flatten(2).transpose(1, 2)
        if self.early:
            x = self.norm_pre(x)
        x = torch.cat((self.cls, x), dim=1) + self.position
        if not self.early:
            x = self.norm_pre(x)
        return x + self.layer(self.norm(x))


@pytest.fixture(scope="module", params=[False, True], ids=["tokens", "patches"])
def captured(request: pytest.FixtureRequest) -> Captured:
    torch.manual_seed(1)
    return capture(Net(early=request.param).eval(), torch.zeros(1, 3, SIDE, SIDE))


@pytest.fixture(scope="module")
def images(captured: Captured) -> np.ndarray:
    return calibration_images(captured.network, 5)


@pytest.fixture(scope="module")
def qmodel(captured: Captured, images: np.ndarray) -> QuantModel:
    return quantize(captured.model(), images[:4], weights="imported")


@pytest.fixture(scope="module")
def program(qmodel: QuantModel) -> ProgramImage:
    return compile_model(qmodel, PRESETS["micro8"])


def test_captured_as_it_is(captured: Captured) -> None:
    assert captured.difference < 1e-5 and captured.network.embed_norm is not None
    assert captured.names["embed_norm.weight"] == ("norm_pre.weight",)
    assert Network.from_dict(captured.network.to_dict()) == captured.network


def test_integers_are_near_the_floats(captured: Captured, qmodel: QuantModel, images: np.ndarray, tmp_path) -> None:
    (task,) = qmodel.network.tasks
    check_belonging(captured.model(), qmodel)
    with torch.no_grad():
        (wanted,) = captured.model()(images[4], task)
    (found,) = IntM3ViT(qmodel, 8).run(images[4], task)
    error = found * qmodel.blocks[-1].residual_step - wanted.numpy()
    assert np.square(error).sum() < 10**-3 * np.square(wanted.numpy()).sum()  # 30 dB
    exact = captured.model().embed(captured.model().normalise(torch.from_numpy(images[4:]))).detach()
    rounded = RoundedM3ViT(captured.model(), qmodel, everything).embed(images[4:])
    assert 0 < float((rounded - exact).square().sum()) < 10**-3 * float(exact.square().sum())
    save(qmodel, tmp_path / "network")
    assert np.array_equal(load(tmp_path / "network").embed_norm.before, qmodel.embed_norm.before)
    hollow = hollow_model(captured.network)
    assert [m.weight.shape for m in hollow.embed_matrices] == [m.weight.shape for m in qmodel.embed_matrices]


def test_functional_simulator_equals_golden(qmodel: QuantModel, program: ProgramImage, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    simulator = FunctionalSimulator(PRESETS["micro8"], seed=1)
    simulator.load(program)
    run = simulator.run(task, images[4])
    for position, residual in enumerate(IntM3ViT(qmodel, 8).run(images[4], task)):
        assert np.array_equal(simulator.tensor(run, position + 1), residual)


def test_whole_on_the_rtl(rig, qmodel: QuantModel, program: ProgramImage, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    (result,) = rig.run(program, [RtlRun(task, image=images[4])], seed=3, plusargs=STALLS)
    rig.check(qmodel, result, images[4], task)
