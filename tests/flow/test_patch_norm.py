"""A norm of each patch's pixels before they are embedded: in floats, on the host, and from there to the board."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from unlike import DIM, PATCH, SIDE, STALLS, Chain, Dense

from moesaic.boards.runtime import Accelerator
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pack import image_vectors
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.belonging import check_belonging
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.frontend.capture import CaptureError, capture
from moesaic.golden.layers.sizes import NormSizes
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.nodes import Image
from moesaic.golden.ops_int import patch_vectors
from moesaic.golden.patch_norm import PATCH_STEP, normalised_patches
from moesaic.golden.quantfile import load, save
from moesaic.golden.quantize import quantize
from moesaic.golden.sample_images import sample_images
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.device import FunctionalTransport
from moesaic.sim.rtl import RtlRun

HIGH, WIDE = PATCH, 2 * PATCH
VALUES = 3 * HIGH * WIDE
MEAN, STD = (0.2, 0.4, 0.6), (0.25, 0.5, 0.3)


class Cut(nn.Module):
    """Patches as vit_pytorch has them (pixels first, channels last), a norm of each, and a projection."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.projection = norm, nn.Linear(VALUES, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // HIGH, HIGH, w // WIDE, WIDE).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, VALUES)
        return self.projection(self.norm(x)).transpose(1, 2)


class Net(Chain):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.cut = Cut(norm)
        self.position = nn.Parameter(torch.randn(1, SIDE // HIGH * (SIDE // WIDE), DIM) * 0.5)
        self.norms, self.layers = nn.ModuleList([nn.LayerNorm(DIM)]), nn.ModuleList([Dense(40)])


NORMS = {
    "layernorm": lambda: nn.LayerNorm(VALUES, eps=1e-4),
    "rmsnorm": lambda: nn.RMSNorm(VALUES, eps=1e-5),
}


def net_of(kind: str) -> Net:
    torch.manual_seed(3)
    net = Net(NORMS[kind]()).eval()
    with torch.no_grad():
        for parameter in net.cut.norm.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return net


@pytest.mark.parametrize("kind", NORMS)
def test_end_to_end(rig, kind, tmp_path):
    net, config = net_of(kind), PRESETS["micro8"]
    captured = capture(net, torch.zeros(1, 3, SIDE, SIDE), pixel_mean=MEAN, pixel_std=STD)
    assert captured.difference < 1e-5
    network = captured.network
    assert network.image.patch == (HIGH, WIDE) and network.image.patch_norm == NormSizes(
        kind=kind, eps=net.cut.norm.eps
    )
    model = captured.model()
    qmodel = quantize(model, calibration_images(network, 4), weights="imported")
    check_belonging(model, qmodel)
    save(qmodel, tmp_path / "quantised")
    assert load(tmp_path / "quantised").network == network
    image = sample_images([7], *network.image.size_and_channels)[0]
    golden = IntM3ViT.of(qmodel, config).run(image, *network.tasks)
    program = compile_model(qmodel, config)
    program.save(tmp_path)
    with Accelerator(FunctionalTransport(config), ProgramImage.load(tmp_path), None) as board:
        assert np.array_equal(board.run(image).tokens, golden[-1])
    (result,) = rig.run(program, [RtlRun(*network.tasks, image=image)], seed=5, plusargs=STALLS)
    rig.check(qmodel, result, image, *network.tasks)
    pixels = (image / 255 - np.reshape(MEAN, (-1, 1, 1))) / np.reshape(STD, (-1, 1, 1))
    with torch.no_grad():
        wanted = net(torch.from_numpy(pixels).float()[None])[0].numpy()
    error = golden[-1] * qmodel.blocks[-1].residual_step - wanted
    assert np.square(error).sum() < 10**-3 * np.square(wanted).sum()  # 30 dB


def image_of(kind: str, eps: float) -> Image:
    return Image(
        height=4, width=8, patch_height=4, patch_width=4, channels=3, pixel_mean=MEAN, pixel_std=STD,
        patch_norm=NormSizes(kind=kind, eps=eps),
    )  # fmt: skip


@pytest.mark.parametrize("kind", NORMS)
def test_the_host_rounds_the_exact_value(kind):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (40, 3, 16), dtype=np.uint8)
    pixels[:20] = (pixels[:20] // 32) + 60  # little contrast
    found = normalised_patches(pixels, image_of(kind, 1e-5))
    for patch, got in zip(pixels, found, strict=True):
        x = [(Fraction(int(p), 255) - Fraction(MEAN[c])) / Fraction(STD[c]) for c in range(3) for p in patch[c]]
        mean = sum(x) / len(x) if kind == "layernorm" else Fraction(0)
        variance = sum((v - mean) ** 2 for v in x) / len(x)
        exact = np.array([float(v - mean) for v in x]) / np.sqrt(float(variance) + 1e-5) / PATCH_STEP
        assert np.abs(np.clip(exact, -128, 127) - got.ravel()).max() <= 0.5 + 1e-9


def test_patches_without_contrast():
    for eps in (0.0, 1e-5):
        image = Image(height=4, width=4, patch_height=4, patch_width=4, patch_norm=NormSizes(eps=eps))
        for level in range(256):
            assert not normalised_patches(np.full((1, 3, 16), level, np.uint8), image).any()


def test_host_and_golden_cut_alike():
    net = net_of("layernorm")
    network = capture(net, torch.zeros(1, 3, SIDE, SIDE)).network
    image = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    assert np.array_equal(patch_vectors(image, network), image_vectors(image, network))


def test_refused():
    net = net_of("layernorm")
    net.cut.norm = nn.LayerNorm((SIDE // HIGH * (SIDE // WIDE), VALUES)).eval()
    with pytest.raises(CaptureError, match="LayerNorm of"):
        capture(net, torch.zeros(1, 3, SIDE, SIDE))
