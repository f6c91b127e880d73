"""Blocks of any layers: attention alone, two MLPs in a row, mixtures anywhere, other heads and eps in every layer."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from unlike import DIM, PATCH, SIDE, STALLS, Chain, Dense, Mixture

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.belonging import check_belonging
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

TOKENS = (SIDE // PATCH) ** 2


class Heads(nn.Module):
    """Attention whose heads together need not have the channels of a token."""

    def __init__(self, heads: int, width: int, *, projection: bool = True) -> None:
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(DIM, 3 * heads * width)
        self.out = nn.Linear(heads * width, DIM) if projection else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        context = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(context.transpose(1, 2).flatten(2))


def layers() -> list[tuple[float, nn.Module]]:
    """eps of a layer's norm, and the layer: five blocks, the first and the fourth with a mixture."""
    return [
        (1e-6, Heads(2, 16)),
        (1e-5, Mixture(5, 40, 2)),
        (1e-6, Heads(4, 8)),  # nothing follows it in its block
        (2e-6, Heads(1, 16)),  # half as wide as a token
        (1e-4, Dense(72)),
        (1e-6, Dense(48)),  # a second MLP
        (1e-6, Heads(4, 8, projection=False)),
        (1e-6, Mixture(3, 24, 1)),
        (1e-6, Dense(40)),  # a block without attention
    ]


class Net(Chain):
    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, DIM, (PATCH // 2, 2 * PATCH), (PATCH // 2, 2 * PATCH))
        self.position = nn.Parameter(torch.zeros(1, TOKENS, DIM))
        self.layers = nn.ModuleList(layer for _, layer in layers())
        self.norms = nn.ModuleList(nn.LayerNorm(DIM, eps=eps) for eps, _ in layers())


@pytest.fixture(scope="module")
def captured() -> Captured:
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        net.position.normal_(std=0.5)
        for layer in net.layers:
            if isinstance(layer, Mixture):
                layer.router.weight.mul_(8)  # tokens must not all go the same way
        net.layers[7].router.weight.mul_(20)  # logits up to 100: a gate with a step of its own
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


def test_captured_as_it_is(captured: Captured) -> None:
    network = captured.network
    assert captured.difference < 1e-5
    assert [[block.leaf(i) for i in range(len(block.nodes))] for block in network.blocks] == [
        ["attn", "mlp"],
        ["attn"],
        ["attn", "mlp", "mlp2"],
        ["attn", "mlp"],
        ["mlp"],
    ]
    assert [node.norm.eps for node in network.layers] == [eps for eps, _ in layers()]
    assert network.mixtures == {0: (2, 5), 3: (1, 3)} and network.image.patch == (PATCH // 2, 2 * PATCH)
    splits = [node.sizes.head_split for node in network.layers if node.kind == "attention"]
    assert splits == [(2, 16), (4, 8), (1, 16), (4, 8)]
    assert all(node.origin.line.startswith(Chain.forward.__code__.co_filename) for node in network.layers)


def test_functional_simulator_equals_golden(
    captured: Captured, qmodel: QuantModel, program: ProgramImage, images: np.ndarray
) -> None:
    check_belonging(captured.model(), qmodel)
    (task,) = qmodel.network.tasks
    simulator = FunctionalSimulator(PRESETS["micro8"], seed=1)
    simulator.load(program)
    run = simulator.run(task, images[2])
    golden = IntM3ViT.of(qmodel, PRESETS["micro8"]).run(images[2], task)
    for position, residual in enumerate(golden):
        assert np.array_equal(simulator.tensor(run, position + 1), residual), f"block {position}"
    assert all(sum(length > 0 for length in routing.lengths) > 1 for routing in run.routings)
    assert len(run.routings) == 2
    gates = [layer for block in qmodel.blocks for layer in block.layers if isinstance(layer, QuantMoE)]
    assert [min(gate.logit_shifts[task], 2) for gate in gates] == [0, 2]


def test_integers_are_near_the_floats(captured: Captured, qmodel: QuantModel, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    with torch.no_grad():
        wanted = captured.model()(images[2], task)
    found = IntM3ViT(qmodel, 8).run(images[2], task)
    for block, ours, theirs in zip(qmodel.blocks, found, wanted, strict=True):
        error = ours * block.residual_step - theirs.numpy()
        assert np.square(error).mean() < 0.01 * np.square(theirs.numpy()).mean(), block.name


def test_sizes_without_weights_are_the_networks(captured: Captured, qmodel: QuantModel) -> None:
    hollow = hollow_model(captured.network)
    shapes = [[(m.linear.name, m.shape) for m in model.matrices()] for model in (hollow, qmodel)]
    assert sorted(shapes[0]) == sorted(shapes[1])


def test_a_mixture_never_changes_the_step(captured: Captured, images: np.ndarray) -> None:
    """Several experts add to a token: what they add to must not be shifted more than once."""
    network = captured.network
    alone = dataclasses.replace(network.nodes[2], name="blocks.0.mlp", inputs=("embed",))
    small = dataclasses.replace(network, nodes=(network.nodes[0], alone))
    model = captured.model()
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("blocks.")}
    state |= {
        name.replace("norm2", "norm1"): tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(("blocks.0.mlp.", "blocks.0.norm2."))
    }
    other = type(model)(small)
    state["blocks.0.mlp.experts.h4toh.bias"] = state["blocks.0.mlp.experts.h4toh.bias"] + 60  # far above the embedding
    other.load_state_dict(state)
    qmodel = quantize(other.eval(), images[:2], weights="imported", compensate=False)
    assert qmodel.blocks[0].residual_step == qmodel.embed_step


def test_whole_on_the_rtl(rig, qmodel: QuantModel, program: ProgramImage, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    (result,) = rig.run(program, [RtlRun(task, image=images[2])], seed=3, plusargs=STALLS)
    rig.check(qmodel, result, images[2], task)
