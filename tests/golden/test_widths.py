"""What matrices of each width read, take and cost, and layers that are made of them."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from quantmodels import random_qmodel

from moesaic.compiler.lower import lower
from moesaic.golden import numerics
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.hollow import hollow_model
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.layers.linear import READS, QuantLinear, dropped_bits
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.stored import reading_stored
from moesaic.golden.qmodel import WIDTHS
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.functions import FUNCTIONS

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=16, heads=2, depth=2, experts=3, expert_hidden=8)
NORMALISED = np.arange(-4096, 4096)
ALL = np.arange(-(1 << 15), 1 << 15)


def test_the_largest_inputs() -> None:
    """As the sums of a matrix's weights are multiplied by them to know what an accumulator holds."""
    seen = {
        "int8": numerics.int8(ALL),
        "streamed": numerics.norm_streamed(NORMALISED),
        "planes": NORMALISED,
        "int16": numerics.digits(ALL),
    }
    assert {name: int(np.abs(values).max()) for name, values in seen.items()} == READS
    assert int(np.abs(numerics.norm_stored(NORMALISED)).max()) == READS["int8"]


@pytest.mark.parametrize("reads", ["streamed", "int8", "planes"])
def test_bits_that_are_dropped(reads: str) -> None:
    seen = {
        "streamed": numerics.norm_streamed(NORMALISED),
        "int8": numerics.norm_stored(NORMALISED),
        "planes": NORMALISED,
    }[reads]
    inner = np.abs(NORMALISED) < 4000  # what is streamed is clipped
    assert np.array_equal(seen[inner], NORMALISED[inner] >> dropped_bits(reads))
    assert dropped_bits("int16") == 0


@pytest.mark.parametrize(
    ("bits", "reads", "passes", "size", "bias_shift"),
    [
        (8, "int8", 1, 24, 0),
        (8, "streamed", 1, 24, 0),
        (8, "planes", 2, 48, 0),
        (4, "int8", 1, 12, 0),
        (4, "planes", 2, 24, 0),
        (8, "int16", 2, 48, 0),
        (16, "planes", 4, 96, 8),
        (16, "int16", 4, 96, 8),
    ],
)
def test_what_a_matrix_costs(bits: int, reads: str, passes: int, size: int, bias_shift: int) -> None:
    """Of 4 x 6 weights: blocks are streamed again for each pair of an input's and a weight's bytes."""
    linear = QuantLinear.zeros("w", 4, 6, bits=bits, reads=reads)
    assert (linear.passes, linear.stored_bytes, linear.bias_shift) == (passes, size, bias_shift)
    assert (linear.bits, linear.reads, linear.piece) == (bits, reads, "w")


@pytest.mark.parametrize("bits", WIDTHS.values())
def test_widths_of_a_network_without_weights(bits: int) -> None:
    """Of 4 bits are the experts' alone, of 16 all."""
    model = hollow_model(network_of(MODEL), bits)
    others = max(bits, 8)
    assert model.embed.bits == others and model.wide == (bits == 16) and WIDTHS[model.widths] == bits
    for matrix in model.matrices():
        assert matrix.linear.bits == (bits if matrix.expert is not None else others)
    assert model.finer == {}
    config = AcceleratorConfig(name="c", rows=8, lanes=16, port_bits=64, wide_operands=True, acc_bits=40)
    assert {type(layer.norm) for layer in model.layers()} == {QuantNorm}
    lower(model, "depth", config)  # scales fit their fields
    if bits == 8:
        assert {matrix.linear.bits for matrix in hollow_model(network_of(MODEL)).matrices()} == {8}


@pytest.mark.parametrize(("reads", "finer"), [("int8", 0), ("streamed", 1), ("planes", 5)])
def test_reading_what_is_stored(reads: str, finer: int) -> None:
    """Inputs of a larger unit, by which biases and shifts are smaller."""
    linear = replace(QuantLinear.zeros("w", 4, 6, reads=reads), shift=9, in_step=0.375)
    linear = replace(linear, bias=np.array([1000, -1000, 16, -17], np.int32))
    stored = reading_stored(linear)
    assert (stored.shift, stored.in_step, stored.reads) == (9 - finer, 0.375 * 2**finer, "int8")
    assert stored.bias.tolist() == [math.floor(bias / 2**finer + 0.5) for bias in linear.bias.tolist()]
    assert stored.bias.dtype == np.int32 and stored.out_step == linear.out_step


def test_matrices_that_are_scaled() -> None:
    """Rows of those that make values, columns of those that read them."""
    found: dict[str, int] = {}
    layers = [*hollow_model(network_of(MODEL)).layers()]
    for layer in layers:
        found |= layer.balanced
    assert {type(layer) for layer in layers} == {QuantAttention, QuantMLP, QuantMoE}
    rows = [f"blocks.{block}.attn.{part}" for block in (0, 1) for part in "qkv"] + ["blocks.0.mlp.fc1"]
    columns = ["blocks.0.attn.proj", "blocks.1.attn.proj", "blocks.0.mlp.fc2"]
    rows += [f"blocks.1.mlp.experts.{expert}.fc1" for expert in range(3)]
    columns += [f"blocks.1.mlp.experts.{expert}.fc2" for expert in range(3)]
    assert found == dict.fromkeys(rows, 1) | dict.fromkeys(columns, 0)


EXACT: dict[str, Callable[[float], float]] = {
    "gelu": lambda v: 0.5 * v * math.erfc(-v / math.sqrt(2)),
    "gelu_tanh": lambda v: 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "quick_gelu": lambda v: v / (1 + math.exp(-1.702 * v)),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_of_an_activations_units(name: str) -> None:
    """Or none in particular, where the activation is homogeneous."""
    point = ACTIVATIONS[name]
    if name not in EXACT:
        assert name in ("relu", "relu2") and point.taken is point.given is None
        return
    curve = FUNCTIONS[point.function].activation
    assert curve is not None and point.taken is not None and point.given is not None
    codes = ALL[::37]
    exact = np.array([EXACT[name](float(value)) for value in codes * point.taken])
    assert np.abs(numerics.activation(curve, codes) * point.given - exact).max() < 1.2e-3


@pytest.mark.parametrize(("renormalise", "top_k"), [(True, 1), (True, 2), (False, 2)])
@pytest.mark.parametrize(("louder", "shift"), [(0, 0), (1, 2), (9, 0)])
def test_experts_by_logits_without_range(renormalise: bool, top_k: int, louder: int, shift: int) -> None:
    """Powers of two, however far apart: the loudest gate's reach from 1 to less than there is a number for."""
    layer = random_qmodel(MODEL, 4).blocks[1].layers[1]
    assert isinstance(layer, QuantMoE)
    layer = replace(layer, renormalise=renormalise, top_k=top_k)
    read = np.random.default_rng(0).integers(-4096, 4096, (50, MODEL.dim))
    gate = layer.gates["depth"]
    gate = replace(gate, mult=np.full(3, 60000, np.uint16), shift=gate.shift + 1 - louder)
    exact = ((read @ gate.weight.T.astype(np.int64)) + gate.bias) * gate.mult.astype(float)
    logits = exact / 2.0 ** (gate.shift + 10 - shift)
    assert (np.ptp(logits) > 1100) == (louder == 9)
    index, score = layer._choice_without_range(gate, read, shift)
    assert np.array_equal(index, np.argsort(-logits, axis=1, kind="stable")[:, :top_k])
    share = 2.0 ** (logits - logits.max(axis=1, keepdims=True))
    chosen = np.take_along_axis(share, index, axis=1)
    wanted = 65536 * chosen / (chosen if renormalise else share).sum(axis=1, keepdims=True)
    assert np.abs(score - np.minimum(wanted, 65535)).max() <= 1
    if top_k == 1 or louder == 9:
        assert score.max() == 65535  # 1 has no room
