"""M3ViT checkpoints: what is imported computes what M3ViT's equations say; what is wrong is listed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from published import MICRO, SMALL, TINY, Geometry, cut_to, decoder_state, random_state, reference, save_workers

from moesaic.golden.importers.imported import Imported
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.m3vit import M3ViT

SHALLOW = dataclasses.replace(SMALL, depth=2)  # of small's sizes; all 12 blocks are in the slow test
HEADS = ImportOptions(heads=2)  # of MICRO, for whose 32 channels nothing is published


def save(path: Path, state: dict[str, torch.Tensor], prefix: str = "", **beside: torch.Tensor) -> Path:
    torch.save({"epoch": 7, "state_dict": {prefix + name: tensor for name, tensor in state.items()} | beside}, path)
    return path


@torch.no_grad()
def outputs(imported: Imported, image: np.ndarray, task: int) -> list[torch.Tensor]:
    model = M3ViT(imported.network)
    model.load_state_dict(imported.state)
    return model.double().eval()(torch.from_numpy(image), task)


def agree(imported: Imported, g: Geometry, state: dict[str, torch.Tensor], tasks=(0, 1), **kind: bool) -> None:
    """Every block's output for some tasks, which must also differ from each other."""
    image = np.random.default_rng(1).random((3, g.height, g.width))
    last = []
    for task in tasks:
        expected, got = reference(g, state, image, task, **kind), outputs(imported, image, task)
        assert len(got) == len(expected) == g.depth
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-5)
        last.append(got[-1])
    assert all((last[0] - other).abs().max() > 0.1 for other in last[1:])


@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("workers", [1, 16])
def test_tiny_computes_the_published_equations(tmp_path, conditioned, workers):
    state = random_state(TINY, conditioned=conditioned)
    path = tmp_path / "checkpoint.pth.tar"
    if workers == 1:
        decoders = {f"module.{name}": tensor for name, tensor in decoder_state(TINY, ("semseg", "depth")).items()}
        save(path, state, "module.backbone.", **decoders)
    else:
        save_workers(path, state, workers, "module.backbone.")
    imported = open_model(str(path), ImportOptions())
    network = imported.network
    assert (network.name, network.image_size, network.head_splits) == ("checkpoint", (128, 256), ((3, 64),))
    assert network.depth == 12 and list(network.mixtures) == [1, 3, 5, 7, 9, 11]
    mixture = network.blocks[1].nodes[1].sizes
    assert (mixture.experts, mixture.hidden, mixture.top_k, mixture.gate_kind) == (16, 384, 2, "noisy_vmoe")
    assert mixture.gate_task_dim == (64 if conditioned else 0)
    assert network.tasks == ("semseg", "depth") and len(imported.heads) == (6 if workers == 1 else 0)
    assert imported.report.kind == "imported" and not imported.report.filled
    agree(imported, TINY, state)


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (1, 0, 2, 3), (1, 3, 0, 2)], ids=str)
def test_mixtures_in_any_blocks(tmp_path, order):
    state = random_state(MICRO)
    place = {old: new for new, old in enumerate(order)}
    for name in [name for name in state if name.startswith("blocks.")]:
        _, block, rest = name.split(".", 2)
        state[f"moved.{place[int(block)]}.{rest}"] = state.pop(name)
    state = {name.replace("moved.", "blocks."): tensor for name, tensor in state.items()}
    imported = open_model(str(save(tmp_path / "a.pth", state)), HEADS)
    assert list(imported.network.mixtures) == sorted(place[block] for block in (1, 3))
    agree(imported, MICRO, state)


@pytest.mark.parametrize("conditioned", [False, True])
def test_blocks_of_a_pruned_network_keep_their_own_sizes(tmp_path, conditioned):
    state = cut_to(random_state(MICRO, conditioned=conditioned), 2, hidden=40)
    state = cut_to(state, 3, hidden=24, experts=5)
    imported = open_model(str(save(tmp_path / "a.pth", state)), HEADS)
    sizes = [block.nodes[1].sizes for block in imported.network.blocks]
    assert [size.units for size in sizes] == [MICRO.hidden, MICRO.expert_hidden, 40, 24]
    assert imported.network.mixtures == {1: (2, 6), 3: (2, 5)} and "5 or 6 experts" in imported.report.format
    agree(imported, MICRO, state)


def test_one_damaged_tensor_does_not_change_its_blocks_sizes(tmp_path):
    state = cut_to(random_state(MICRO), 3, hidden=24, experts=5)
    for name in ("blocks.0.mlp.fc1.bias", "blocks.3.mlp.experts.htoh4.bias"):
        bad = state | {name: state[name][..., 3:].clone()}
        with pytest.raises(ImportProblem) as caught:
            open_model(str(save(tmp_path / "a.pth", bad)), HEADS)
        wanted, found = list(state[name].shape), list(bad[name].shape)
        assert caught.value.groups == {"of the wrong shape": [f"{name}: must be {wanted}, not {found}"]}


@pytest.mark.parametrize("conditioned, workers", [(False, 4), (True, 1)])
def test_sizes_of_small_compute_the_published_equations(tmp_path, conditioned, workers):
    state = random_state(SHALLOW, conditioned=conditioned)
    path = tmp_path / "best_model.pth.tar"
    if workers == 1:
        save(path, state, "backbone.")
    else:
        save_workers(path, state, workers)
    imported = open_model(str(path), ImportOptions())
    assert (imported.network.image_size, imported.network.head_splits[0][0], imported.network.head_splits[0][1]) == (
        (480, 640),
        12,
        32,
    )
    agree(imported, SHALLOW, state, tasks=(1,))


@pytest.mark.slow
def test_whole_small_computes_the_published_equations(tmp_path):
    state = random_state(SMALL, conditioned=True)
    save_workers(tmp_path / "small", state, 8, "module.backbone.")
    agree(open_model(str(tmp_path / "small"), ImportOptions()), SMALL, state, tasks=(1,))


def test_noisy_gate_is_known_by_its_noise(tmp_path):
    state = random_state(MICRO, noisy=True)
    imported = open_model(str(save(tmp_path / "a.pth", state)), HEADS)
    assert imported.network.nodes[4].sizes.gate_kind == "noisy"
    assert any("w_noise" in note and "left out" in note for note in imported.report.notes)
    agree(imported, MICRO, state, noisy=True)


def test_one_gate_for_all_tasks_is_copied(tmp_path):
    state = random_state(dataclasses.replace(MICRO, tasks=1))
    state = {name.replace(".gate.0.", ".gate."): tensor for name, tensor in state.items()}
    path = save(tmp_path / "a.pth", state, **decoder_state(MICRO, ("semseg", "sal", "edge")))
    imported = open_model(str(path), HEADS)
    assert imported.network.tasks == ("semseg", "sal", "edge")
    assert torch.equal(imported.state["blocks.1.mlp.gate.2.w_gate"], state["blocks.1.mlp.gate.w_gate"])
    image = np.random.default_rng(1).random((3, MICRO.height, MICRO.width))
    expected = reference(MICRO, state, image, 0)
    for task in range(3):
        np.testing.assert_allclose(outputs(imported, image, task)[-1].numpy(), expected[-1].numpy(), atol=1e-5)


def test_published_top_4_of_narrow_experts_and_options(tmp_path):
    narrow = dataclasses.replace(MICRO, expert_hidden=32, top_k=4, tasks=3)
    state = random_state(narrow)
    path = str(save(tmp_path / "a.pth", state))
    imported = open_model(path, ImportOptions(heads=2, tasks=("a", "b", "c")))
    assert imported.network.most_top_k == 4 and imported.network.tasks == ("a", "b", "c")
    assert any(text.startswith("top-4") for text in imported.report.assumed)
    agree(imported, narrow, state)
    other = open_model(path, ImportOptions(heads=4, top_k=1, image_size=(16, 128), pixels="half", gate="noisy")).network
    mixture = other.blocks[1].nodes[1].sizes
    assert (other.head_splits[0][0], mixture.top_k, mixture.gate_kind) == (4, 1, "noisy")
    assert other.image_size == (16, 128) and other.image.pixel_mean == (0.5, 0.5, 0.5)
    assert other.tasks == ("task0", "task1", "task2")


def test_half_precision_is_converted_and_said(tmp_path):
    state = random_state(MICRO)
    halves = {name: tensor.to(torch.bfloat16 if "qkv" in name else torch.float16) for name, tensor in state.items()}
    imported = open_model(str(save(tmp_path / "a.pth", halves)), HEADS)
    assert all(tensor.dtype is torch.float32 for tensor in imported.state.values())
    assert torch.equal(imported.state["pos_embed"], state["pos_embed"].half().float())
    notes = " ".join(imported.report.notes)
    assert "8 tensors converted from bfloat16" in notes and "converted from float16" in notes


def test_training_only_tensors_are_left_out_and_said(tmp_path):
    extra = {
        "tam_model0.layers0.0.weight": torch.zeros(2),
        "backbone.blocks.1.mlp.gate.0.w_gate_aux": torch.zeros(3),
        "backbone.pre_logits.fc.weight": torch.zeros(2, 2),
    }
    imported = open_model(str(save(tmp_path / "a.pth", random_state(MICRO), "backbone.", **extra)), HEADS)
    (left,) = (note for note in imported.report.notes if note.startswith("left out"))
    assert all(word in left for word in ("tam_model0", "w_gate_aux", "pre_logits"))


def test_all_that_is_wrong_is_listed_at_once(tmp_path):
    state = random_state(MICRO)
    for name in ("norm1.weight", "attn.proj.bias"):
        for block in range(4):
            del state[f"blocks.{block}.{name}"]
    del state["blocks.3.mlp.gate.1.w_gate"]
    state["blocks.2.mlp.fc1.weight"] = torch.zeros(32, 64)
    state["blocks.1.mlp.experts.h4toh.bias"][2, 5] = torch.nan
    state["blocks.0.norm2.bias"][1] = torch.inf
    state["blocks.0.attn.qkv.bias"] = torch.zeros(96, dtype=torch.int64)
    state["blocks.1.attn.relative_position_bias"] = torch.zeros(4)
    with pytest.raises(ImportProblem) as caught:
        open_model(str(save(tmp_path / "a.pth", state, "module.", **{"module2.odd": torch.zeros(1)})), HEADS)
    assert caught.value.groups == {
        "missing": [
            "module.blocks.{0..3}.norm1.weight: [32]",
            "module.blocks.{0..3}.attn.proj.bias: [32]",
            "module.blocks.3.mlp.gate.1.w_gate: [32, 6]",
        ],
        "not in the model": ["module.blocks.1.attn.relative_position_bias: [4]", "module2.odd: [1]"],
        "of the wrong shape": ["module.blocks.2.mlp.fc1.weight: must be [64, 32], not [32, 64]"],
        "of the wrong type": ["module.blocks.0.attn.qkv.bias: must be floating point, not int64"],
        "not finite": [
            "module.blocks.0.norm2.bias: 1 values are NaN or infinite, the first at [1]",
            "module.blocks.1.mlp.experts.h4toh.bias: 1 values are NaN or infinite, the first at [2, 5]",
        ],
    }
    first = str(caught.value).splitlines()[0]
    counts = ("9 missing", "2 not in the model", "1 of the wrong shape", "1 of the wrong type", "2 not finite")
    assert all(count in first for count in counts)


def test_experts_alone_can_be_filled_from_a_seed(tmp_path):
    state = random_state(MICRO)
    del state["blocks.3.mlp.experts.htoh4.weight"], state["blocks.3.mlp.experts.h4toh.bias"]
    path = str(save(tmp_path / "a.pth", state))
    with pytest.raises(ImportProblem, match="--fill-missing draws missing experts at random"):
        open_model(path, HEADS)
    one, same, other = (open_model(path, ImportOptions(heads=2, fill_missing=True, seed=seed)) for seed in (1, 1, 2))
    name = "blocks.3.mlp.experts.htoh4.weight"
    assert one.report.kind == "partly seeded" and one.report.filled == (name, "blocks.3.mlp.experts.h4toh.bias")
    assert torch.equal(one.state[name], same.state[name]) and not torch.equal(one.state[name], other.state[name])
    assert torch.equal(one.state["blocks.1.mlp.experts.htoh4.weight"], state["blocks.1.mlp.experts.htoh4.weight"])
    del state["blocks.0.norm1.weight"]
    with pytest.raises(ImportProblem) as caught:
        open_model(str(save(tmp_path / "b.pth", state)), ImportOptions(heads=2, fill_missing=True))
    assert caught.value.groups == {"missing": ["blocks.0.norm1.weight: [32]"]}


WORKERS = dataclasses.replace(MICRO, experts=12)


@pytest.fixture
def workers(tmp_path: Path) -> Path:
    save_workers(tmp_path / "workers", random_state(WORKERS), 12)
    return tmp_path / "workers"


def test_twelve_workers_are_joined_in_the_order_of_their_numbers(workers):
    agree(open_model(str(workers), HEADS), WORKERS, random_state(WORKERS))


def test_missing_workers_are_named(workers):
    (workers / "3.pth").unlink()
    (workers / "10.pth").unlink()
    with pytest.raises(ImportProblem) as caught:
        open_model(str(workers), HEADS)
    assert caught.value.groups == {"missing": ["3.pth", "10.pth"]}


def test_last_worker_missing_or_one_file_alone_is_not_enough(workers):
    (workers / "11.pth").unlink()
    for path, count in ((workers, 11), (workers / "0.pth", 1)):
        with pytest.raises(
            ImportProblem, match=f"must have all 12 experts that the gate knows, not {count}.*the folder"
        ):
            open_model(str(path), HEADS)


def test_workers_that_disagree_are_listed(workers):
    data = torch.load(workers / "2.pth", weights_only=True)
    del data["state_dict"]["blocks.1.mlp.experts.htoh4.bias"]
    data["state_dict"]["blocks.3.mlp.experts.h4toh.weight"] = torch.zeros(1, 48, 32)
    data["state_dict"]["pos_embed"] = torch.zeros(1, 33, 32)
    data["state_dict"]["other"] = torch.zeros(1)
    torch.save(data, workers / "2.pth")
    with pytest.raises(ImportProblem, match="slices of one model") as caught:
        open_model(str(workers), HEADS)
    assert caught.value.groups == {
        "missing": ["blocks.1.mlp.experts.htoh4.bias (in 2.pth)"],
        "of the wrong shape": [
            "blocks.3.mlp.experts.h4toh.weight (in 2.pth): must be ['any', 32, 48], not [1, 48, 32]"
        ],
        "shared, but not the same as in 0.pth": ["pos_embed (in 2.pth)"],
        "not in 0.pth": ["other (in 2.pth)"],
    }


@pytest.mark.parametrize(
    "change, text",
    [
        (
            {"patch_embed.proj.weight": torch.zeros(32, 4, 8, 8)},
            r"must be \[dim, 3, patch, patch\], not \[32, 4, 8, 8\]",
        ),
        ({"pos_embed": torch.zeros(33, 32)}, r"pos_embed must have 3 dimensions"),
        ({"pos_embed": torch.zeros(1, 36, 32)}, r"image-size must be given with --image-size.*35 patches of 8 pixels"),
    ],
)
def test_sizes_that_cannot_be_told(tmp_path, change, text):
    with pytest.raises(ImportProblem, match=text):
        open_model(str(save(tmp_path / "a.pth", random_state(MICRO) | change)), HEADS)


@pytest.mark.parametrize(
    "options, text",
    [
        ({}, r"heads must be given with --heads for a model of 32 channels"),
        ({"heads": 5}, r"heads must divide the model's 32 channels, not 5"),
        ({"heads": 2, "top_k": 7}, r"top_k must be from 1 to the 6 experts, not 7"),
        ({"heads": 2, "tasks": ("a", "b", "c")}, r"tasks must be 2 names, one a gate, not 'a,b,c'"),
        (
            {"heads": 2, "image_size": (64, 64)},
            r"image-size must give the model's 32 patches of 8 x 8 pixels, not 64x64",
        ),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, text):
    with pytest.raises(ImportProblem, match=text):
        open_model(str(save(tmp_path / "a.pth", random_state(MICRO))), ImportOptions(**options))


@pytest.mark.parametrize(
    "options, text",
    [
        ({"top_k": 0}, "top-k must be a positive number, not 0"),
        ({"heads": -1}, "heads must be a positive number, not -1"),
        ({"image_size": (0, 8)}, "image-size must be two positive numbers"),
        ({"tasks": ("a", "a")}, "tasks must be distinct names"),
        ({"tasks": ("a", "")}, "every one of tasks must be 1 to 64 letters"),
        ({"gate": "loud"}, "gate must be one of noisy_vmoe, noisy, not 'loud'"),
        ({"pixels": "none"}, "pixels must be one of imagenet, half, unit, fixed8, not 'none'"),
    ],
)
def test_options_out_of_range(options, text):
    with pytest.raises(ImportProblem, match=text):
        ImportOptions(**options)
