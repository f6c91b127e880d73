"""Quantisation: scales, rounding, files, errors, and how near the integers come to float."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from moesaic.golden import quantfile
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import M3ViTConfig, network_of, preset
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.layers.norm_float import quantise_norm
from moesaic.golden.layers.sizes import NormSizes
from moesaic.golden.m3vit import M3ViT, build
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.ops_int import linear_int16, norm
from moesaic.golden.qlinear import check_accumulator, quantise_linear
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import load, quantize, residual_steps, save
from moesaic.golden.saturation import Saturation
from moesaic.golden.scales import METHODS, mult_shift, row_steps, tensor_step
from moesaic.golden.training.scenes import render_batch

torch.set_num_threads(1)  # tensors this small only lose by more

CONFIG = M3ViTConfig(
    name="tiny",
    image_size=(16, 16),
    patch_size=8,
    dim=16,
    heads=2,
    depth=2,
    mlp_ratio=2.0,
    experts=4,
    expert_hidden=8,
    top_k=2,
)


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 3, *CONFIG.image_size), dtype=np.uint8)


@pytest.fixture(scope="module")
def quantised() -> QuantModel:
    return quantize(build(CONFIG, 1), images(), weights="seeded")


def linears(q: QuantModel) -> list[QuantLinear]:
    found = [q.embed]
    for block in q.blocks:
        a = block.layers[0]
        found += [a.q, a.k, a.v, a.proj]
        if isinstance(block.layers[1], QuantMoE):
            found += [*block.layers[1].gates.values(), *(m for e in block.layers[1].experts for m in (e.fc1, e.fc2))]
        else:
            found += [block.layers[1].fc1, block.layers[1].fc2]
    return found


def test_experts_of_four_bits(quantised, tmp_path):
    q = quantize(build(CONFIG, 1), images(), weights="seeded", expert_bits=4)
    assert (q.widths, quantised.widths) == ("w4a8", "w8a8")
    for linear in linears(q):
        narrow = ".experts." in linear.name
        assert linear.bits == (4 if narrow else 8)
        assert not narrow or (linear.weight.min() >= -8 and linear.weight.max() <= 7)
    save(q, tmp_path / "q")
    assert load(tmp_path / "q").widths == "w4a8"
    with pytest.raises(ValueError, match="expert_bits must be 16, 8 or 4, not 3"):
        quantize(build(CONFIG, 1), images(), weights="seeded", expert_bits=3)
    plain = dataclasses.replace(CONFIG, experts=0)
    with pytest.raises(ValueError, match="expert_bits must be 8 for tiny, which has no experts, not 4"):
        quantize(build(plain, 1), images(), weights="seeded", expert_bits=4)


def test_steps_of_known_tensors():
    assert tensor_step(np.array([-2.54, 1.0]), "minmax") == pytest.approx(0.02)
    assert tensor_step(np.zeros(5), "mse") == 1 / 127
    outlier = np.append(np.random.default_rng(0).standard_normal(20000), 30.0)
    assert tensor_step(outlier, "percentile") < 6 / 127 < tensor_step(outlier, "minmax")

    def error(step: float) -> float:
        return float(np.square(np.clip(np.rint(outlier / step), -128, 127) * step - outlier).sum())

    best = min(error(s) for s in np.linspace(1, 30, 300) / 127)
    assert error(tensor_step(outlier, "mse")) < 1.02 * best
    assert row_steps(np.array([[1.27, -0.5], [0.0, 0.0]]), "minmax").tolist() == pytest.approx([0.01, 0.0])
    with pytest.raises(ValueError, match="method must be one of minmax, percentile, mse, not 'max'"):
        tensor_step(outlier, "max")
    with pytest.raises(ValueError, match="calibration values must be finite, not nan"):
        tensor_step(np.array([1.0, math.nan]), "mse")


@pytest.mark.parametrize("ratio", [1e-9, 0.1, 0.5, 1.0, 65535 / 65536, 65535.9 / 131072, 3.0, 40000.0])
def test_mult_shift_uses_sixteen_bits(ratio):
    mult, shift = mult_shift(ratio)
    assert 32768 <= mult <= 65535 and 0 <= shift <= 62
    assert mult * 2.0**-shift == pytest.approx(ratio, rel=2**-15)


def test_mult_shift_limits():
    assert mult_shift(2**-20, max_shift=31) == (2048, 31)
    with pytest.raises(ValueError, match=r"scale must be below 2\^16, not 70000.0"):
        mult_shift(70000.0, name="scale")
    with pytest.raises(ValueError, match="scale must be positive and finite, not 0.0"):
        mult_shift(0.0, name="scale")


def test_linear_by_hand():
    # Steps 1/127 and 0.5/127 of the rows; output step 2: ratios 1/254 and 1/508 of the accumulator.
    q = quantise_linear(
        "x", np.array([[1.0, -0.5], [0.25, 0.5]]), np.array([3.0, 0.0]), in_step=1.0, out_step=2.0, method="minmax"
    )
    assert q.shift == 23 and q.mult.tolist() == [math.ceil(2**23 / 254), math.ceil(2**23 / 508)]
    assert q.weight.tolist() == [[127, -63], [63, 127]]  # multipliers are rounded up, so 63.5 falls to 63
    assert q.bias.tolist() == [381, 0]
    assert linear_int16(q, np.array([[100, 20]]), Saturation()).tolist() == [
        [47, 17]
    ]  # (100 - 10 + 3) / 2 and (25 + 10) / 2, less the half


def test_four_bits():
    """Whole range, half a step at most where nothing is clipped, and better than rounding where inputs are
    correlated.
    """
    rng = np.random.default_rng(8)
    weight, bias = rng.standard_normal((24, 64)), rng.standard_normal(24)
    x = rng.standard_normal((2000, 64)) @ rng.standard_normal((64, 64)) * 0.2
    step = tensor_step(x, "minmax")
    wanted = np.clip(np.rint(x / step), -128, 127) * step @ weight.T + bias

    def error(**options: object) -> float:
        q = quantise_linear("x", weight, bias, in_step=step, out_step=np.abs(wanted).max() / 30000, **options)
        assert q.bits == options.get("bits", 8)
        if q.bits == 4:
            assert q.weight.min() == -8 and q.weight.max() == 7
        out = linear_int16(q, np.clip(np.rint(x / step), -128, 127).astype(np.int64), Saturation()) * q.out_step
        return float(np.sqrt(np.square(out - wanted).mean() / np.square(wanted).mean()))

    plain, compensated = error(bits=4), error(bits=4, inputs=x)
    assert error(inputs=x) < 0.01 < compensated < 0.75 * plain < 0.12
    assert error(bits=4, method="minmax", inputs=x) > 1.03 * compensated
    q = quantise_linear("x", weight, bias, in_step=step, out_step=1.0, method="minmax", bits=4)
    row = np.ldexp(q.mult.astype(float), -q.shift) / step
    assert np.abs(q.weight * row[:, None] - weight).max() <= 0.5 * row.max()
    with pytest.raises(ValueError, match="x: bits must be 16, 8 or 4, not 5"):
        quantise_linear("x", weight, bias, in_step=1.0, out_step=1.0, bits=5)


def test_linear_is_as_near_as_its_bits_allow():
    rng = np.random.default_rng(3)
    weight, bias = rng.standard_normal((12, 40)) * np.geomspace(0.01, 1, 12)[:, None], rng.standard_normal(12)
    mixing = rng.standard_normal((40, 40)) * 0.4
    x = rng.integers(-100, 100, (500, 40)) @ mixing
    step = tensor_step(x, "minmax")
    seen = np.clip(np.rint(x / step), -128, 127).astype(np.int64)
    wanted = seen * step @ weight.T + bias
    errors = {}
    for inputs in (None, x):
        q = quantise_linear("x", weight, bias, in_step=step, out_step=np.abs(wanted).max() / 30000, inputs=inputs)
        assert 32768 <= q.mult.max() <= 65535
        errors[inputs is None] = np.square(linear_int16(q, seen, Saturation()) * q.out_step - wanted).sum()
    assert errors[True] < 1e-3 * np.square(wanted).sum()
    assert errors[False] < 0.75 * errors[True]  # compensation pays where inputs are correlated


def test_linear_corner_cases():
    q = quantise_linear("x", np.zeros((2, 3)), np.array([0.0, 5.0]), in_step=0.1, out_step=0.01)
    assert linear_int16(q, np.array([[127, -128, 3]]), Saturation()).tolist() == [[0, 500]]
    huge = quantise_linear("x", np.full((1, 3), 1e-6), np.array([9.0]), in_step=0.1, out_step=0.001)
    assert linear_int16(huge, np.zeros((1, 3), int), Saturation()).tolist() == [[9000]]
    with pytest.raises(ValueError, match="blocks.0.mlp.fc1: inputs must be fewer for accumulators of 20 bits, not 40"):
        quantise_linear("blocks.0.mlp.fc1", np.ones((2, 40)), np.zeros(2), in_step=1.0, out_step=1.0, acc_bits=20)
    with pytest.raises(ValueError, match="x: output step must be above"):
        quantise_linear("x", np.ones((2, 4)), np.zeros(2), in_step=1e9, out_step=1.0)
    wild = dataclasses.replace(q, name="blocks.1.attn.q", bias=np.array([0, 1 << 26], np.int32))
    with pytest.raises(
        ValueError, match=r"blocks.1.attn.q: sums must be below 2\^26 for accumulators of 27 bits, not 67108864"
    ):
        check_accumulator(wild)


def test_norm_normalises():
    config = preset("m3vit-micro")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, config.dim)) * 3 + rng.standard_normal((50, 1))
    step = 1e-3
    whole = np.rint(x / step).astype(np.int64)
    plain = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + config.eps)
    q = quantise_norm(
        "n", NormSizes(eps=config.eps), config.dim, residual_step=step, step=float(np.abs(plain).max()) / 255
    )
    assert np.abs(norm(q, whole, Saturation()) - plain / q.step).max() < 0.9
    with pytest.raises(ValueError, match=r"n: epsilon must be below 2\^40 in squared residual steps, not"):
        quantise_norm("n", NormSizes(eps=config.eps), config.dim, residual_step=1e-9, step=0.03)


def test_residual_steps_grow_by_powers_of_two():
    steps = residual_steps([1.0, 3.0, 2.0, 9.0])
    assert steps[0] == pytest.approx(2 / 32767)
    assert [b / a for a, b in itertools.pairwise(steps)] == [4.0, 1.0, 4.0]
    jump = residual_steps([1.0, 1e6])
    assert jump[1] / jump[0] == 128.0 and jump[1] >= 2e6 / 32767


def test_model_keeps_the_contract(quantised):
    for linear in linears(quantised):
        check_accumulator(linear)
        assert linear.weight.dtype == np.int8 and linear.bias.dtype == np.int32 and linear.mult.dtype == np.uint16
        assert 0 <= linear.shift <= 62 and linear.mult.min() >= 1 and linear.mult.max() >= 32768
        assert linear.weight.min() >= -127
    assert quantised.position.dtype == np.int16
    old = quantised.embed_step
    for block in quantised.blocks:
        a = block.layers[0]
        assert block.residual_step == old * 2**a.residual_shift and 0 <= a.residual_shift <= 7
        assert a.proj.out_step == block.residual_step
        assert a.context_step == pytest.approx(a.v.out_step * 2.0**a.context_shift / a.context_mult)
        for n in (a.norm, block.layers[1].norm):
            assert n.shift <= 36 and 1 <= n.epsilon < 1 << 40 and 32768 <= n.scale <= 65535
        assert block.layers[1].hidden_step == pytest.approx(
            2.0**-10 * 2.0 ** block.layers[1].hidden_shift / block.layers[1].hidden_mult
        )
        if isinstance(block.layers[1], QuantMoE):
            assert 0 <= block.layers[1].score_shift <= 31
            for expert in block.layers[1].experts:
                assert expert.fc2.out_step == block.residual_step * 2.0 ** (16 - block.layers[1].score_shift)
        old = block.residual_step


def test_class_token_is_exact(quantised):
    model = build(CONFIG, 1)
    wanted = (model.cls_token[0, 0] + model.pos_embed[0, 0]).detach().numpy()
    row = (
        linear_int16(quantised.embed, np.zeros((1, network_of(CONFIG).image.patch_values), np.int64), Saturation())[0]
        + quantised.position[0]
    )
    assert np.abs(row * quantised.embed_step - wanted).max() <= 0.51 * quantised.embed_step


def test_experts_are_ordered_by_use(quantised):
    moe = quantised.blocks[1].layers[1]
    assert isinstance(moe, QuantMoE)
    for task in CONFIG.tasks:
        assert sorted(moe.order[task]) == [0, 1, 2, 3]
        used = [moe.usage[task][e] for e in moe.order[task]]
        assert used == sorted(used, reverse=True)


def test_experts_nobody_chose_are_finite():
    model = build(CONFIG, 1)
    with torch.no_grad():
        for gate in model.blocks[1].mlp.gate:
            gate.w_gate.zero_()  # ties: experts 0 and 1 take every token
    q = quantize(model, images(), weights="seeded")
    moe = q.blocks[1].layers[1]
    assert isinstance(moe, QuantMoE)
    assert moe.order["semseg"] == (0, 1, 2, 3) and moe.usage["semseg"] == (1.0, 1.0, 0.0, 0.0)
    for expert in moe.experts:
        assert np.abs(expert.fc1.weight).max() >= 100 and np.abs(expert.fc2.weight).max() >= 100
    assert IntM3ViT(q, 4).run(images()[0], 0, forced_experts=[2, 3])[1].any()


def test_file_round_trip(tmp_path, quantised):
    path = tmp_path / "q.safetensors"
    save(quantised, path)
    again = load(path)
    first, second = {}, {}
    assert quantfile.encode(again, "", first) == quantfile.encode(quantised, "", second)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype and np.array_equal(array, second[name]), name
    assert again.network == network_of(CONFIG)
    assert np.array_equal(IntM3ViT(again, 4).run(images()[0], 1)[1], IntM3ViT(quantised, 4).run(images()[0], 1)[1])
    assert [p.name for p in tmp_path.iterdir()] == ["q.safetensors"]


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="quantised model must be a file"):
        load(tmp_path / "none")
    path = tmp_path / "x"
    path.write_bytes(b"not one")
    with pytest.raises(ValueError, match="quantised model must be a file that save wrote"):
        load(path)
    save_file({"a": np.zeros(1)}, path)
    with pytest.raises(ValueError, match="format must be moesaic-quantised-4, not None"):
        load(path)
    save_file(
        {"a": np.zeros(1)},
        path,
        metadata={"format": quantfile.FORMAT, "model": json.dumps({"type": "Spam", "fields": {}})},
    )
    with pytest.raises(ValueError, match="quantised model must be a file that save wrote"):
        load(path)


def test_failed_save_leaves_nothing(tmp_path, quantised):
    broken = dataclasses.replace(quantised, weights=object())
    with pytest.raises(TypeError):
        save(broken, tmp_path / "q")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "max"}, "method must be one of minmax, percentile, mse, not 'max'"),
        ({"weights": "guessed"}, "weights must be one of trained, seeded, imported, partly seeded, not 'guessed'"),
        ({"images": images().astype(float)}, "calibration images must be uint8, not 'float64'"),
        (
            {"images": images()[:0]},
            (
                r"calibration images must be \[n, 3, 16, 16\] with n >= 1, not \[0, 3, "
                r"16, 16\]"
            ),
        ),
        ({"images": images()[0]}, r"calibration images must be \[n, 3, 16, 16\]"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"model": build(CONFIG, 1), "images": images(1), "weights": "seeded", **change}
    with pytest.raises(ValueError, match=message):
        quantize(**arguments)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_parameters_that_are_not_finite_are_named(value):
    model: M3ViT = build(CONFIG, 1)
    with torch.no_grad():
        model.blocks[1].mlp.experts.h4toh.bias[3, 2] = value
    with pytest.raises(
        ValueError,
        match=r"parameters must be finite, not so in "
        r"blocks\.1\.mlp\.experts\.h4toh\.bias",
    ):
        quantize(model, images(1), weights="seeded")


@pytest.mark.parametrize("method", METHODS)
def test_micro_is_near_float(method):
    config = preset("m3vit-micro")
    model = build(config, 0)
    q = quantize(model, calibration_images(network_of(config), 4), weights="seeded", method=method)
    rows = agreement(model, IntM3ViT(q, 8), render_batch(range(2), config.image_size)[0], "semseg")
    assert [row["kind"] for row in rows] == ["dense", "moe", "dense", "moe"]
    assert [row["routing_agreement"] is None for row in rows] == [True, False, True, False]
    assert rows[0]["sqnr_db"] > 33 and rows[-1]["sqnr_db"] > 23
    assert all(row["cosine"] > 0.995 for row in rows)
    assert all(row["routing_agreement"] > 0.9 for row in rows if row["kind"] == "moe")
