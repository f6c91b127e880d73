"""Second matrices fitted to what the first ones' integers give."""

import numpy as np
import pytest

from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.golden import weights
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.quantize import quantize
from moesaic.golden.reconstruct import LEAST, refitted
from moesaic.golden.training.scenes import render_batch


def test_errors_that_follow_the_inputs_are_made_up_for() -> None:
    """Inputs that are a known mixture of what they should be: the weights undo it, and the bias what is constant."""
    rng = np.random.default_rng(0)
    meant, weight, bias = rng.normal(size=(400, 12)), rng.normal(size=(5, 12)), rng.normal(size=5)
    seen = meant @ (np.eye(12) + 0.1 * rng.normal(size=(12, 12))) + 0.2
    wanted = meant @ weight.T + bias
    found, offset = refitted(weight, bias, seen, meant)
    errors = [float(np.square(seen @ w.T + b - wanted).mean()) for w, b in ((weight, bias), (found, offset))]
    assert errors[1] < 0.05 * errors[0]
    assert np.abs((seen @ found.T + offset - wanted).mean(axis=0)).max() < 1e-9


def test_what_is_no_better_is_left() -> None:
    rng = np.random.default_rng(1)
    meant, weight, bias = rng.normal(size=(60, 40)), rng.normal(size=(5, 40)), np.zeros(5)
    noise = meant + rng.normal(size=meant.shape) * 1e-3  # has nothing to do with the inputs, and is soon fitted
    assert refitted(weight, bias, noise, meant)[0] is weight
    assert refitted(weight, bias, 2 * meant[: LEAST - 1], meant[: LEAST - 1])[0] is weight


@pytest.fixture(scope="module")
def found() -> dict[bool, list[float]]:
    """Mean SQNR after the blocks of trained m3vit-micro with 4-bit experts, by task, without and with."""
    model, _, kind = weights.load("m3vit-micro", 0)
    seen, unseen = calibration_images(model.network, 24), render_batch(range(8), model.network.image.size)[0]
    result = {}
    for reconstruct in (False, True):
        made = quantize(model, seen, weights=kind, expert_bits=4, reconstruct=reconstruct)
        rows = [agreement(model, IntM3ViT(made, 64), unseen, task) for task in model.network.tasks]
        result[reconstruct] = [float(np.mean([row["sqnr_db"] for row in task])) for task in rows]
    return result


def test_experts_of_four_bits_gain(found: dict[bool, list[float]]) -> None:
    assert np.mean(found[True]) > np.mean(found[False]) + 0.2


def test_only_where_experts_have_four_bits() -> None:
    assert make_request(model="m3vit-micro", widths="w4a8", reconstruct=True).name.endswith("-w4a8-reconstructed")
    with pytest.raises(InputError, match="reconstruct must be left out with widths 'w8a8'"):
        make_request(model="m3vit-micro", reconstruct=True)
