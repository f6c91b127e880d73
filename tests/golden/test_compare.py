"""A mixture of experts beside its dense twin."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation.compare_dense import cost, load_twin, main
from moesaic.golden.evaluation.quality import quality
from moesaic.golden.heads import build_heads
from moesaic.golden.m3vit import build
from moesaic.golden.training.trainer import dense_twin
from moesaic.golden.weights import load

MICRO = preset("m3vit-micro")


@pytest.fixture
def twin(tmp_path):
    config = dense_twin(MICRO)
    model, heads = build(config, 7), build_heads(config, 7)
    tensors = {**model.state_dict(), **{f"heads.{name}": tensor for name, tensor in heads.state_dict().items()}}
    save_file(tensors, tmp_path / "twin.safetensors")
    return tmp_path / "twin.safetensors"


def test_cost_by_hand():
    found, twins = cost(network_of(MICRO)), cost(network_of(dense_twin(MICRO)))
    assert found["macs_all_tasks"] == 2 * found["macs_one_task"] and twins["macs_all_tasks"] == twins["macs_one_task"]
    gates = (
        2 * 65 * 64 * 8
    )  # two mixtures, 65 tokens, 64 channels to 8 experts: all that the twin's multiplications lack
    assert found["macs_one_task"] - twins["macs_one_task"] == gates
    assert found["parameters"] == sum(p.numel() for p in build(MICRO, 0).parameters())
    assert (
        cost(network_of(dataclasses.replace(MICRO, top_k=8)))["macs_one_task"] - found["macs_one_task"]
        == 2 * 65 * 6 * 2 * 64 * 128
    )


def test_command_judges_both_alike(twin, tmp_path, capsys):
    main(["--model", "m3vit-micro", "--twin", str(twin), "--scenes", "3", "--out", str(tmp_path / "out.json")])
    ours, theirs, whole = json.loads((tmp_path / "out.json").read_text())["rows"]
    model, heads, _ = load("m3vit-micro")
    for row, expected in ((ours, quality(model, heads, 3)), (theirs, quality(*load_twin(MICRO, twin), 3))):
        assert row["miou"] == pytest.approx(expected["miou"]) and row["depth_rmse_m"] == pytest.approx(
            expected["depth_rmse_m"]
        )
    assert theirs["model"] == "m3vit-micro-dense" and "miou" not in whole
    lines = capsys.readouterr().out.splitlines()
    assert (
        len(lines) == 5
        and f"| {theirs['miou']:.4f} | {theirs['depth_rmse_m']:.3f} m |" in lines[3]
        and "| – | – |" in lines[4]
    )


def test_weights_of_something_else_are_refused(tmp_path, capsys):
    model, _, _ = load("m3vit-micro")
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}, tmp_path / "moe.safetensors"
    )
    for path, text in (
        (tmp_path / "moe.safetensors", "blocks.1.mlp.gate.0.w_gate: not in the model"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(SystemExit):
            main(["--model", "m3vit-micro", "--twin", str(path)])
        assert text in capsys.readouterr().err
