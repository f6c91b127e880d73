"""LayerNorm and RMSNorm in one network: each layer behind its own, from capture to RTL."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from unlike import DIM, PATCH, SIDE, STALLS, Chain, Dense, Mixture

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.belonging import ForeignWeights, check_belonging
from moesaic.golden.evaluation.rounded_model import RoundedM3ViT, everything
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantcheck import check_quantised
from moesaic.golden.quantize import prepared, quantize
from moesaic.golden.training.all_tasks import forward_together
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

TOKENS = (SIDE // PATCH) ** 2


class LlamaNorm(nn.Module):
    """RMSNorm as `transformers` writes it out."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(DIM)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dtype = x.dtype
        x = x.to(torch.float32)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(dtype)


class Attention(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def layers() -> list[tuple[str, float, nn.Module, nn.Module]]:
    """Kind and eps that a layer's norm shall have, the norm, and the layer."""
    return [
        ("rmsnorm", 1e-5, nn.RMSNorm(DIM, eps=1e-5), Attention(2)),
        ("layernorm", 1e-6, nn.LayerNorm(DIM, eps=1e-6), Dense(48)),
        ("layernorm", 1e-5, nn.LayerNorm(DIM, eps=1e-5), Attention(2)),
        ("rmsnorm", torch.finfo(torch.float32).eps, nn.RMSNorm(DIM), Mixture(4, 24, 2)),
        ("rmsnorm", 1e-3, nn.RMSNorm(DIM, eps=1e-3, elementwise_affine=False), Attention(4)),
        ("rmsnorm", 1e-6, LlamaNorm(1e-6), Dense(40)),
    ]


class Net(Chain):
    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.position = nn.Parameter(torch.zeros(1, TOKENS, DIM))
        made = layers()
        self.norms, self.layers = nn.ModuleList(m[2] for m in made), nn.ModuleList(m[3] for m in made)


@pytest.fixture(scope="module")
def captured() -> Captured:
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        net.position.normal_(mean=0.7, std=0.5)  # a mean that RMSNorm does not subtract
        for layer in net.layers:
            if isinstance(layer, Mixture):
                layer.router.weight.mul_(8)  # tokens must not all go the same way
        for name, parameter in net.norms.named_parameters():
            parameter.normal_(mean=float(name.endswith("weight")), std=0.2)
    return capture(net, torch.zeros(1, 3, SIDE, SIDE))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def qmodel(captured: Captured, images: np.ndarray) -> QuantModel:
    return quantize(captured.model(), images[:2], weights="imported")


@pytest.fixture(scope="module")
def program(qmodel: QuantModel) -> ProgramImage:
    return compile_model(qmodel, PRESETS["micro8"])


def test_captured_as_they_are(captured: Captured) -> None:
    assert captured.difference < 1e-5
    found = [(node.norm.kind, node.norm.eps) for node in captured.network.layers if node.norm is not None]
    wanted = [(kind, eps) for kind, eps, _, _ in layers()]
    assert [kind for kind, _ in found] == [kind for kind, _ in wanted]
    assert [eps for _, eps in found] == pytest.approx([eps for _, eps in wanted], rel=1e-6)


def test_functional_simulator_equals_golden(qmodel: QuantModel, program: ProgramImage, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    simulator = FunctionalSimulator(PRESETS["micro8"], seed=1)
    simulator.load(program)
    run = simulator.run(task, images[2])
    for position, residual in enumerate(IntM3ViT.of(qmodel, PRESETS["micro8"]).run(images[2], task)):
        assert np.array_equal(simulator.tensor(run, position + 1), residual), f"block {position}"


def test_integers_and_roundings_are_near_the_floats(captured: Captured, qmodel: QuantModel, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    with torch.no_grad():
        wanted = captured.model()(images[2], task)
    found = IntM3ViT(qmodel, 8).run(images[2], task)
    rounded = RoundedM3ViT(prepared(captured.model(), images[:2]), qmodel, everything).run(images[2:], task)
    for block, ours, other, theirs in zip(qmodel.blocks, found, rounded.outputs, wanted, strict=True):
        power = np.square(theirs.numpy()).mean()
        assert np.square(ours * block.residual_step - theirs.numpy()).mean() < 1e-3 * power, block.name
        assert np.square(other[0].numpy() - theirs.numpy()).mean() < 1e-3 * power, block.name
    exact = RoundedM3ViT(captured.model(), qmodel, lambda block, part: 0).run(images[2:], task)
    torch.testing.assert_close(exact.outputs[-1][0], wanted[-1], rtol=1e-5, atol=1e-5)


def test_training_computes_the_same(captured: Captured, images: np.ndarray) -> None:
    model, batch = captured.model(), torch.from_numpy(images)
    with torch.no_grad():
        wanted, found = model(batch, 0)[-1], forward_together(model, batch).tokens
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_other_norms_are_found_out(captured: Captured, qmodel: QuantModel) -> None:
    """The norm of a file of integers must be the network's."""
    check_belonging(captured.model(), qmodel)
    check_quantised(qmodel, captured.network, 8)
    block = qmodel.blocks[0]
    layer = dataclasses.replace(block.layers[0], norm=dataclasses.replace(block.layers[0].norm, centred=True))
    changed = dataclasses.replace(block, layers=(layer, *block.layers[1:]))
    with pytest.raises(ValueError, match=r"blocks.0.layers.0.norm.centred must be False, not True"):
        check_quantised(dataclasses.replace(qmodel, blocks=(changed, *qmodel.blocks[1:])), captured.network, 8)
    nodes = list(captured.network.nodes)
    nodes[1] = dataclasses.replace(nodes[1], norm=dataclasses.replace(nodes[1].norm, kind="layernorm"))
    with pytest.raises(ForeignWeights, match="quantised network must be of"):
        check_belonging(M3ViT(dataclasses.replace(captured.network, nodes=tuple(nodes))), qmodel)


def test_whole_on_the_rtl(rig, qmodel: QuantModel, program: ProgramImage, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    (result,) = rig.run(program, [RtlRun(task, image=images[2])], seed=3, plusargs=STALLS)
    rig.check(qmodel, result, images[2], task)
