"""Training's forward pass: values and gradients of the model itself."""

import dataclasses

import numpy as np
import pytest
import torch

from moesaic.golden.config import network_of, preset
from moesaic.golden.gate import Routing
from moesaic.golden.m3vit import build
from moesaic.golden.training.all_tasks import forward_together
from moesaic.golden.training.recipe import OUTLIER, balance_loss, outlier_loss

SMALL = dataclasses.replace(preset("m3vit-micro"), depth=4, dim=32, mlp_ratio=2, expert_hidden=16, image_size=(32, 32))
CONFIGS = {
    "two gates": SMALL,
    "one gate that sees the task": dataclasses.replace(SMALL, gate_scope="task_conditioned"),
    "scores of the chosen, gate bias": dataclasses.replace(SMALL, gate_kind="noisy", gate_bias=True),
    "no experts": dataclasses.replace(SMALL, experts=0),
    "three tasks, no class token": dataclasses.replace(SMALL, tasks=("semseg", "depth", "edge"), class_token=False),
    "registers, tanh": dataclasses.replace(SMALL, extra_tokens=2, gelu="tanh"),
    "clipped softmax, gates of heads": dataclasses.replace(SMALL, clipped_softmax=-0.05, head_gates=True),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_values_and_gradients_are_the_models(name):
    config = CONFIGS[name]
    model = build(config, 3)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, *config.image_size), dtype=np.uint8))
    routings: list[Routing] = []
    expected = torch.cat([model(images, task, routings=routings)[-1] for task in config.tasks])
    made = forward_together(model, images, watch=2)
    torch.testing.assert_close(made.tokens, expected, rtol=1e-5, atol=1e-5)
    blocks = len(tuple(network_of(config).mixtures))
    for task in range(len(config.tasks)):
        for block in range(blocks):
            assert torch.equal(made.routings[block][task].index, routings[task * blocks + block].index)
    pull = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    named = dict(model.named_parameters())
    wanted = torch.autograd.grad((expected * pull).sum(), named.values(), allow_unused=True)
    actual = torch.autograd.grad((made.tokens * pull).sum(), named.values(), allow_unused=True)
    for parameter, a, b in zip(named, actual, wanted, strict=True):
        assert (a is None) == (b is None), parameter
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item(), msg=parameter)


def test_watched_are_normalised_tokens_of_the_first_images():
    model = build(SMALL, 3)
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    normed = forward_together(model, images, watch=2).normed
    # Two norms a block; the tasks part after the fourth.
    assert [len(x) for x in normed] == [2] * 4 + [4] * 4
    for x in normed:
        torch.testing.assert_close(x.square().mean(dim=-1), torch.ones(x.shape[:2]), rtol=1e-3, atol=1e-3)


def test_noise_is_the_generators_and_not_recorded():
    model, images = build(SMALL, 3), torch.full((2, 3, 32, 32), 90, dtype=torch.uint8)

    def first_routing(noise, seed):
        made = forward_together(model, images, noise=noise, generator=torch.Generator().manual_seed(seed))
        return made.routings[0][0]

    quiet, a, again, b = first_routing(0, 1), first_routing(5, 1), first_routing(5, 1), first_routing(5, 2)
    assert torch.equal(a.index, again.index) and not torch.equal(a.index, b.index)
    assert torch.equal(a.logits, quiet.logits)


def test_balance_loss_is_one_when_balanced_and_grows_when_not():
    def routing(logits):
        return Routing(logits=logits, scores=logits[:, :1], index=logits.argmax(1, keepdim=True))

    balanced, skewed = 20 * torch.eye(4), 20 * torch.eye(4)[[0, 0, 0, 1]]
    assert balance_loss([routing(balanced)]).item() == pytest.approx(1.0, abs=1e-4)
    assert balance_loss([routing(skewed)]).item() == pytest.approx(4 * (0.75**2 + 0.25**2), abs=1e-4)


def test_outlier_loss_is_of_the_excess():
    x = torch.zeros(2, 5)
    x[0, 0], x[1, 1] = OUTLIER - 0.1, -OUTLIER - 2
    assert outlier_loss([x]).item() == pytest.approx(4 / 10, rel=1e-5)
