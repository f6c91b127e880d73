"""Heads of imported models: M3ViT's and this project's become modules, others stay tensors."""

import numpy as np
import pytest
import torch
from published import MICRO, decoder_state, random_state

from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.heads import build_heads
from moesaic.golden.importers.imported_heads import imported_heads
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.m3vit import seed_parameters
from moesaic.golden.up_head import UpHead
from moesaic.golden.weights import WeightError

CONFIG = M3ViTConfig(
    image_size=(32, 64),
    patch_size=8,
    dim=32,
    heads=2,
    depth=4,
    mlp_ratio=2,
    experts=6,
    expert_hidden=48,
    tasks=("semseg", "depth"),
)


def published(task: str, channels: int) -> dict[str, torch.Tensor]:
    head = UpHead(network_of(CONFIG), task=task, channels=channels)
    seed_parameters(head, 3)
    return {f"decoders.{task}.{name}": tensor for name, tensor in head.state_dict().items()}


def open_with(path, heads: dict[str, torch.Tensor]):
    prefixed = {f"module.backbone.{name}": tensor for name, tensor in random_state(MICRO).items()}
    torch.save({"state_dict": prefixed | {f"module.{name}": tensor for name, tensor in heads.items()}}, path)
    return open_model(str(path), ImportOptions(heads=2))


def test_published_heads(tmp_path):
    tensors = published("semseg", 40) | published("depth", 1)
    heads = imported_heads(open_with(tmp_path / "a.pth", tensors))
    assert list(heads) == ["semseg", "depth"] and not any(head.training for head in heads.values())
    tokens = torch.randn(33, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert heads["semseg"](tokens).shape == (40, 32, 64) and heads["depth"](tokens).shape == (32, 64)
        again = UpHead(network_of(CONFIG), task="depth", channels=1)
        again.load_state_dict({n.removeprefix("decoders.depth."): t for n, t in tensors.items() if "depth" in n})
        np.testing.assert_array_equal(heads["depth"](tokens), again(tokens))


def test_published_head_that_is_not_whole(tmp_path):
    tensors = published("semseg", 7)
    del tensors["decoders.semseg.conv_2.bias"]
    tensors["decoders.semseg.norm.bias"][3] = torch.nan
    with pytest.raises(WeightError) as caught:
        imported_heads(open_with(tmp_path / "a.pth", tensors | published("depth", 1)))
    assert len(caught.value.problems) == 2


def test_own_heads(tmp_path):
    own = {f"heads.{name}": tensor for name, tensor in build_heads(CONFIG, 5).state_dict().items()}
    state = random_state(MICRO)
    torch.save(state | own, tmp_path / "a.pth")
    imported = open_model(str(tmp_path / "a.pth"), ImportOptions(heads=2))
    heads = imported_heads(imported)
    assert imported.network.tasks == ("semseg", "depth") and set(heads) == {"semseg", "depth"}
    tokens = torch.randn(33, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        np.testing.assert_array_equal(heads["depth"](tokens), build_heads(CONFIG, 5)["depth"](tokens))


def test_unknown_heads_stay_tensors(tmp_path):
    imported = open_with(tmp_path / "a.pth", decoder_state(MICRO, ("sal", "edge")))
    assert len(imported_heads(imported)) == 0 and len(imported.heads) == 6
