"""Weights: shipped or seeded, and every problem of a bad file in one error."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from moesaic.golden.config import preset
from moesaic.golden.heads import build_heads
from moesaic.golden.m3vit import build
from moesaic.golden.weights import WeightError, load, load_tensors, read_file


def tensors() -> dict[str, torch.Tensor]:
    config = preset("m3vit-micro")
    both = dict(build(config, 9).state_dict())
    return both | {f"heads.{name}": tensor for name, tensor in build_heads(config, 9).state_dict().items()}


def test_micro_is_trained_and_independent_of_the_seed():
    model, heads, kind = load("m3vit-micro", seed=1)
    other, _, _ = load("m3vit-micro", seed=2)
    assert kind == "trained" and not model.training and not heads.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_others_are_seeded():
    model, _, kind = load("deit-tiny", seed=4)
    assert kind == "seeded"
    assert torch.equal(model.pos_embed, build(preset("deit-tiny"), 4).pos_embed)


def test_seeded_in_place_of_shipped_ones():
    model, _, kind = load("m3vit-micro", seed=4, trained=False)
    assert kind == "seeded" and torch.equal(model.pos_embed, build(preset("m3vit-micro"), 4).pos_embed)


def test_file_of_ones_own(tmp_path):
    path = tmp_path / "own.safetensors"
    save_file(tensors(), path)
    model, heads, kind = load("m3vit-micro", path=path)
    assert kind == "trained" and torch.equal(model.pos_embed, tensors()["pos_embed"])
    assert torch.equal(heads.state_dict()["depth.norm.weight"], tensors()["heads.depth.norm.weight"])


def test_all_problems_are_listed_and_nothing_is_loaded(tmp_path):
    bad = tensors()
    del bad["cls_token"], bad["heads.depth.conv.bias"]
    bad["pos_embed"] = torch.zeros(1, 64, 64)
    bad["blocks.0.norm1.weight"][5] = np.nan
    bad["blocks.1.mlp.experts.htoh4.bias"][2, 3] = np.inf
    bad["blocks.2.norm1.bias"] = torch.zeros(64, dtype=torch.int32)
    bad["blocks.9.norm1.weight"] = torch.ones(64)
    path = tmp_path / "bad.safetensors"
    save_file(bad, path)
    model, heads = build(preset("m3vit-micro"), 1), build_heads(preset("m3vit-micro"), 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightError, match="weights must fit the model, not .*bad.safetensors") as caught:
        load_tensors(model, heads, read_file(path), str(path))
    assert sorted(caught.value.problems) == sorted(
        [
            "cls_token: missing",
            "pos_embed: shape must be [1, 65, 64], not [1, 64, 64]",
            "blocks.0.norm1.weight: 1 values are NaN or infinite, the first at [5]",
            "blocks.1.mlp.experts.htoh4.bias: 1 values are NaN or infinite, the first at [2, 3]",
            "blocks.2.norm1.bias: type must be floating point, not torch.int32",
            "blocks.9.norm1.weight: not in the model",
            "heads.depth.conv.bias: missing",
        ]
    )
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_backbone_alone_if_no_heads_are_wanted():
    model = build(preset("m3vit-micro"), 1)
    load_tensors(model, None, tensors(), "test")
    assert torch.equal(model.pos_embed, tensors()["pos_embed"])


def test_files_that_are_no_weights(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"hello, this is no weight file")
    with pytest.raises(WeightError, match="not a .safetensors file"):
        read_file(path)
    with pytest.raises(FileNotFoundError, match="none.safetensors"):
        read_file(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="model must be one of"):
        load("m3vit-huge")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(kind, tmp_path):
    path, own = tmp_path / "half.safetensors", tensors()
    save_file({name: tensor.to(kind) for name, tensor in own.items()}, path)
    model, _, _ = load("m3vit-micro", path=path)
    assert all(tensor.dtype == torch.float32 for tensor in model.state_dict().values())
    assert torch.equal(model.pos_embed, own["pos_embed"].to(kind).float())


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_cut_files(keep, tmp_path):
    path = tmp_path / "cut.safetensors"
    save_file(tensors(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(WeightError, match="not a .safetensors file"):
        load("m3vit-micro", path=path)
