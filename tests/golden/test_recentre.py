"""LayerNorm to RMSNorm by taking means out of weights: the same network, in floats and integers; what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from moesaic.compiler.pipeline import compile_model
from moesaic.errors import InputError
from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation.metrics import sqnr_db
from moesaic.golden.heads import DepthHead
from moesaic.golden.layers.sizes import AttentionSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.m3vit import M3ViT, build, seeded
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.network import Network
from moesaic.golden.nodes import Layer, chain_of
from moesaic.golden.quantize import quantize
from moesaic.golden.recentre import check_heads, recentred
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator

SMALL = dataclasses.replace(preset("m3vit-micro"), depth=2, dim=32, mlp_ratio=2, expert_hidden=16, image_size=(32, 32))


def random_network(seed: int) -> Network:
    """Layers of any kind and number, with and without learnt tokens and projections."""
    rng, base = np.random.default_rng(seed), network_of(dataclasses.replace(SMALL, extra_tokens=seed % 3))
    blocks = []
    for _ in range(3):
        last = (
            MLPSizes(hidden=24),
            MoESizes(experts=3, hidden=20, top_k=2, gate_bias=bool(rng.integers(2))),
        )[int(rng.integers(2))]
        attention = (
            AttentionSizes(heads=2, head_dim=8),
            AttentionSizes(heads=1, head_dim=32, projection=False),
        )[int(rng.integers(2))]
        sizes = (attention, MLPSizes(hidden=40), last)
        blocks.append([Layer(sizes=s, norm=NormSizes(eps=float(10.0 ** -rng.integers(3, 7)))) for s in sizes])
    nodes = chain_of(base.image, base.prefix_tokens, base.dim, blocks)
    return dataclasses.replace(base, nodes=nodes)


@pytest.mark.parametrize("seed", range(12))
def test_the_same_but_for_each_tokens_mean(seed: int) -> None:
    model = seeded(random_network(seed), seed).double()
    for parameter in model.parameters():  # a mean that is not small
        parameter.data += 0.1 * torch.randn(parameter.shape[:1] + (1,) * (parameter.ndim - 1), dtype=torch.float64)
    other = recentred(model)
    assert all(node.norm is None or not node.norm.centred for node in other.network.nodes)
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    for task in model.network.tasks:
        with torch.no_grad():
            wanted, found = model(image, task), other(image, task)
        for a, b in zip(wanted, found, strict=True):
            assert float(a.mean(-1).abs().max()) > 1e-2
            assert float((a - a.mean(-1, keepdim=True) - b).abs().max()) < 1e-9 * float(a.abs().max())
            assert float(b.mean(-1).abs().max()) < 1e-12 * float(a.abs().max())


def test_integers_are_as_near_and_run_on_the_simulator() -> None:
    model = build(SMALL, 0)
    images = np.random.default_rng(5).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    found = []
    for each in (model, recentred(model)):
        qmodel = quantize(each, images[:2], weights="seeded")
        outputs = IntM3ViT.of(qmodel, PRESETS["micro8"]).run(images[2], "depth")
        with torch.no_grad():
            wanted = each(images[2], "depth")[-1].numpy()
        found.append(sqnr_db(wanted, outputs[-1] * qmodel.blocks[-1].residual_step))
        simulator = FunctionalSimulator(PRESETS["micro8"], seed=1)
        simulator.load(compile_model(qmodel, PRESETS["micro8"]))
        run = simulator.run("depth", images[2])
        for position, residual in enumerate(outputs):
            assert np.array_equal(simulator.tensor(run, position + 1), residual)
    assert found[1] > found[0] - 1.5  # dB


class Odd(nn.Module):
    """Outputs of every sort, behind a norm: infinite, empty, and, if `total`, whole numbers that see the mean."""

    def __init__(self, dim: int, *, total: bool = False) -> None:
        super().__init__()
        self.norm, self.total = nn.LayerNorm(dim), total

    def forward(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        x = self.norm(tokens)
        whole = tokens.sum(dim=-1).round().long() if self.total else x.argmax(dim=-1)
        return [x.masked_fill(torch.arange(x.shape[-1]) == 0, -torch.inf), x[:0], whole]


def test_heads_with_odd_outputs() -> None:
    network = network_of(SMALL)
    check_heads({task: Odd(network.dim) for task in network.tasks}, network)
    with pytest.raises(InputError, match="not that of task 'semseg': leave --rms-norm out"):
        check_heads({task: Odd(network.dim, total=True) for task in network.tasks}, network)


def test_who_needs_the_mean_is_named() -> None:
    network = network_of(SMALL)
    good = {task: DepthHead(network).eval() for task in network.tasks}
    check_heads(good, network)
    with pytest.raises(InputError, match="not that of task 'depth': leave --rms-norm out"):
        check_heads({**good, "depth": nn.Linear(network.dim, 1)}, network)
    with pytest.raises(InputError, match="task 'depth' has none: leave --rms-norm out"):
        check_heads({"semseg": good["semseg"]}, network)
    with pytest.raises(InputError, match="node 'blocks.0.attn' must have LayerNorm for RMSNorm to take its place"):
        recentred(M3ViT(network.recentred))
    alone = dataclasses.replace(network.nodes[1], sizes=AttentionSizes(heads=2, head_dim=16, projection=False))
    unlike = dataclasses.replace(network, nodes=(network.nodes[0], alone, *network.nodes[2:]))
    with pytest.raises(InputError, match="'blocks.0.attn' must have a matrix that takes a token's mean out"):
        recentred(M3ViT(unlike))
