"""Steps chosen by the products to come, and balanced attention."""

import numpy as np
import pytest
import torch

from moesaic.golden.balance import balanced
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.layers.attention_ranges import AttentionRanges
from moesaic.golden.m3vit import build
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qlinear import quantise_linear
from moesaic.golden.quantize import quantize
from moesaic.golden.scales import tensor_step
from moesaic.golden.step_search import context_error, importance, refined, rounded, step_for
from moesaic.golden.training.scenes import render


def test_refined_finds_the_least_error():
    found = refined(0.1, 127.0, lambda step: (step - 0.17) ** 2)
    assert found == pytest.approx(0.17, rel=0.1)
    assert refined(0.1, 0.12 * 127, lambda step: -step) == pytest.approx(0.12)  # not beyond the peak
    assert refined(0.1, 127.0, lambda step: 0.0) == 0.1
    assert refined(0.1, 127.0, lambda step: (step - 0.004) ** 2) == pytest.approx(0.004, rel=0.1)  # far below the guess


def test_step_follows_what_matters():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 64))
    x[::500, 3] *= 4  # a few values that the step of least error clips, one channel being like another
    weight = np.full((5, 64), 0.01)
    weight[:, 3] = 10.0

    def products(step: float) -> float:
        lost = (rounded(x, step) - x) @ weight.T
        return float(lost.var(axis=0).sum())

    plain, chosen = tensor_step(x, "mse"), step_for(x, importance(weight), "mse")
    assert chosen > 1.05 * plain
    assert products(chosen) < 0.9 * products(plain)
    assert products(chosen) < 1.05 * min(products(s) for s in np.linspace(0.8, 3, 20) * plain)
    for method in ("minmax", "percentile"):
        assert step_for(x, importance(weight), method) == tensor_step(x, method)
    assert step_for(np.empty((0, 8)), importance(weight), "mse") == tensor_step(np.empty((0, 8)), "mse")


def test_a_constant_channel_may_be_clipped():
    """Its mean goes into the bias, so that one large channel does not coarsen the step of all."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2000, 32))
    x[:, 4] = 80 + 0.1 * x[:, 4]
    assert step_for(x, np.ones(32), "mse") < 6 / 127


def test_rounding_leaves_means_to_the_bias():
    """Inputs with large means: what is left is as small as without them."""
    rng = np.random.default_rng(7)
    mixed = rng.standard_normal((3000, 24)) @ rng.standard_normal((24, 24))
    weight, errors = rng.standard_normal((16, 24)), []
    for mean in (0.0, np.linspace(-60, 60, 24)):
        x = np.clip(np.rint(mixed + mean), -127, 127)
        linear = quantise_linear("m", weight, np.zeros(16), in_step=1.0, out_step=0.01, inputs=x, bits=4)
        steps = np.ldexp(linear.mult.astype(np.float64), -linear.shift) * linear.out_step
        made = (x @ linear.weight.T.astype(np.float64) + linear.bias) * steps
        errors.append(float(np.square(made - x @ weight.T).mean()))
    assert errors[1] < 1.1 * errors[0]


def test_importance_of_a_stack_of_matrices():
    weight = np.arange(12.0).reshape(2, 2, 3)
    assert importance(weight).tolist() == [0 + 9 + 36 + 81, 1 + 16 + 49 + 100, 4 + 25 + 64 + 121]


def test_context_error_sees_a_clipped_key():
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal((40, 8)) for _ in range(3))
    k[0] *= 12  # one key that everybody attends to
    q[:, :] += k[0] / 4
    error = context_error([q], [k], [v], 2)
    assert error(None, None) == pytest.approx(0, abs=1e-20)
    fine, clipping = float(np.abs(k).max()) / 127, float(np.abs(k).max()) / 500
    assert error(None, fine) < 0.2 * error(None, clipping)


def test_balanced_computes_the_same():
    config = preset("m3vit-micro")
    model = build(config, 3).double()
    rng = np.random.default_rng(2)
    sizes = [AttentionRanges(*np.exp(rng.standard_normal((4, config.dim)))) for _ in range(config.depth)]
    sizes[1].k[5] = sizes[1].context[7] = 0.0  # a channel that nobody uses
    other = balanced(model, {f"blocks.{i}.attn": size for i, size in enumerate(sizes)})
    image = render(0, config.image_size).image
    with torch.no_grad():
        for task in config.tasks:
            for a, b in zip(model(image, task), other(image, task), strict=True):
                assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)
    old, new = model.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight
    assert not torch.allclose(old, new)
    keys = np.sqrt(sizes[0].q / sizes[0].k)
    part, bias = slice(config.dim, 2 * config.dim), other.blocks[0].attn.qkv.bias.detach().numpy()
    assert np.allclose(bias[part], (model.blocks[0].attn.qkv.bias.detach().numpy()[part] - sizes[0].centre) * keys)
    assert np.allclose((new / old)[: config.dim].detach().numpy(), (1 / keys)[:, None])
    assert np.allclose((new / old)[config.dim : 2 * config.dim].detach().numpy(), keys[:, None])


def test_steps_see_every_channel():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((4096, 64))
    x[:, 1] *= 30  # a channel that is no multiple of 8

    def error(step: float) -> float:
        return float(np.square(rounded(x, step) - x).sum())

    assert error(tensor_step(x, "mse")) < 1.15 * min(error(step) for step in np.linspace(0.01, 1, 100))


def test_what_all_keys_share_costs_nothing():
    config = preset("m3vit-micro")
    images = calibration_images(network_of(config), 4)
    model = build(config, 3)
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.bias[config.dim : 2 * config.dim] += (
                40.0  # scores beyond int16, and a step too large for keys
            )
    qmodel = quantize(model, images, weights="seeded", compensate=False)
    rows = agreement(model, IntM3ViT(qmodel, 8), images[:2], "depth")
    assert all(row["sqnr_db"] > 22 for row in rows)
