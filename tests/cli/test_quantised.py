"""The key of the cache covers all sources that decide the result."""

import hashlib
from pathlib import Path

import pytest

from moesaic.flow import quantised
from moesaic.flow.fit import check_fit
from moesaic.flow.request import make_request
from moesaic.golden.config import PRESETS
from moesaic.golden.hollow import hollow_model


def test_source_hash_follows_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before, find = quantised.source_hash("moesaic.golden.quantize"), quantised._source
    assert before == quantised.source_hash("moesaic.golden.quantize")
    for module in (
        "moesaic.golden.numerics",
        "moesaic.golden.street",
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
    check_fit(make_request(model=model))


def test_hollow_model_has_the_shapes() -> None:
    model = PRESETS["m3vit-tiny"]
    hollow = hollow_model(model)
    size = hollow.embed.weight.size + sum(
        linear.weight.size
        for block in hollow.blocks
        for linear in (block.attention.q, block.attention.k, block.attention.v, block.attention.proj)
    )
    assert size == model.embed_weight_bytes + 12 * 4 * 192 * 192
