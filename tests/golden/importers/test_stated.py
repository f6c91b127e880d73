"""config.json beside weights: sizes that differ from the tensors' are refused, the others are taken."""

import json
from pathlib import Path

import pytest
import torch
from published import Geometry, dense_state, transformers_names
from safetensors.torch import save_file

from moesaic.golden.importers.imported import Imported
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import ImportProblem

SIZES = Geometry(16, 16, 8, 32, 2, 2, 64)
TRANSFORMERS = {
    "model_type": "vit",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "patch_size": 8,
    "image_size": 16,
    "num_channels": 3,
    "qkv_bias": True,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu_new",
}
ARGS = {"embed_dim": 32, "depth": 2, "num_heads": 4, "patch_size": 8, "img_size": [16, 16], "in_chans": 3}
TIMM = {"architecture": "vit_tiny_patch16_224", "num_features": 32, "model_args": ARGS | {"qkv_bias": True}}


def folder(path: Path, config: object, *, transformers: bool = True, leave_out: str = "none") -> Path:
    path.mkdir(exist_ok=True)
    state = {name: tensor for name, tensor in dense_state(SIZES).items() if leave_out not in name}
    state |= {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32)}
    save_file(transformers_names(state) if transformers else state, path / "model.safetensors")
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def opened(path: Path, **options: object) -> Imported:
    return open_model(str(path), ImportOptions(**options))


def test_what_is_stated_is_taken_and_not_assumed(tmp_path):
    for path in (folder(tmp_path / "a", TRANSFORMERS), tmp_path / "a" / "model.safetensors"):
        imported = opened(path, pixels="half")
        network = imported.network
        assert (network.head_splits[0][0], network.image_size, network.eps) == (4, (16, 16), 1e-5)
        assert network.nodes[2].sizes.activation == "gelu_tanh"
        assert not imported.report.assumed
    imported = opened(folder(tmp_path / "b", TIMM, transformers=False), pixels="half")
    assert (imported.network.head_splits[0][0], imported.network.image_size) == (4, (16, 16))
    assert [text.partition(" ")[0] for text in imported.report.assumed] == ["LayerNorm"]
    # Of another program, though called the same.
    folder(tmp_path / "c", {"depth": 7}, transformers=False)
    assert opened(tmp_path / "c", heads=2).network.depth == 2
    # A model of two parts keeps this one's in a part.
    assert (
        opened(folder(tmp_path / "d", {"encoder": TRANSFORMERS, "decoder": {"hidden_size": 7}})).network.head_splits[0][
            0
        ]
        == 4
    )


NAME = "embeddings.patch_embeddings.projection.weight"
HIDDEN = "encoder.layer.0.intermediate.dense.weight"


@pytest.mark.parametrize(
    "change, line",
    [
        ({"hidden_size": 64}, f"hidden_size (channels of a token): 64 in config.json, 32 in {NAME}"),
        ({"num_hidden_layers": 4}, "num_hidden_layers (blocks): 4 in config.json, 2 in the tensors' names"),
        ({"num_hidden_layers": 1}, "num_hidden_layers (blocks): 1 in config.json, 2 in the tensors' names"),
        ({"intermediate_size": 128}, f"intermediate_size (hidden units of an MLP): 128 in config.json, 64 in {HIDDEN}"),
        ({"patch_size": 16, "image_size": 32}, f"patch_size (side of a patch): 16 in config.json, 8 in {NAME}"),
        (
            {"image_size": [16, 24]},
            "image_size (patches): 16x24, 6, in config.json, 4 in embeddings.position_embeddings",
        ),
        ({"num_channels": 1}, f"num_channels (channels of the image): 1 in config.json, 3 in {NAME}"),
        (
            {"num_attention_heads": 5},
            f"num_attention_heads (heads): 5 in config.json must divide the 32 channels of {NAME}",
        ),
        (
            {"qkv_bias": False},
            "qkv_bias (biases of queries, keys and values): none in config.json, there in the tensors",
        ),
    ],
)
def test_each_size_that_differs_is_refused_with_both_values(tmp_path, change, line):
    with pytest.raises(ImportProblem, match=r"must be those that '.*config\.json' describes, all of them") as caught:
        opened(folder(tmp_path / "a", TRANSFORMERS | change))
    assert caught.value.groups == {"differ": [line]}


def test_all_that_differs_is_listed_at_once(tmp_path):
    model = folder(
        tmp_path / "a",
        TIMM | {"num_features": 48, "model_args": ARGS | {"depth": 12, "img_size": 224}},
        transformers=False,
    )
    with pytest.raises(ImportProblem) as caught:
        opened(model)
    assert [line.split(" ")[0] for line in caught.value.groups["differ"]] == ["num_features", "depth", "img_size"]


def test_a_file_cut_between_blocks_is_refused(tmp_path):
    model = folder(tmp_path / "a", TRANSFORMERS, leave_out="blocks.1.")
    with pytest.raises(ImportProblem) as caught:
        opened(model)
    assert caught.value.groups == {"differ": ["num_hidden_layers (blocks): 2 in config.json, 1 in the tensors' names"]}
    model = folder(tmp_path / "b", TRANSFORMERS, leave_out=".attn.qkv.bias")
    with pytest.raises(ImportProblem, match="there in config.json, none in the tensors"):
        opened(model)
    with pytest.raises(ImportProblem, match="blocks must be numbered from 0 without gaps, not to 1 without 0 "):
        opened(folder(tmp_path / "c", TRANSFORMERS, leave_out="blocks.0."))


def test_a_block_number_without_end_takes_no_time(tmp_path):
    torch.save(dense_state(SIZES) | {"blocks.999999999999.norm1.weight": torch.ones(32)}, tmp_path / "a.pth")
    with pytest.raises(ImportProblem, match=r"not to 999999999999 without 2, 3, 4, 5, 6, 7, 8, 9\.\.\."):
        opened(tmp_path / "a.pth", heads=2)


def test_nothing_after_the_last_block_is_said(tmp_path):
    torch.save(dense_state(SIZES), tmp_path / "a.pth")
    notes = opened(tmp_path / "a.pth", heads=2).report.notes
    assert "nothing follows block 1: a file with no final norm and no head may be cut" in notes


def test_options_go_before_what_is_stated_and_it_is_said(tmp_path):
    model = folder(tmp_path / "a", TRANSFORMERS)
    imported = opened(model, heads=2, image_size=(8, 32))
    assert (imported.network.head_splits[0][0], imported.network.image_size) == (2, (8, 32))
    notes = imported.report.notes
    assert "--heads 2 taken, not the 4 of config.json" in notes
    assert "--image-size 8x32 taken, not the 16x16 of config.json" in notes


@pytest.mark.parametrize(
    "config, text",
    [
        (TRANSFORMERS | {"hidden_size": "32"}, "hidden_size must be a positive whole number, not '32'"),
        (TRANSFORMERS | {"num_hidden_layers": True}, "num_hidden_layers must be a positive whole number, not True"),
        (TRANSFORMERS | {"image_size": [16]}, r"image_size must be a positive whole number, or two, not \[16\]"),
        (TRANSFORMERS | {"patch_size": [8, 16]}, r"patch_size must be one size, or twice the same, not \[8, 16\]"),
        (TRANSFORMERS | {"layer_norm_eps": -1}, "layer_norm_eps must be a number from 0 to 1, not -1"),
        (TRANSFORMERS | {"qkv_bias": 1}, "qkv_bias must be true or false, not 1"),
        (TRANSFORMERS | {"hidden_act": ["gelu"]}, r"hidden_act must be one of gelu, .*, not \['gelu'\]"),
        ([1], "config.json must be an object in braces, not list"),
        ("[" * 100_000, "nested too deeply"),
        ('{"hidden_size": NaN}', "NaN is no number"),
    ],
)
def test_values_of_another_kind(tmp_path, config, text):
    with pytest.raises(ImportProblem, match=text):
        opened(folder(tmp_path / "a", config))
