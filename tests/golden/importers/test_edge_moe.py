"""Edge-MoE folders: block outputs as published, and each way in which a folder can be wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from published import MICRO, TINY, UNIT, cut_to, random_state, reference, save_edge_moe

from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import PIXELS, ImportOptions
from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.importers.raw import looks_swapped
from moesaic.golden.m3vit import M3ViT

HEADS = ImportOptions(heads=2)
EXPERTS = tuple(f"l{layer}_{part}_weight" for layer in (1, 3) for part in ("htoh4", "h4toh"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_edge_moe(tmp_path / "weights", MICRO, random_state(MICRO))
    return tmp_path / "weights"


def values(folder: Path, name: str) -> np.ndarray:
    return np.fromfile(folder / f"{name}.float32.bin", "<f4")


@pytest.mark.parametrize("g", [TINY, MICRO])
@torch.no_grad()
def test_block_outputs_are_the_published_equations(tmp_path, g):
    state = random_state(g)
    save_edge_moe(tmp_path / "weights", g, state)
    imported = open_model(str(tmp_path / "weights"), ImportOptions() if g is TINY else HEADS)
    assert (imported.network.image_size, imported.network.head_splits[0][0]) == ((g.height, g.width), g.heads)
    assert imported.network.image.pixel_mean == (0, 0, 0) and imported.network.image.pixel_std == (256 / 255,) * 3
    assert any("pixels are byte / 256, as image.float32.bin has them" in note for note in imported.report.notes)
    assert not any("normalised" in text for text in imported.report.assumed)
    assert imported.report.kind == "imported"
    assert (
        f"output of block {g.depth - 1}" in imported.report.checked and "mean squared error" in imported.report.checked
    )
    model = M3ViT(imported.network)
    model.load_state_dict(imported.state)
    image = np.random.default_rng(2).integers(0, 256, (3, g.height, g.width), dtype=np.uint8)
    for task in (0, 1):
        got = model.double().eval()(torch.from_numpy(image), task)
        expected = reference(g, state, image / 256, task, pixels=UNIT)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-5)


@torch.no_grad()
def test_blocks_of_a_pruned_network_keep_their_own_sizes(tmp_path):
    state = cut_to(cut_to(random_state(MICRO), 0, hidden=40), 1, hidden=24, experts=5)
    save_edge_moe(tmp_path / "weights", MICRO, state)  # with the output that the importer compares
    imported = open_model(str(tmp_path / "weights"), HEADS)
    sizes = [block.nodes[1].sizes for block in imported.network.blocks]
    assert [size.units for size in sizes] == [40, 24, MICRO.hidden, MICRO.expert_hidden]
    assert imported.network.mixtures == {1: (2, 5), 3: (2, 6)} and "output of block 3" in imported.report.checked
    assert torch.equal(imported.state["blocks.1.mlp.gate.1.w_gate"], state["blocks.1.mlp.gate.1.w_gate"])


def test_class_token_is_in_the_positions_and_gates_are_transposed(folder):
    imported = open_model(str(folder), HEADS)
    state = random_state(MICRO)
    assert not imported.state["cls_token"].any()
    torch.testing.assert_close(imported.state["pos_embed"][0, 0], state["pos_embed"][0, 0] + state["cls_token"][0, 0])
    assert torch.equal(imported.state["blocks.3.mlp.gate.1.w_gate"], state["blocks.3.mlp.gate.1.w_gate"])


@pytest.mark.parametrize("levels, pixels", [(256, "fixed8"), (255, "unit"), (1000, None), (None, None)])
def test_pixels_are_those_of_the_folders_image(folder, levels, pixels):
    """The published network's are byte / 256; the folder says it where its image has no other values."""
    path = folder / "image.float32.bin"
    (folder / "l3_x_post_moe.float32.bin").unlink()
    if levels is None:
        path.unlink()
    else:
        bytes_ = np.random.default_rng(0).integers(0, 256, 3 * MICRO.height * MICRO.width)
        (bytes_ / levels).astype("<f4").tofile(path)
    imported = open_model(str(folder), HEADS)
    assert (imported.network.image.pixel_mean, imported.network.image.pixel_std) == PIXELS[pixels or "fixed8"]
    assert any("pixels are byte" in note for note in imported.report.notes) == (pixels is not None)
    assert ("pixels normalised as 'fixed8' (--pixels)" in imported.report.assumed) == (pixels is None)
    asked = open_model(str(folder), ImportOptions(heads=2, pixels="half"))
    assert asked.network.image.pixel_mean == (0.5, 0.5, 0.5) and not any(
        "normalised" in text for text in asked.report.assumed
    )


def test_missing_experts_are_listed_or_drawn(folder):
    for name in EXPERTS:
        (folder / f"{name}.float32.bin").unlink()
    with pytest.raises(ImportProblem, match="--fill-missing draws") as caught:
        open_model(str(folder), HEADS)
    assert caught.value.groups == {
        "missing": ["l{1,3}_htoh4_weight.float32.bin: [6, 48, 32]", "l{1,3}_h4toh_weight.float32.bin: [6, 32, 48]"]
    }
    imported = open_model(str(folder), ImportOptions(heads=2, fill_missing=True, seed=5))
    assert imported.report.kind == "partly seeded" and len(imported.report.filled) == 4
    assert "not compared" in imported.report.checked
    assert any("random, seed 5" in note for note in imported.report.notes)


def test_all_that_is_wrong_is_listed_at_once(folder):
    for name in ("l0_norm1_weight", "l2_norm1_weight", "l1_w_gate_T_task1"):
        (folder / f"{name}.float32.bin").unlink()
    values(folder, "l2_fc1_weight")[:-7].tofile(folder / "l2_fc1_weight.float32.bin")
    np.zeros(4, "<f4").tofile(folder / "l9_odd_weight.float32.bin")
    np.zeros(32, "<f4").tofile(folder / "l1_fc1_bias.float32.bin")
    np.zeros(32, "<f4").tofile(folder / "notes.float32.bin")
    with pytest.raises(ImportProblem) as caught:
        open_model(str(folder), HEADS)
    groups = caught.value.groups
    assert groups["of the wrong size"] == ["l2_fc1_weight.float32.bin: must have 64 x 32 = 2048 values, not 2041"]
    assert set(groups["not of this format"]) == {"notes.float32.bin", "l9_odd_weight.float32.bin"}
    assert groups["not in the model"] == ["l1_fc1_bias.float32.bin: 32 values"]
    assert "l{0,2}_norm1_weight.float32.bin: [32]" in groups["missing"]
    assert "l1_w_gate_T_task1.float32.bin: [32, 6]" in groups["missing"]


def test_one_file_cut_between_values_does_not_change_the_sizes(folder):
    names = ("patch_embed_bias", "l1_htoh4_bias", "l0_fc1_bias", "l0_norm1_weight")
    for name in names:
        values(folder, name)[:-1].tofile(folder / f"{name}.float32.bin")
    with pytest.raises(ImportProblem, match="blocks and 32 channels.*4 of the wrong size"):
        open_model(str(folder), HEADS)


def test_cut_swapped_and_broken_files_are_listed_at_once(folder):
    path = folder / "l0_fc2_bias.float32.bin"
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "l0_fc1_bias.float32.bin").write_bytes(b"")
    for name in ("l0_qkv_weight", "l1_qkv_weight"):
        values(folder, name).astype(">f4").tofile(folder / f"{name}.float32.bin")
    broken = values(folder, "l3_norm2_bias")
    broken[4] = np.nan
    broken.tofile(folder / "l3_norm2_bias.float32.bin")
    (values(folder, "l3_norm1_bias") * 1e20).tofile(folder / "l3_norm1_bias.float32.bin")
    with pytest.raises(ImportProblem, match="2 cut short, 2 big-endian, 1 too large, 1 not finite") as caught:
        open_model(str(folder), HEADS)
    assert caught.value.groups["cut short"] == [
        "l0_fc1_bias.float32.bin: 0 bytes are no whole number of float32 values",
        "l0_fc2_bias.float32.bin: 127 bytes are no whole number of float32 values",
    ]
    assert caught.value.groups["big-endian"] == [
        "l{0,1}_qkv_weight.float32.bin: float32 with its bytes the wrong way round"
    ]
    assert caught.value.groups["not finite"][0].endswith("1 values are NaN or infinite, the first at 4")


def test_a_whole_folder_with_the_wrong_byte_order(folder):
    for path in folder.iterdir():
        np.fromfile(path, "<f4").astype(">f4").tofile(path)
    with pytest.raises(ImportProblem, match="57 big-endian"):
        open_model(str(folder), HEADS)


def test_byte_order_of_usual_values_is_not_doubted():
    rng = np.random.default_rng(0)
    for scale in (1e-6, 1e-3, 1.0, 100.0):
        drawn = (scale * rng.standard_normal(300)).astype(np.float32)
        assert not looks_swapped(drawn) and looks_swapped(drawn.byteswap())
    assert not looks_swapped(np.zeros(5, np.float32)) and not looks_swapped(np.zeros(0, np.float32))
    assert not looks_swapped(np.ones(5, np.float32)) and not looks_swapped(np.full(3, np.nan, np.float32))


@pytest.mark.parametrize(
    "options", [{"heads": 4}, {"top_k": 1}, {"pixels": "imagenet"}, {"gate": "noisy"}, {"image_size": (64, 32)}]
)
def test_an_expected_output_that_is_not_reproduced_is_refused(folder, options):
    with pytest.raises(ImportProblem, match=r"output of block 3 must be the folder's l3_x_post_moe.*--heads, --top-k"):
        open_model(str(folder), ImportOptions(**{"heads": 2} | options))
    (folder / "l3_x_post_moe.float32.bin").unlink()
    assert not open_model(str(folder), ImportOptions(**{"heads": 2} | options)).report.checked


@pytest.mark.parametrize(
    "gone, text",
    [
        (["patch_embed_weight"], "must have patch_embed_weight.float32.bin, which gives the model's sizes"),
        (["pos_embed"], "must have pos_embed.float32.bin, which gives"),
        (
            ["l1_w_gate_T_task0", "l1_w_gate_T_task1", "l3_w_gate_T_task0", "l3_w_gate_T_task1"],
            "must have l1_w_gate_T_task0",
        ),
    ],
)
def test_files_that_give_sizes(folder, gone, text):
    for name in gone:
        (folder / f"{name}.float32.bin").unlink()
    with pytest.raises(ImportProblem, match=text):
        open_model(str(folder), HEADS)


def test_sizes_come_from_any_file_of_a_kind(folder):
    for name in (*EXPERTS[:1], "l1_htoh4_bias", "l3_htoh4_bias", "l0_fc1_bias", "l2_fc1_bias", "patch_embed_bias"):
        (folder / f"{name}.float32.bin").unlink()
    with pytest.raises(ImportProblem) as caught:
        open_model(str(folder), HEADS)
    assert set(caught.value.groups["missing"]) == {
        "l1_htoh4_weight.float32.bin: [6, 48, 32]",
        "l{1,3}_htoh4_bias.float32.bin: [6, 48]",
        "l{0,2}_fc1_bias.float32.bin: [64]",
        "patch_embed_bias.float32.bin: [32]",
    }
