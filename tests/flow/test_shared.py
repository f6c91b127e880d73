"""Layers that hold the same parameters: whole blocks used again, each behind its own norms or behind the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from unlike import DIM, PATCH, SIDE, Chain, Dense, Mixture

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.compiler.weights import shared_bytes
from moesaic.golden.belonging import check_belonging
from moesaic.golden.evaluation.metrics import sqnr_db
from moesaic.golden.frontend.capture import Captured, capture
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantcheck import check_quantised
from moesaic.golden.quantfile import load, save
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator

IMAGES = np.random.default_rng(5).integers(0, 256, (5, 3, SIDE, SIDE), dtype=np.uint8)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, -1).permute(2, 0, 3, 1, 4)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Net(Chain):
    """One block of attention, an MLP and a mixture, three times over (MoEUT); with `own` norms each (WideNet)."""

    def __init__(self, *, own: bool) -> None:
        super().__init__()
        self.cut, self.position = nn.Conv2d(3, DIM, PATCH, PATCH), nn.Parameter(0.5 * torch.randn(1, 16, DIM))
        block = [Attention(), Dense(80), Mixture(3, 24, 2)]
        norms = [nn.LayerNorm(DIM) for _ in range(9 if own else 3)]
        self.layers, self.norms = nn.ModuleList(block * 3), nn.ModuleList(norms if own else norms * 3)
        with torch.no_grad():
            block[2].router.weight.mul_(8)  # tokens must not all go the same way
            block[1].down.bias.add_(3)  # the residual grows, and its steps with it
            for norm in norms:
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(std=0.2)
            norms[-2].weight.mul_(6 if own else 1)  # the last use of the MLP sees more than the first ones


def captured(*, own: bool) -> Captured:
    torch.manual_seed(0)
    return capture(Net(own=own).eval(), torch.zeros(1, 3, SIDE, SIDE))


@pytest.fixture(scope="module", params=[False, True], ids=["the same norms", "own norms"])
def found(request: pytest.FixtureRequest) -> Captured:
    return captured(own=request.param)


@pytest.fixture(scope="module")
def qmodel(found: Captured) -> QuantModel:
    return quantize(found.model(), IMAGES[:4], weights="imported", compensate=False)


def assert_exact(found: Captured, qmodel: QuantModel, config: str, least: float) -> ProgramImage:
    """Functional simulator equal to the integers, those near the floats; the program."""
    (task,), accelerator = qmodel.network.tasks, PRESETS[config]
    check_belonging(found.model(), qmodel)
    program, simulator = compile_model(qmodel, accelerator), FunctionalSimulator(accelerator, seed=1)
    simulator.load(program)
    run = simulator.run(task, IMAGES[4])
    with torch.no_grad():
        wanted = found.model()(IMAGES[4], task)
    golden = IntM3ViT.of(qmodel, accelerator).run(IMAGES[4], task)
    for number, (block, ours, theirs) in enumerate(zip(qmodel.blocks, golden, wanted, strict=True)):
        assert np.array_equal(simulator.tensor(run, number + 1), ours), block.name
        assert sqnr_db(theirs.numpy(), ours * block.residual_step) > least, block.name
    return program


def test_captured_and_computed(found: Captured, qmodel: QuantModel) -> None:
    layers = found.network.layers
    assert found.difference < 1e-5
    assert [node.owner for node in layers] == [node.name for node in layers[:3]] * 3
    assert qmodel.blocks[2].residual_step > qmodel.blocks[0].residual_step
    assert_exact(found, qmodel, "micro8", 26)


def test_stored_once(found: Captured, qmodel: QuantModel, tmp_path: Path) -> None:
    """Against the same network whose layers know nothing of each other."""
    nodes = tuple(replace(node, sharing=None) for node in found.network.nodes)
    alone = M3ViT(replace(found.network, nodes=nodes))
    alone.load_state_dict(found.state)
    other = quantize(alone.eval(), IMAGES[:4], weights="imported", compensate=False)
    programs = [compile_model(model, PRESETS["micro8"]) for model in (qmodel, other)]
    sizes = [{piece["name"]: piece["bytes"] for piece in program.manifest["pieces"]} for program in programs]
    saved = [
        shared_bytes(model, size, tasks=model.network.tasks, blocks=3)
        for model, size in zip((qmodel, other), sizes, strict=True)
    ]
    assert saved == [sum(sizes[1].values()) - sum(sizes[0].values()), 0] and saved[0] > 0.3 * sum(sizes[1].values())
    for program, model, name in zip(programs, (qmodel, other), "ab", strict=True):
        save(model, tmp_path / name)
        program.save(tmp_path / f"program-{name}")
    assert (tmp_path / "a").stat().st_size < 0.8 * (tmp_path / "b").stat().st_size
    again = load(tmp_path / "a")
    check_quantised(again, found.network, 8)
    assert ProgramImage.load(tmp_path / "program-a").network == found.network
    assert compile_model(again, PRESETS["micro8"]).memory == programs[0].memory


@pytest.mark.parametrize(("bits", "config", "least"), [(4, "micro8", 20), (16, "micro8-wide", 50)])
def test_other_widths(bits: int, config: str, least: float) -> None:
    found = captured(own=True)
    assert_exact(found, quantize(found.model(), IMAGES[:4], weights="imported", expert_bits=bits), config, least)


def test_parameters_that_only_look_alike_are_not_shared() -> None:
    """The same bank of weights, of which two layers read different halves."""

    class Half(nn.Module):
        def __init__(self, bank: nn.Parameter, place: int) -> None:
            super().__init__()
            self.bank, self.place = bank, place

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.gelu(x @ self.bank[self.place, 0]) @ self.bank[self.place, 1].mT

    torch.manual_seed(0)
    net, bank = Net(own=True), nn.Parameter(torch.randn(2, 2, DIM, 40) / 5)
    net.layers = nn.ModuleList(Half(bank, place) for place in (0, 1, 0))
    net.norms = net.norms[:3]
    layers = capture(net.eval(), torch.zeros(1, 3, SIDE, SIDE)).network.layers
    assert [node.owner for node in layers] == [layers[0].name, layers[1].name, layers[0].name]


def test_gains_that_would_take_more_than_they_save_are_no_matrices() -> None:
    torch.manual_seed(0)
    net, small = Net(own=True), Dense(16)
    net.layers, net.norms = nn.ModuleList([small, small]), net.norms[:2]
    network = capture(net.eval(), torch.zeros(1, 3, SIDE, SIDE)).network
    assert [node.sharing for node in network.layers] == [None, None]
