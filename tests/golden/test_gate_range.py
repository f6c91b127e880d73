"""Gates whose logits are large: each has a step of its own, and nothing is lost to what it would be without a range."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from moesaic.golden import numerics, ops_int
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation.metrics import Distance
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.layers.moe_float import LOG2E, LOGIT_MARGIN
from moesaic.golden.m3vit import M3ViT, seeded
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.numerics import Array
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.saturation import Saturation
from moesaic.golden.trace import Trace
from moesaic.golden.training.scenes import render_batch
from moesaic.hw.spec.tables import LOGIT_FRACTION_BITS

FACTORS = {"within 32": 1.0, "up to 100": 21.0}  # of the gates' weights
FINER = LOGIT_FRACTION_BITS  # bits, of logits without a range


@functools.cache
def network(factor: float) -> M3ViT:
    config = dataclasses.replace(preset("m3vit-micro"), depth=2, tasks=("semseg",))
    model = seeded(network_of(config), 3)
    for name, parameter in model.named_parameters():
        if name.endswith("w_gate"):
            parameter.data *= factor
    return model


@functools.cache
def quantised(factor: float, bits: int) -> QuantModel:
    model = network(factor)
    return quantize(model, calibration_images(model.network), weights="seeded", expert_bits=bits)


def mixtures(qmodel: QuantModel) -> Iterator[QuantMoE]:
    for block in qmodel.blocks:
        for layer in block.layers:
            if isinstance(layer, QuantMoE):
                yield layer


def fidelity(factor: float, bits: int, trace: Trace | None = None) -> float:
    """SQNR of the residual over two scenes that were not calibrated on, decibels."""
    model, qmodel = network(factor), quantised(factor, bits)
    integer, distance = IntM3ViT(qmodel, 8), Distance()
    for seed, image in enumerate(render_batch(range(2), model.network.image.size)[0]):
        with torch.no_grad():
            wanted = model(image[None], "semseg")[-1][0].numpy()
        found = integer.run(image, "semseg", trace=trace if seed == 0 else None)[-1]
        distance.add(wanted, found * qmodel.blocks[-1].residual_step)
    return distance.sqnr_db


def without_range(monkeypatch: pytest.MonkeyPatch, qmodel: QuantModel) -> None:
    """Logits of the integer model of as many bits as it takes, `FINER` more of them below the point."""
    names = {gate.name for layer in mixtures(qmodel) for gate in layer.gates.values()}
    linear_int16 = ops_int.linear_int16

    def linear(matrix: QuantLinear, x: Array, saturation: Saturation, **allowed: float) -> Array:
        if matrix.name not in names:
            return linear_int16(matrix, x, saturation)
        bias = matrix.bias.astype(np.int64) << matrix.bias_shift
        acc = (ops_int.matmul(x, matrix.weight) + bias) * matrix.mult.astype(np.int64)
        return numerics.round_shift(acc, matrix.shift - FINER)

    def routed(logits: Array, top_k: int, *, renormalise: bool, shift: int) -> tuple[Array, Array]:
        assert not renormalise
        index = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
        weight = 2.0 ** ((logits - logits.max(axis=1, keepdims=True)) * 2.0 ** (shift - LOGIT_FRACTION_BITS - FINER))
        score = np.take_along_axis(weight / weight.sum(axis=1, keepdims=True), index, axis=1)
        return index, np.minimum(np.rint(65536 * score), 65535).astype(np.int64)

    monkeypatch.setattr(ops_int, "linear_int16", linear)
    monkeypatch.setattr(numerics, "route", routed)


@pytest.mark.parametrize(("bits", "allowed"), [(8, 1.0), (16, 2.0)], ids=["w8a8", "w16a16"])
def test_large_logits_lose_nothing(monkeypatch: pytest.MonkeyPatch, bits: int, allowed: float) -> None:
    factor, trace = FACTORS["up to 100"], Trace(only=("gate.logits",))
    qmodel, found = quantised(factor, bits), fidelity(factor, bits, trace)
    (layer,), (logits,) = mixtures(qmodel), trace.values()
    unit = 2.0 ** (layer.logit_shifts["semseg"] - LOGIT_FRACTION_BITS) / LOG2E
    assert 90 < np.abs(logits).max() * unit < 110
    assert np.abs(logits.astype(int)).max() < 32767
    ordered = np.sort(logits, axis=1)[:, ::-1]
    assert np.mean(ordered[:, 1] == ordered[:, 2]) <= 0.02  # second and third, of which one is chosen
    without_range(monkeypatch, qmodel)
    assert found >= fidelity(factor, bits) - allowed


def test_a_gate_within_the_finest_range_has_the_finest_step() -> None:
    (layer,) = mixtures(quantised(FACTORS["within 32"], 8))
    assert layer.logit_shifts == {"semseg": 0}
    (large,) = mixtures(quantised(FACTORS["up to 100"], 8))
    assert large.logit_shifts["semseg"] in (3, 4)
    gate = large.gates["semseg"]
    assert gate.out_step * LOG2E == 2.0 ** (large.logit_shifts["semseg"] - LOGIT_FRACTION_BITS)
    assert LOGIT_MARGIN >= 1.5
