"""The formulas of the report, against figures worked out by hand."""

import pytest

from moesaic.golden.config import network_of, preset
from moesaic.report.numbers import array_products, needed_weight_bytes, roofline


def test_weights_of_tiny_with_all_experts() -> None:
    # 12 attentions of 4 * 192 * 192, 6 dense MLPs, 6 gates and 6 * 16 experts of 2 * 192 * 384, patches of 768 values.
    expected = 12 * 147_456 + 6 * 294_912 + 6 * 192 * 16 + 96 * 147_456 + 768 * 192
    assert needed_weight_bytes(network_of(preset("m3vit-tiny")), 12, {}) == expected == 17_860_608


def test_unused_experts_cost_nothing() -> None:
    model = network_of(preset("m3vit-tiny"))
    used = {f"blocks.{number}": 12 for number in tuple(model.mixtures)}
    assert needed_weight_bytes(model, 12, {}) - needed_weight_bytes(model, 12, used) == 6 * 4 * 147_456
    narrow = needed_weight_bytes(model, 12, used, expert_bits=4)
    assert needed_weight_bytes(model, 12, used) - narrow == 6 * 12 * 147_456 // 2
    assert needed_weight_bytes(model, 1, used) == 768 * 192 + 147_456 + 294_912


def test_sixteen_bits() -> None:
    model = network_of(preset("m3vit-tiny"))
    assert needed_weight_bytes(model, 12, {}, expert_bits=16) == 2 * needed_weight_bytes(model, 12, {})
    assert array_products(model, 12) == model.macs
    # Pixels and probabilities keep 8 bits: 129 patches of 768 values, 12 times 129 x 129 probabilities times 192
    # channels.
    expected = 4 * model.macs - 2 * 129 * 768 * 192 - 2 * 12 * 129 * 129 * 192
    assert array_products(model, 12, expert_bits=16) == expected


@pytest.mark.parametrize(
    ("macs", "weights", "bound", "fraction"),
    [(782_770_176, 17_860_608, 279_072, 0.6645), (39_190_000_000, 71_100_000, 9_567_872, 0.0)],
)
def test_roofline(macs: int, weights: int, bound: int, fraction: float) -> None:
    result = roofline(macs, weights, macs_per_cycle=4096, bytes_per_cycle=64, cycles=420_000 if fraction else None)
    assert result.bound_cycles == max(result.arithmetic_cycles, result.ddr_cycles) == bound
    assert result.fraction == (fraction or None)
