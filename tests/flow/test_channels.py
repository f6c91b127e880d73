"""Images of one, two and four channels: from capture to the RTL of micro8, with samples of their own."""

import numpy as np
import pytest
import torch
from torch import nn
from unlike import DIM, PATCH, SIDE, STALLS, Chain, Dense

from moesaic.boards.runtime import Accelerator
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.frontend.capture import CaptureError, capture
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.quantize import quantize
from moesaic.golden.sample_images import sample_images
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.device import FunctionalTransport
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

MEAN, STD = (0.2, 0.4, 0.6, 0.7), (0.25, 0.5, 0.3, 0.4)


class Net(Chain):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cut = nn.Conv2d(channels, DIM, PATCH, PATCH)
        self.position = nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2, DIM) * 0.5)
        self.norms, self.layers = nn.ModuleList([nn.LayerNorm(DIM)]), nn.ModuleList([Dense(40)])


def example(channels: int) -> torch.Tensor:
    return torch.zeros(1, channels, SIDE, SIDE)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_end_to_end(rig, channels):
    torch.manual_seed(channels)
    mean, std = MEAN[:channels], STD[:channels]
    net = Net(channels).eval()
    captured = capture(net, example(channels), pixel_mean=mean, pixel_std=std)
    assert captured.difference < 1e-5
    network = captured.network
    assert network.image.channels == channels and network.image.pixel_mean == pytest.approx(mean)
    qmodel = quantize(captured.model(), calibration_images(network, 4), weights="imported")
    image = sample_images([7], *network.image.size_and_channels)[0]
    golden = IntM3ViT.of(qmodel, PRESETS["micro8"]).run(image, *network.tasks)
    simulator = FunctionalSimulator(PRESETS["micro8"], seed=1)
    program = compile_model(qmodel, PRESETS["micro8"])
    simulator.load(program)
    run = simulator.run(*network.tasks, image)
    for position, residual in enumerate(golden):
        assert np.array_equal(simulator.tensor(run, position + 1), residual)
    (result,) = rig.run(program, [RtlRun(*network.tasks, image=image)], seed=channels, plusargs=STALLS)
    rig.check(qmodel, result, image, *network.tasks)
    with Accelerator(FunctionalTransport(PRESETS["micro8"]), program, None) as board:
        assert board.channels == channels
        given = board.run(np.ascontiguousarray(image.transpose(1, 2, 0)))
    assert np.array_equal(given.tokens, golden[-1])
    pixels = (image / 255 - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    with torch.no_grad():
        wanted = net(torch.from_numpy(pixels).float()[None])[0].numpy()
    error = golden[-1] * qmodel.blocks[-1].residual_step - wanted
    assert np.square(error).sum() < 10**-2.5 * np.square(wanted).sum()  # 25 dB


def test_normalisation_of_other_channels():
    net = Net(1).eval()
    assert capture(net, example(1)).network.image.pixel_mean == (0.5,)
    with pytest.raises(CaptureError, match="pixel_std must be one number each, not"):
        capture(net, example(1), pixel_mean=(0.1, 0.2, 0.3))
    with pytest.raises(CaptureError, match="one to four channels, not 5"):
        capture(Net(5).eval(), example(5))


def test_samples():
    red, green, blue = sample_images([3], (32, 48))[0].astype(float)
    assert np.abs(sample_images([3], (32, 48), 1)[0, 0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 0.51
