"""Roundings one by one: a float twin of the integers, and what each of its roundings costs."""

import dataclasses

import numpy as np
import pytest
import torch
from quantmodels import layer_replaced

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.evaluation.metrics import sqnr_db
from moesaic.golden.evaluation.rounded_model import RoundedM3ViT, everything
from moesaic.golden.evaluation.sensitivity import Cost, parts_of, sensitivity, tensor_noise
from moesaic.golden.layers.rounding import Outcome
from moesaic.golden.m3vit import M3ViT, build
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import prepared, quantize
from moesaic.golden.trace import Trace
from moesaic.golden.training.scenes import render_batch

torch.set_num_threads(1)

CONFIG = M3ViTConfig(
    name="small",
    image_size=(32, 32),
    patch_size=8,
    dim=32,
    heads=2,
    depth=2,
    mlp_ratio=2.0,
    experts=4,
    expert_hidden=16,
    top_k=2,
)
IMAGES = render_batch(range(6), CONFIG.image_size)[0]


@pytest.fixture(scope="module")
def network() -> tuple[M3ViT, QuantModel]:
    model = build(CONFIG, 1)
    return prepared(model, IMAGES), quantize(model, IMAGES, weights="seeded")


@pytest.fixture(scope="module")
def costs(network: tuple[M3ViT, QuantModel]) -> dict[tuple[int, str], Cost]:
    return {(cost.block, cost.part): cost for cost in sensitivity(*network, IMAGES)}


def test_without_rounding_it_is_the_float_model(network):
    model, qmodel = network
    found = RoundedM3ViT(model, qmodel, lambda block, part: 0).run(IMAGES, 1)
    with torch.no_grad():
        wanted = build(CONFIG, 1)(IMAGES, 1)
    for a, b in zip(found.outputs, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_with_all_roundings_it_is_near_the_integers(network):
    """By how many decibels nearer than float: what is left are values next to a rounding's border. A norm's table is
    wrong by up to half a step of 13 bits, which moves one in some 32 of the 9 bits that are read to the next: 12/32 of
    that rounding's noise, 4 dB below it. One image has few of them, so it is held to less than all together.
    """
    model, qmodel = network
    nearer = []
    integer, rounded = IntM3ViT(qmodel, 64), RoundedM3ViT(model, qmodel, everything)
    exact = RoundedM3ViT(model, qmodel, lambda block, part: 0)
    for image in IMAGES:
        trace = Trace()
        outputs = integer.run(image, 0, trace=trace)
        step = qmodel.embed_step
        embedded = rounded.embed(image[None])[0].numpy() / step
        assert np.abs(embedded - trace["embed"]).max() < 1.01
        # Each block from the integers' own residual: one difference in the last place spreads to as many errors as
        # rounding makes.
        before = trace["embed"]
        for i, block in enumerate(qmodel.blocks):
            start, found = torch.from_numpy(before[None] * np.float32(step)), Outcome()
            with torch.no_grad():
                ours = rounded.rest(rounded.middle(start, i), i, 0, found).numpy()[0]
                wanted = exact.rest(exact.middle(start, i), i, 0, Outcome()).numpy()[0]
            before, step = outputs[i], block.residual_step
            integers = before * step
            nearer.append(sqnr_db(integers, ours) - sqnr_db(wanted, integers))
            if i in found.experts:
                assert np.array_equal(found.experts[i].numpy(), trace[f"{block.name}.mlp.gate.index"])
    assert min(nearer) > 2 and np.mean(nearer) > 3.5, nearer


def test_costs_are_of_their_block_and_part(network, costs):
    assert set(costs) == {(i, part) for i in range(2) for part in parts_of(network[0], i)}
    assert all(
        0 < cost.noise < 0.01
        for cost in costs.values()
        if cost.part not in ("gate.logits", "norm2.gate", "gate.weight")
    )
    assert all(cost.rerouted == 0 for (block, _), cost in costs.items() if block == 0)
    assert costs[1, "fc2.weight"].rerouted == 0  # comes after the gate


def test_a_coarse_layer_stands_out(network, costs):
    model, qmodel = network
    block = qmodel.blocks[0]
    coarse = layer_replaced(block, 1, dataclasses.replace(block.layers[1], hidden_step=8 * block.layers[1].hidden_step))
    worse = {
        (cost.block, cost.part): cost.noise
        for cost in sensitivity(model, dataclasses.replace(qmodel, blocks=(coarse, *qmodel.blocks[1:])), IMAGES)
    }
    assert worse[0, "hidden"] > 20 * costs[0, "hidden"].noise
    assert max(worse, key=lambda key: worse[key]) == (0, "hidden")
    for key, cost in costs.items():
        if key != (0, "hidden"):
            assert worse[key] == pytest.approx(cost.noise, rel=1e-6), key


def test_every_task_counts(network, costs):
    """Of the second task alone, the gate turned round: tokens are sent elsewhere, in its half of the tokens."""
    model, qmodel = network
    block, task = qmodel.blocks[1], CONFIG.tasks[1]
    gate = block.layers[1].gates[task]
    gates = block.layers[1].gates | {task: dataclasses.replace(gate, weight=-gate.weight)}
    turned = dataclasses.replace(
        qmodel, blocks=(qmodel.blocks[0], layer_replaced(block, 1, dataclasses.replace(block.layers[1], gates=gates)))
    )
    found = {(cost.block, cost.part): cost for cost in sensitivity(model, turned, IMAGES)}
    assert 0.3 < found[1, "gate.weight"].rerouted - costs[1, "gate.weight"].rerouted <= 0.5
    assert (
        tensor_noise(model, turned, IMAGES)[1, "gate.logits"]
        > 100 * tensor_noise(model, qmodel, IMAGES)[1, "gate.logits"]
    )


def test_tensor_noise_adds_up_along_the_network(network):
    noise = tensor_noise(*network, IMAGES)
    assert {part for block, part in noise if block == 1} >= {
        "norm1",
        "q",
        "k",
        "v",
        "scores",
        "probs",
        "context",
        "hidden",
    }
    for part in ("norm1", "norm2", "residual"):
        assert noise[1, part] > noise[0, part]
    assert all(value < 0.03 for value in noise.values())


def test_training_mode_changes_nothing(network):
    model = build(CONFIG, 1).train()
    q = quantize(model, IMAGES, weights="seeded")
    assert model.training and model.blocks[1].mlp.gate[0].training
    for ours, theirs in zip(q.blocks, network[1].blocks, strict=True):
        assert np.array_equal(ours.layers[0].q.weight, theirs.layers[0].q.weight)
        assert ours.residual_step == theirs.residual_step
    mixtures = [quantised.blocks[1].layers[1] for quantised in (q, network[1])]
    assert mixtures[0].usage == mixtures[1].usage
    assert all(np.array_equal(a.fc1.weight, b.fc1.weight) for a, b in zip(*(m.experts for m in mixtures), strict=True))
