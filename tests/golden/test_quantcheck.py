"""A quantised network from a file is held against the sizes of its model before anything is computed with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quantmodels import random_qmodel
from safetensors.numpy import save_file

from moesaic.golden import quantfile
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.qmodel import WIDTHS, QuantModel
from moesaic.golden.quantcheck import check_quantised
from moesaic.golden.quantize import quantize

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=2, experts=4, expert_hidden=16)

NETWORK = network_of(MODEL)


@pytest.fixture(scope="module")
def qmodel() -> QuantModel:
    return random_qmodel(MODEL, 0)


@pytest.mark.parametrize("widths", WIDTHS)
def test_what_is_quantised_passes(widths: str, tmp_path: Path) -> None:
    bits = WIDTHS[widths]
    model, source = M3ViT(network_of(MODEL)).eval(), torch.Generator().manual_seed(0)
    for parameter in model.state_dict().values():
        parameter.normal_(0, 0.1, generator=source)
    made = quantize(model, calibration_images(network_of(MODEL), 2), weights="seeded", acc_bits=40, expert_bits=bits)
    quantfile.save(made, tmp_path / "network.safetensors")
    check_quantised(quantfile.load(tmp_path / "network.safetensors"), NETWORK, bits)
    with pytest.raises(ValueError, match="bits must be"):
        check_quantised(made, NETWORK, {8: 4, 4: 16, 16: 8}[bits])


def changed(value: Any, path: str, to: Any) -> Any:
    """The same tree with one field changed."""
    field, _, rest = path.partition(".")
    if isinstance(value, tuple):
        return tuple(changed(v, rest, to) if rest and str(i) == field else v for i, v in enumerate(value))
    if isinstance(value, dict):
        return {k: (changed(v, rest, to) if rest else to) if k == field else v for k, v in value.items()}
    return replace(value, **{field: changed(getattr(value, field), rest, to) if rest else to})


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (
            "embed.weight",
            np.zeros((32, 7), np.int8),
            r"embed.weight must be int8 or int16 \[32, 192\], not 'int8 \[32, 7\]'",
        ),
        ("embed.weight", np.zeros((32, 192), np.float32), r"embed.weight must be .*, not 'float32"),
        ("embed.bias", 3, "embed.bias must be ndarray, not 'int'"),
        ("embed.shift", 63, "embed.shift must be from -62 to 62, not 63"),
        ("embed.shift", 1.5, "embed.shift must be int, not 'float'"),
        ("embed.reads", "float", "embed.reads must be int8 or"),
        ("embed.name", "../x", "embed.name must be embed, not '../x'"),
        ("position", np.zeros((3, 32), np.int16), r"position must be int16 \[5, 32\]"),
        ("embed_step", float("nan"), "embed_step must be a positive number"),
        ("weights", "stolen", "weights must be trained or"),
        ("blocks", (), "blocks must be of 2 parts, not 0"),
        ("network", network_of(replace(MODEL, heads=4)), "network must be that of the program, m, not 'm'"),
        ("blocks.1.layers.0.heads", 4, "blocks.1.layers.0.heads must be 2, not 4"),
        ("blocks.1.layers.0.norm.scale", 1 << 40, "scale must be from"),
        ("blocks.1.layers.1.top_k", 3, "blocks.1.layers.1.top_k must be 2, not 3"),
        ("blocks.1.layers.1.renormalise", 1, "renormalise must be bool, not 'int'"),
        ("blocks.1.layers.1.gates", {}, "blocks.1.layers.1.gates must be of semseg, depth, not ''"),
        ("blocks.1.layers.1.order.depth", (0, 1, 2, 2), "order.depth must be an order of 4 experts"),
        ("blocks.1.layers.1.usage", {"depth": (1.0,)}, "usage.depth must be shares of 4 experts"),
        ("blocks.1.layers.1.usage", {"depth": (2.0, 0, 0, 0)}, "usage.depth must be shares from 0 to 1"),
    ],
)
def test_what_is_no_network_is_refused(qmodel: QuantModel, path: str, to: Any, message: str) -> None:
    check_quantised(qmodel, NETWORK, 8)
    with pytest.raises(ValueError, match=message):
        check_quantised(changed(qmodel, path, to), NETWORK, 8)


def test_nested_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    for text in ("[" * 100_000, '{"type": []}', '{"type": "QuantModel", "fields": 3}'):
        save_file({}, path, metadata={"format": quantfile.FORMAT, "model": text})
        with pytest.raises(ValueError, match="must be a file that save wrote"):
            quantfile.load(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(20 << 30)
    with pytest.raises(ValueError, match="at most 1073741824 bytes, not 21474836480"):
        quantfile.load(path)
