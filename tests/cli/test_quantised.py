"""The key of the cache covers all sources that decide the result."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from quantmodels import random_qmodel

from moesaic.flow import quantised
from moesaic.flow.calibration import Calibration
from moesaic.flow.model_fit import fitting
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden import quantfile
from moesaic.golden.config import PRESETS, network_of
from moesaic.golden.hollow import hollow_model
from moesaic.golden.qmodel import QuantModel


def test_source_hash_follows_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before, find = quantised.source_hash("moesaic.golden.quantize"), quantised._source
    assert before == quantised.source_hash("moesaic.golden.quantize")
    for module in (
        "moesaic.golden.numerics",
        "moesaic.golden.training.street",
        "moesaic.hw.spec.tables",
        "moesaic.golden.m3vit",
    ):
        changed = tmp_path / f"{hashlib.sha256(module.encode()).hexdigest()}.py"
        changed.write_bytes(find(module).read_bytes() + b"\n")
        monkeypatch.setattr(
            quantised, "_source", lambda name, module=module, changed=changed: changed if name == module else find(name)
        )
        assert quantised.source_hash("moesaic.golden.quantize") != before, module


@pytest.mark.parametrize("model", sorted(PRESETS))
def test_every_model_fits_its_usual_board(model: str) -> None:
    fitting(make_request(model=model), Stages(quiet=True))


def test_hollow_model_has_the_shapes() -> None:
    model = network_of(PRESETS["m3vit-tiny"])
    hollow = hollow_model(model)
    size = hollow.embed.weight.size + sum(
        linear.weight.size
        for block in hollow.blocks
        for linear in (block.layers[0].q, block.layers[0].k, block.layers[0].v, block.layers[0].proj)
    )
    assert size == model.embed_weight_bytes + 12 * 4 * 192 * 192


@pytest.mark.parametrize("bit", [0, 8 * 5000 + 3, -1])
def test_a_damaged_network_is_quantised_again(
    bit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = make_request(model="m3vit-micro")
    network, images = quantised.load_float(request), np.zeros((1, 3, *request.model.image_size), np.uint8)
    right, made = random_qmodel(PRESETS["m3vit-micro"], 1), []

    def quantize(*arguments: object, **options: object) -> QuantModel:
        made.append(arguments)
        return right

    monkeypatch.setattr(quantised, "quantize", quantize)
    seen = Calibration(images, "", images, "")

    def look() -> bool:
        got = quantised.quantised(network, request, cache=tmp_path, seen=seen)
        assert quantfile.digest(got.model) == quantfile.digest(right)
        return got.found

    assert [look(), look(), len(made)] == [False, True, 1]
    (path,) = tmp_path.glob("networks/*/*.safetensors")
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    assert [look(), look(), len(made)] == [False, True, 2]
    (said,) = caplog.messages
    assert "is damaged (its SHA-256 does not hold)" in said
