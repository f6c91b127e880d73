"""Layers on integers by themselves: what they refuse, and a mixture as one MLP."""

from dataclasses import replace

import numpy as np
import pytest
from quantmodels import random_qmodel

from moesaic.errors import InputError
from moesaic.golden import ops_int
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.hollow import check_finer, hollow_model
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import hidden_units
from moesaic.golden.layers.moe import BARRED, QuantMoE
from moesaic.golden.saturation import Saturation

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=16, heads=2, depth=2, experts=3, expert_hidden=8)


def mixture(bits: int = 8) -> QuantMoE:
    layer = random_qmodel(MODEL, 4, bits).blocks[1].layers[1]
    assert isinstance(layer, QuantMoE)
    return layer


def gated(layer: QuantMoE) -> QuantMoE:
    """With gates that are the experts' first matrices, negated."""
    experts = (replace(e, gate=replace(e.fc1, weight=-(e.fc1.weight // 2), shift=e.fc1.shift)) for e in layer.experts)
    return replace(layer, experts=tuple(experts), activation="silu")


def test_a_function_that_opens_no_gates() -> None:
    linear = QuantLinear.zeros("fc1", 4, 8)
    sizes = {"mult": 1, "shift": 1, "wide": False}
    x = np.zeros((2, 8), np.int64)
    for activation, message in (("relu2", "an activation of gates, not RELU2"), ("relu", "")):
        if message:
            with pytest.raises(ValueError, match=message):
                hidden_units(x, linear, linear, "h", Saturation(), activation=activation, **sizes)
        else:
            units = hidden_units(x, linear, linear, "h", Saturation(), activation=activation, **sizes)
            assert list(units) == ["hidden_gate", "hidden_value", "hidden"]
    with pytest.raises(ValueError, match="function must be an activation, not INT8"):
        ops_int.hidden("h", x, 1, 1, Saturation(), wide=False, function=ops_int.Function.INT8)


@pytest.mark.parametrize(("bits", "shift"), [(8, 25), (16, 33)])
def test_the_largest_shift_that_bars_an_expert(bits: int, shift: int) -> None:
    """Its bias alone must give the lowest logit."""
    layer = mixture()
    gate = replace(next(iter(layer.gates.values())), bits=bits)
    barred = replace(layer, gates={"x": replace(gate, shift=shift)}).only_experts([2, 0]).gates["x"]
    assert (barred.bias[1], barred.mult[1], barred.weight[1].any()) == (BARRED, 65535, False)
    assert all(np.array_equal(barred.weight[e], gate.weight[e]) for e in (0, 2))
    x = np.full((1, MODEL.dim), -4096)
    assert ops_int.linear_int16(barred, x, Saturation())[0, 1] == -(1 << 15)
    with pytest.raises(ValueError, match=f"shift must be at most {shift} to bar an expert, not {shift + 1}"):
        replace(layer, gates={"x": replace(gate, shift=shift + 1)}).only_experts([2, 0])
    with pytest.raises(ValueError, match=r"experts must be 2 or more of 0..2, not \[0, 1, 3\]"):
        layer.only_experts([0, 1, 3])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("with_gates", [False, True])
def test_a_mixture_as_one_mlp_is_the_mean_of_its_experts(bits: int, with_gates: bool) -> None:
    """Hidden units bit for bit, one expert's behind the other's; what comes of them but for rounding."""
    layer = gated(mixture(bits)) if with_gates else mixture(bits)
    second = layer.experts[0].fc2  # whose scales all have, so that nothing saturates
    same = [replace(e, fc2=replace(e.fc2, mult=second.mult, shift=second.shift + 3)) for e in layer.experts]
    layer = replace(layer, experts=tuple(same))
    dense = layer.as_dense()
    normed = np.random.default_rng(1).integers(-4096, 4096, (5, MODEL.dim))
    normed = normed // 32 * 32  # both read all of it: a streamed value is half as large

    def hidden(first: QuantLinear, gate: QuantLinear | None) -> np.ndarray:
        return hidden_units(
            ops_int.read_normalised(first, normed),
            first,
            gate,
            "h",
            Saturation(),
            activation=layer.activation,
            mult=layer.hidden_mult,
            shift=layer.hidden_shift,
            wide=False,
        )["hidden"]

    units = [hidden(e.fc1, e.gate) for e in layer.experts]
    assert np.array_equal(hidden(dense.fc1, dense.gate), np.concatenate(units, axis=1))
    assert any(part.any() for part in units) and (dense.gate is not None) == with_gates
    out = [ops_int.linear_int16(e.fc2, part, Saturation()) for e, part in zip(layer.experts, units, strict=True)]
    mean = ops_int.linear_int16(dense.fc2, np.concatenate(units, axis=1), Saturation())
    assert np.abs(mean - np.mean(out, axis=0)).max() <= 1.5
    assert (dense.fc1.reads, dense.fc1.bits, dense.fc2.bits) == ("streamed", bits, bits)
    assert (dense.fc1.in_step, dense.fc2.shift) == (layer.experts[0].fc1.in_step / 2, layer.experts[0].fc2.shift)


def test_what_is_finer() -> None:
    """A layer by name, and how; nothing is asked of a network where nothing is."""
    network = network_of(MODEL)
    check_finer(network, {})
    check_finer(network, {"blocks.0.mlp": "wide"})
    with pytest.raises(InputError, match="finer layers must be of .*blocks.0.mlp.*, not 'blocks.7.mlp'"):
        check_finer(network, {"blocks.7.mlp": "wide"})
    with pytest.raises(InputError, match="blocks.0.mlp: what is finer must be one of planes, .*, not 'narrow'"):
        check_finer(network, {"blocks.0.mlp": "narrow"})
    with pytest.raises(InputError, match="blocks.1.mlp: inputs must be of 8 bits, which are stored before"):
        check_finer(network, {"blocks.1.mlp": "planes"})
    made = hollow_model(network, finer={"blocks.0.mlp": "wide", "blocks.1.attn": "planes"})
    assert [layer.finer for layer in made.layers()] == [None, "wide", "planes", None]
