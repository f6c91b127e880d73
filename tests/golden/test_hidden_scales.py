"""Hidden units scaled alike: what stays the same, what is won, and when nothing is done."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from moesaic.golden.layers.activations import FUNCTIONS
from moesaic.golden.layers.hidden_scales import SCALES, Units, degree, exact_scales, ranges_of, scale_matrices
from moesaic.golden.step_search import importance

RNG = np.random.default_rng(3)
PRE = RNG.standard_normal((600, 24)).astype(np.float32)
LARGE = PRE * np.where(np.arange(24) == 5, 20, 1).astype(np.float32)


def small_mlp(experts: int = 0) -> tuple[list[torch.Tensor], np.ndarray]:
    """Weight and bias of two matrices (of each expert), 24 units between 10 channels, and tokens."""
    draw = torch.Generator().manual_seed(4)
    lead = (experts,) if experts else ()
    shapes = ((24, 10), (24,), (10, 24), (10,))
    return [torch.randn(*lead, *shape, generator=draw) for shape in shapes], RNG.standard_normal((500, 10))


def output(parameters: list[torch.Tensor], x: torch.Tensor, activation: str) -> torch.Tensor:
    up, up_bias, down, down_bias = parameters
    return F.linear(FUNCTIONS[activation](F.linear(x, up, up_bias)), down, down_bias)


def test_degrees():
    found = {name: degree(function) for name, function in FUNCTIONS.items()}
    assert found.pop("relu2") == 2 and found.pop("sigmoid") == 0
    assert set(found.values()) == {1}


@pytest.mark.parametrize("activation", ["relu", "relu2"])
def test_homogeneous_activations_lose_nothing(activation):
    parameters, tokens = small_mlp()
    parameters[0][5] *= 50
    x = torch.from_numpy(tokens).float()
    pre = F.linear(x, *parameters[:2]).numpy()
    ranges = ranges_of([Units(pre, importance(parameters[2].numpy()))], activation, free=False, wide=False)
    assert ranges is not None and ranges.scales[0, 5] > 5 * np.median(ranges.scales)
    before, was = output(parameters, x, activation), parameters[0][5].clone()
    scale_matrices(ranges, (parameters[0], parameters[1]), (parameters[2], parameters[3]))
    assert torch.allclose(output(parameters, x, activation), before, rtol=1e-4, atol=1e-3 * float(before.abs().max()))
    assert torch.allclose(parameters[0][5] * ranges.scales[0, 5] ** (1 / ranges.degree), was)


def test_a_large_unit_is_scaled_where_that_costs_less():
    matters = np.ones(24)
    ranges = ranges_of([Units(LARGE, matters)], "gelu", free=False, wide=False)
    assert ranges is not None
    assert ranges.scales[0, 5] >= 3 and np.median(ranges.scales) == 1
    x, by = torch.from_numpy(LARGE[:, 5]), float(ranges.scales[0, 5])
    assert ranges.lost[0, 5] == pytest.approx(float((F.gelu(x) - by * F.gelu(x / by)).mean()), abs=1e-5)
    assert not ranges.lost[0, :5].any()


def test_like_units_stay_as_they_are():
    ranges = ranges_of([Units(PRE, np.ones(24))], "gelu", free=False, wide=False)
    assert ranges is not None and set(ranges.scales.ravel()) == {1.0}


def test_inputs_beyond_the_table_are_brought_back():
    for wide in (False, True):
        ranges = ranges_of([Units(30 * PRE, np.ones(24))], "gelu", free=False, wide=wide)
        assert ranges is not None
        assert (30 * PRE).max() / ranges.scales.max() < 45  # from 120: what is rare may be clipped
    inside = ranges_of([Units(LARGE / 3, np.ones(24))], "gelu", free=False, wide=True)
    assert inside is not None and set(inside.scales.ravel()) == {1.0}  # 16 bits hold any unit that the table does


def test_experts_share_a_step_but_not_scales():
    groups = [Units(PRE, np.ones(24)), Units(LARGE, np.ones(24)), Units(LARGE[:3], np.ones(24))]
    ranges = ranges_of(groups, "gelu", free=False, wide=False)
    assert ranges is not None and ranges.scales.shape == (3, 24)
    assert set(ranges.scales[0]) == {1.0} and ranges.scales[1, 5] > 1
    assert set(ranges.scales[2]) == {1.0}  # three tokens say too little
    parameters, _ = small_mlp(experts=3)
    old = [parameter.clone() for parameter in parameters]
    scale_matrices(ranges, (parameters[0], parameters[1]), (parameters[2], parameters[3]))
    assert torch.allclose(parameters[0][1, 5], old[0][1, 5] / ranges.scales[1, 5])
    assert torch.allclose(parameters[2][1, :, 5], old[2][1, :, 5] * ranges.scales[1, 5])
    assert torch.equal(parameters[3][0], old[3][0]) and not torch.equal(parameters[3][1], old[3][1])


def test_free_scales_follow_the_peaks():
    scales = exact_scales([Units(LARGE, np.ones(24)), Units(LARGE[:3], np.ones(24))])
    assert np.argmax(scales[0]) == 5 and np.exp(np.log(scales[0]).mean()) == pytest.approx(1, rel=0.1)
    assert set(scales[1]) == {1.0}


def test_nothing_to_scale():
    assert ranges_of([Units(PRE, np.ones(24))], "sigmoid", free=False, wide=False) is None
    assert ranges_of([Units(PRE, np.ones(24))], "relu", free=False, wide=True) is None
    dead = ranges_of([Units(-100 - np.abs(PRE), np.ones(24))], "gelu", free=False, wide=False)
    assert dead is not None and set(dead.scales.ravel()) == {1.0} and SCALES[0] == 1
