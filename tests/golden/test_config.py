"""Sizes: the published counts, and a message for every bad value."""

import dataclasses
import json

import pytest

from moesaic.golden.config import PRESETS, M3ViTConfig, network_of, preset

# name: tokens, head dim, MMAC, weight MB at int8 as published; four digits of work, one decimal of megabytes
PUBLISHED = {
    "m3vit-tiny": (129, 64, 783, 17.9),
    "m3vit-small": (1201, 32, 39_190, 71.1),
    "m3vit-small-r1": (1201, 32, 39_190, 42.8),
    "deit-tiny": (197, 64, 1_254, 5.5),
    "deit-small": (197, 64, 4_599, 21.5),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    config, network = preset(name), network_of(preset(name))
    tokens, head_dim, mmacs, megabytes = PUBLISHED[name]
    assert (network.tokens, (config.dim // config.heads)) == (tokens, head_dim)
    assert float(f"{network.macs / 1e6:.4g}") == pytest.approx(mmacs, abs=0.5)
    assert round(network.weight_bytes / 1e6, 1) == megabytes


def test_micro_is_small():
    config, network = preset("m3vit-micro"), network_of(preset("m3vit-micro"))
    assert (network.tokens, (config.dim // config.heads), network.image.grid) == (65, 32, (8, 8))
    assert network.weight_bytes < 500_000 and 15e6 < network.macs < 17e6


def test_counts_add_up_by_hand():
    # One dense and one mixture block, 5 tokens of 8 channels.
    config = M3ViTConfig(
        image_size=(4, 4), patch_size=2, dim=8, heads=2, depth=2, mlp_ratio=2, experts=4, expert_hidden=6, top_k=2
    )
    network = network_of(config)
    assert network.tokens == 5 and network.image.patch_values == 12
    assert network.embed_macs == 5 * 12 * 8
    attention = 5 * 8 * 24 + 2 * 5 * 5 * 8 + 5 * 8 * 8
    assert network.block_macs(0) == attention + 2 * 5 * 8 * 16
    assert network.block_macs(1) == attention + 5 * 8 * 4 + 5 * 2 * 2 * 8 * 6
    assert network.macs == network.embed_macs + network.block_macs(0) + network_of(config).block_macs(1)
    assert network.weight_bytes == 12 * 8 + 2 * 4 * 64 + 2 * 8 * 16 + 8 * 4 + 4 * 2 * 8 * 6
    assert [config.is_moe(i) for i in range(2)] == [False, True] and tuple(network.mixtures) == (1,)


def test_dense_model_has_no_mixtures():
    assert tuple(network_of(preset("deit-tiny")).mixtures) == ()


def test_survives_json():
    for config in PRESETS.values():
        again = M3ViTConfig(**json.loads(json.dumps(dataclasses.asdict(config))))
        assert again == config and hash(again) == hash(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": (60, 64)}, r"image_size must be two positive multiples of the patch size 8, not \(60, 64\)"),
        ({"patch_size": 0}, r"patch_size must be a positive integer, not 0"),
        ({"heads": 3}, r"dim must be a multiple of the 3 heads, not 64"),
        ({"depth": 0}, r"depth must be a positive integer, not 0"),
        ({"mlp_ratio": 0.3}, r"mlp_ratio must be positive and give whole hidden units for dim 64, not 0.3"),
        ({"experts": -1}, r"experts must be an integer, 0 or more, not -1"),
        ({"expert_hidden": 0}, r"expert_hidden must be a positive integer, not 0"),
        ({"top_k": 9}, r"top_k must be from 1 to the 8 experts, not 9"),
        ({"gate_task_dim": 0}, r"gate_task_dim must be a positive integer, not 0"),
        ({"moe_every": 0}, r"moe_every must be a positive integer, not 0"),
        ({"tasks": ()}, r"tasks must be distinct names, at least one, not \(\)"),
        ({"tasks": ("a", "a")}, r"tasks must be distinct names, at least one, not \('a', 'a'\)"),
        ({"gate_kind": "soft"}, r"gate_kind must be one of noisy_vmoe, noisy, not 'soft'"),
        ({"gate_scope": "one"}, r"gate_scope must be one of multi_gate, task_conditioned, not 'one'"),
        ({"tasks": ("seg.v1",)}, r"every one of tasks must be 1 to 64 letters, .*, not 'seg.v1'"),
        ({"tasks": ("a", "../x")}, r"every one of tasks must be 1 to 64 letters, .*, not '../x'"),
        ({"tasks": ("all",)}, r"every one of tasks must be another word than 'all'"),
        ({"eps": -1e-6}, r"eps must be zero or positive, and finite, not -1e-06"),
        ({"eps": float("inf")}, r"eps must be zero or positive, and finite, not inf"),
        ({"pixel_mean": (0.5,)}, r"pixel_mean must be three numbers, not \(0.5,\)"),
        ({"pixel_std": (0.5, 0.5, 0.0)}, r"pixel_std must be three positive numbers, not \(0.5, 0.5, 0.0\)"),
    ],
)
def test_bad_values_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(preset("m3vit-micro"), **change)


def test_tasks_by_name_and_number():
    network = network_of(preset("m3vit-micro"))
    assert [network.task_index(task) for task in ("semseg", "depth", 0, 1)] == [0, 1, 0, 1]
    for unknown in ("normals", 2, -1):
        with pytest.raises(ValueError, match=r"task must be one of semseg, depth, not"):
            network.task_index(unknown)


def test_unknown_preset():
    with pytest.raises(ValueError, match=r"model must be one of m3vit-micro, .*, not 'resnet'"):
        preset("resnet")
