"""What cannot be compiled is refused by name, before anything is written."""

import dataclasses
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from quantmodels import layer_replaced, random_qmodel

from moesaic.compiler.check import _check_linear
from moesaic.compiler.ir import CompileError
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.hw.spec.config import AcceleratorConfig

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=2, experts=4, expert_hidden=16)
CONFIG = AcceleratorConfig(name="c", rows=8, lanes=16, port_bits=64, max_tokens=64, max_dim=128, max_top_k=2)


@pytest.mark.parametrize(
    ("model", "config", "options", "message"),
    [
        ({}, {}, {"tasks": ["flow"]}, "task must be one of semseg, depth, not 'flow'"),
        ({}, {}, {"tasks": []}, "tasks must be at least one of semseg, depth"),
        ({}, {}, {"blocks": 3}, "blocks must be between 1 and 2, not 3"),
        ({}, {}, {"blocks": 0}, "blocks must be between 1 and 2, not 0"),
        ({}, {}, {"speculate": -1}, "speculate must be 0 or more experts, not -1"),
        (
            {"image_size": (64, 64)},
            {},
            {},
            r"model 'm': tokens must be at most 64 \(max_tokens\) on configuration 'c', not 65",
        ),
        ({"dim": 144}, {}, {}, r"dim must be at most 128 \(max_dim\) on configuration 'c', not 144"),
        ({"experts": 20}, {}, {}, "layer 'blocks.1.mlp': experts must be at most 16 on configuration 'c', not 20"),
        ({"top_k": 3}, {}, {}, "layer 'blocks.1.mlp': top_k must be from 1 to 2 on configuration 'c', not 3"),
        ({}, {"acc_bits": 20}, {}, r"layer 'embed': accumulator must be below 2\*\*19 \(acc_bits 20\), not "),
        ({"image_size": (56, 64)}, {"acc_bits": 21}, {}, r"context accumulator must be below 2\*\*20 .* not 1867776"),
        (
            {},
            {"kv_words": 16},
            {},
            r"buffer 'blocks.0.attn.\w' of 10 words .* the kv memory of 16 words .* is 4 words \(64 bytes\) short",
        ),
        (
            {},
            {"residual_words": 8},
            {},
            r"buffer 'residual' of 10 words .*\(residual_words\) is 2 words \(64 bytes\) short",
        ),
        (
            {},
            {"activation_words": 16},
            {},
            "op 'embed': no chunk of tokens is small enough: buffer 'image' of 60 words",
        ),
    ],
)
def test_refused(model, config, options, message):
    with pytest.raises(CompileError, match=message):
        compile_model(random_qmodel(dataclasses.replace(MODEL, **model), 0), CONFIG.replace(**config), **options)


def test_layers_are_checked():
    qmodel = random_qmodel(MODEL, 0)

    def with_mlp(mlp: object) -> object:
        return dataclasses.replace(qmodel, blocks=(layer_replaced(qmodel.blocks[0], 1, mlp), *qmodel.blocks[1:]))

    class Convolution(QuantMLP):
        kind = "convolution"

    dense = qmodel.blocks[0].layers[1]
    unknown = Convolution(**{field.name: getattr(dense, field.name) for field in dataclasses.fields(dense)})
    kinds = "attention, mlp, moe"
    with pytest.raises(CompileError, match=f"layer behind 'blocks.0.norm2': kind must be one of {kinds}, not 'conv"):
        compile_model(with_mlp(unknown), CONFIG)
    for change, message in (
        ({"mult": np.full(128, 65536)}, r"layer 'blocks.0.mlp.fc1': mult must be uint16, not 65536"),
        ({"bias": np.full(128, 2**31)}, "layer 'blocks.0.mlp.fc1': bias must be int32"),
        ({"weight": np.full((128, 32), 128)}, "layer 'blocks.0.mlp.fc1': weight must be int8"),
        ({"bias": np.zeros(7)}, r"layer 'blocks.0.mlp.fc1': bias must be of shape \(128,\), not \(7,\)"),
    ):
        with pytest.raises(CompileError, match=message):
            compile_model(with_mlp(dataclasses.replace(dense, fc1=dataclasses.replace(dense.fc1, **change))), CONFIG)


@pytest.mark.parametrize(
    ("reads", "weight", "acc_bits"),
    [("int8", 1, 8), ("int8", 127, 14), ("streamed", 2, 9), ("streamed", 3, 10), ("planes", 8, 16), ("int16", 4, 18)],
)
def test_the_largest_accumulator(reads: str, weight: int, acc_bits: int) -> None:
    """The weights' magnitudes times the largest input that there is must be below the limit."""
    weights = np.array([[-weight, 0], [1, 0]], np.int8)
    linear = QuantLinear("w", weights, *np.ones((2, 2), int), 0, 1.0, 1.0, reads=reads)
    message = rf"layer 'w': accumulator must be below 2\*\*{acc_bits - 1} \(acc_bits {acc_bits}\), not"
    for bits, refused in ((acc_bits + 1, nullcontext()), (acc_bits, pytest.raises(CompileError, match=message))):
        # Narrower than a configuration may be.
        config = SimpleNamespace(name="c", acc_bits=bits, wide_operands=True)
        with refused:
            _check_linear(linear, config, (2, 2), (reads,))


@pytest.mark.parametrize(
    ("part", "low", "high", "what"),
    [
        ("mult", 0, 65535, "mult must be uint16"),
        ("bias", -(2**31), 2**31 - 1, "bias must be int32"),
        ("weight", -128, 127, "weight must be int8"),
        ("narrow", -8, 7, "weight must be int4"),
        ("wide", -32768, 32639, "weight must be int16"),  # two signed bytes
    ],
)
def test_the_largest_and_the_smallest_value(part: str, low: int, high: int, what: str) -> None:
    bits = {"narrow": 4, "wide": 16}.get(part, 8)
    plain = QuantLinear("w", np.ones((2, 2), int), *np.ones((2, 2), int), 0, 1.0, 1.0, bits=bits)
    name = part if hasattr(plain, part) else "weight"
    config = CONFIG.replace(wide_operands=True, acc_bits=40)
    for value in (low, low + 1, high - 1, high, low - 1, high + 1):
        array = np.ones_like(getattr(plain, name))
        array.flat[-1] = value
        refused = pytest.raises(CompileError, match=f"layer 'w': {what}, not {value if value > high else ''}")
        with nullcontext() if low <= value <= high else refused:
            _check_linear(dataclasses.replace(plain, **{name: array}), config, (2, 2), ("int8",))


def test_narrow_weights_are_checked():
    qmodel = random_qmodel(MODEL, 0, expert_bits=4)
    compile_model(qmodel, CONFIG)
    with pytest.raises(
        CompileError,
        match=r"layer 'blocks.1.mlp.experts.2.fc1': weights must be of 8 bits on configuration 'c', which has no "
        r"narrow_weights, not 4",
    ):
        compile_model(qmodel, CONFIG.replace(narrow_weights=False))
    expert = qmodel.blocks[1].layers[1].experts[0]
    for change, message in (
        (
            {"weight": np.where(expert.fc1.weight == -8, 8, expert.fc1.weight).astype(np.int8)},
            "weight must be int4, not 8",
        ),
        (
            {"weight": np.where(expert.fc1.weight == -8, -9, expert.fc1.weight).astype(np.int8)},
            "weight must be int4, not -9",
        ),
        ({"bits": 5}, "bits must be 16, 8 or 4, not 5"),
    ):
        fc1 = dataclasses.replace(expert.fc1, **change)
        experts = (dataclasses.replace(expert, fc1=fc1), *qmodel.blocks[1].layers[1].experts[1:])
        mlp = dataclasses.replace(qmodel.blocks[1].layers[1], experts=experts)
        wrong = dataclasses.replace(qmodel, blocks=(qmodel.blocks[0], layer_replaced(qmodel.blocks[1], 1, mlp)))
        with pytest.raises(CompileError, match=f"layer 'blocks.1.mlp.experts.0.fc1': {message}"):
            compile_model(wrong, CONFIG)


def test_gates_are_checked():
    """A gate and its values are one matrix of the weight stream; who has no unit for them says so."""
    qmodel = random_qmodel(MODEL, 0)
    dense = qmodel.blocks[0].layers[1]
    gate = dataclasses.replace(dense.fc1, name="blocks.0.mlp.gate_proj")

    def compiled(config: AcceleratorConfig, activation: str = "gelu", **changes: object) -> None:
        mlp = dataclasses.replace(dense, gate=dataclasses.replace(gate, **changes), activation=activation)
        compile_model(dataclasses.replace(qmodel, blocks=(layer_replaced(qmodel.blocks[0], 1, mlp),)), config)

    compiled(CONFIG)
    for change, message in (
        ({"shift": gate.shift + 1}, f"shift must be {gate.shift}, as its values', not {gate.shift + 1}"),
        ({"bits": 4, "weight": gate.weight >> 4}, "bits must be 8, as its values', not 4"),
        ({"reads": "planes", "weight": gate.weight >> 5}, "reads must be 'streamed', as its values', not 'planes'"),
    ):
        with pytest.raises(CompileError, match=f"layer 'blocks.0.mlp.gate_proj': {message}"):
            compiled(CONFIG, **change)
    with pytest.raises(CompileError, match="layer 'blocks.0.mlp': MLP must not be gated on configuration 'c'"):
        compiled(CONFIG.replace(gated_mlp=False))
    with pytest.raises(CompileError, match="activation must be one that has a unit .* not 'silu': set silu = true"):
        compiled(CONFIG.replace(silu=False), "silu")
    compiled(CONFIG, "silu")


def test_a_field_that_does_not_fit_names_the_operation():
    qmodel = random_qmodel(MODEL, 0)
    mlp = dataclasses.replace(qmodel.blocks[0].layers[1], hidden_shift=32)
    wrong = dataclasses.replace(qmodel, blocks=(layer_replaced(qmodel.blocks[0], 1, mlp), *qmodel.blocks[1:]))
    with pytest.raises(
        CompileError, match="op 'blocks.0.mlp.fc1': field 'post_shift' must be between 0 and 31, not 32"
    ):
        compile_model(wrong, CONFIG)
