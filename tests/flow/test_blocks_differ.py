"""A network whose blocks all differ, captured from a module and run whole on the RTL with stalls on every channel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from quantmodels import layer_replaced
from torch import nn
from unlike import DIM, PATCH, SIDE, STALLS, Dense, Mixture

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.belonging import ForeignWeights, check_belonging
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.layers.sizes import LayerSizes, MLPSizes, MoESizes
from moesaic.golden.network import Network
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantfile import load, save
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.config import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

HEADS = 2
LAYERS = (  # mixtures where no rule would put them, each of its own size
    MLPSizes(hidden=72),
    MoESizes(experts=5, hidden=40, top_k=1),
    MLPSizes(hidden=128),
    MoESizes(experts=3, hidden=56, top_k=2),
    MoESizes(experts=8, hidden=24, top_k=2),
)


class Block(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.before, self.between, self.layer = nn.LayerNorm(DIM), nn.LayerNorm(DIM), layer
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, N, _ = x.shape
        q, k, v = self.qkv(self.before(x)).reshape(B, N, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, DIM)
        x = x + self.out(context)
        return x + self.layer(self.between(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.position = nn.Parameter(torch.zeros(1, (SIDE // PATCH) ** 2, DIM))
        layers = [
            Mixture(sizes.experts, sizes.hidden, sizes.top_k) if sizes.routed else Dense(sizes.hidden)
            for sizes in LAYERS
        ]
        self.blocks = nn.Sequential(*map(Block, layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.cut(x).flatten(2).transpose(1, 2) + self.position)


@pytest.fixture(scope="module")
def captured() -> Captured:
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        net.position.normal_(std=0.5)
        for block in net.blocks:
            if isinstance(block.layer, Mixture):
                block.layer.router.weight.mul_(8)  # tokens must not all go the same way
    return capture(net, torch.zeros(1, 3, SIDE, SIDE))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def qmodel(captured: Captured, images: np.ndarray) -> QuantModel:
    return quantize(captured.model(), images[:2], weights="imported", compensate=False)


@pytest.fixture(scope="module")
def program(qmodel: QuantModel) -> ProgramImage:
    return compile_model(qmodel, PRESETS["micro8"])


def _layers(network: Network) -> tuple[LayerSizes, ...]:
    """What follows attention in each block."""
    return tuple(block.nodes[1].sizes for block in network.blocks)


def test_captured_as_it_is(captured: Captured) -> None:
    assert _layers(captured.network) == LAYERS and captured.difference < 1e-5


def test_kept_as_it_is(qmodel: QuantModel, program: ProgramImage, tmp_path: Path) -> None:
    save(qmodel, tmp_path / "network.safetensors")
    assert _layers(load(tmp_path / "network.safetensors").network) == LAYERS
    program.save(tmp_path / "program")
    assert _layers(ProgramImage.load(tmp_path / "program").network) == LAYERS


def test_weights_of_every_expert_are_held_against_the_float_ones(captured: Captured, qmodel: QuantModel) -> None:
    check_belonging(captured.model(), qmodel)
    last = qmodel.blocks[4].layers[1]
    expert = last.experts[7]
    foreign = replace(expert, fc2=replace(expert.fc2, weight=np.roll(expert.fc2.weight, 1, axis=0)))
    mixture = replace(last, experts=(*last.experts[:7], foreign))
    other = replace(qmodel, blocks=(*qmodel.blocks[:4], layer_replaced(qmodel.blocks[4], 1, mixture)))
    with pytest.raises(ForeignWeights, match="blocks.4.mlp.experts.7.fc2"):
        check_belonging(captured.model(), other)


def test_whole_on_the_rtl(rig, qmodel: QuantModel, program: ProgramImage, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    simulator = FunctionalSimulator(rig.config, seed=1)
    simulator.load(program)
    routings = simulator.run(task, images[2]).routings
    assert all(sum(length > 0 for length in routing.lengths) > 1 for routing in routings) and len(routings) == 3
    (result,) = rig.run(program, [RtlRun(task, image=images[2])], seed=3, plusargs=STALLS)
    rig.check(qmodel, result, images[2], task)
