"""Models from files on the command line: what is assumed, filled or wrong is said everywhere."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import MICRO, Geometry, decoder_state, random_state, save_edge_moe

from moesaic.flow.request import make_request

FUNCTIONAL = ["--board", "micro8", "--heads", "2", "--sim", "functional"]
EXPERTS = ("l1_htoh4_weight", "l3_h4toh_weight")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Edge-MoE folder, one without some experts, and an M3ViT checkpoint with heads."""
    folder, state = tmp_path_factory.mktemp("models"), random_state(MICRO)
    save_edge_moe(folder / "edge", MICRO, state)
    save_edge_moe(folder / "partial", MICRO, state, leave_out=EXPERTS)
    whole = {f"backbone.{name}": tensor for name, tensor in state.items()} | decoder_state(MICRO, ("edge", "sal"))
    torch.save({"state_dict": whole}, folder / "checkpoint.pth.tar")
    return folder


def test_edge_moe_folder_through_rtl(place: Path, tmp_path: Path, invoke: Callable[..., Any], results: Any) -> None:
    out = tmp_path / "out"
    done = invoke("run", "--model", place / "edge", "--board", "micro8", "--heads", "2", "--task", "all", "--out", out)
    assert done.exit_code == 0, done.stderr
    report = results(out).report
    assert report["bit_exact"] and report["compared"] == ["integer golden", "functional simulator", "RTL"]
    assert report["weights"] == "imported" and [item["task"] for item in report["items"]] == ["semseg", "depth"]
    assert not report["import"]["filled"] and "mean squared error" in report["import"]["checked"]
    assert "assumed: top-2, as published (--top-k)" in done.stderr
    assert "Edge-MoE weight folder, 57 files" in results(out).page


def test_drawn_experts_are_said_everywhere(
    place: Path, tmp_path: Path, invoke: Callable[..., Any], results: Any
) -> None:
    out, model = tmp_path / "out", place / "partial"
    refused = invoke("run", "--model", model, *FUNCTIONAL, "--out", out)
    assert refused.exit_code == 2 and "--fill-missing" in refused.stderr and not out.exists()
    assert "l1_htoh4_weight.float32.bin: [6, 48, 32]" in refused.stderr
    done = invoke("run", "--model", model, *FUNCTIONAL, "--fill-missing", "--seed", "4", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "drawn at random: blocks.1.mlp.experts.htoh4.weight, blocks.3.mlp.experts.h4toh.weight" in done.stderr
    assert "weights: partly seeded" in done.stdout
    report, page = results(out).report, results(out).page
    assert report["weights"] == report["import"]["kind"] == "partly seeded"
    assert report["import"]["filled"] == ["blocks.1.mlp.experts.htoh4.weight", "blocks.3.mlp.experts.h4toh.weight"]
    assert "Part of the weights is drawn at random" in page and "partly seeded weights" in page
    assert json.loads((out / "program" / "manifest.json").read_text())["weights"] == "partly seeded"
    assert json.loads((out / "program" / "origin.json").read_text())["import"]["kind"] == "partly seeded"


def test_explore_a_checkpoint(place: Path, tmp_path: Path, invoke: Callable[..., Any]) -> None:
    """What is said of a model's files counts: heads and experts per token change what is estimated."""
    (tmp_path / "space.toml").write_text(
        "rows = 8\nlanes = [8, 16]\nload_rows = 2\nports = 2\nprefetch_kib = 64\nactivation_kib = 16\n"
    )

    def fastest(*options: str) -> float:
        done = invoke(
            "explore",
            place / "checkpoint.pth.tar",
            "--board",
            "pynq-z2",
            "--space",
            tmp_path / "space.toml",
            "--out",
            tmp_path / "out",
            "--json",
            *options,
        )
        assert done.exit_code == 0, done.stderr
        return float(json.loads(done.stdout)["front"][0]["latency_ms"])

    one, two, three = (
        fastest("--heads", "2", "--top-k", "1"),
        fastest("--heads", "2"),
        fastest("--heads", "2", "--top-k", "3"),
    )
    assert one < two < three
    assert fastest("--heads", "4") > two  # half the lanes are masked


def test_compile_and_simulate_a_checkpoint(
    place: Path, tmp_path: Path, invoke: Callable[..., Any], results: Any
) -> None:
    model, program, out = tmp_path / "mine.pth.tar", tmp_path / "program", tmp_path / "out"
    model.write_bytes((place / "checkpoint.pth.tar").read_bytes())
    done = invoke("compile", model, "--board", "micro8", "--heads", "2", "--top-k", "1", "--out", program)
    assert done.exit_code == 0, done.stderr
    assert "6 tensors of heads kept" in done.stderr
    done = invoke("simulate", program, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 0, done.stderr
    report = results(out).report
    assert (
        report["model"] == "mine"
        and {item["task"] for item in report["items"]} == {"edge", "sal"}
        and report["bit_exact"]
    )
    assert all(sum(tokens) == 2 * 33 for tokens in report["tokens_per_expert"].values())
    other = torch.load(model, weights_only=True)
    other["state_dict"]["backbone.pos_embed"] += 1
    torch.save(other, model)
    done = invoke("simulate", program, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 2 and "compile again" in done.stderr
    model.unlink()
    done = invoke("simulate", program, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 0, done.stderr
    assert results(out).report["not_compared"].endswith("are not there: pass --model PATH to compare it")


def test_usual_board_follows_the_sizes(tmp_path: Path) -> None:
    sizes = Geometry(224, 224, 16, 384, 6, 1, 1536)  # DeiT-small's, of one block
    torch.save(random_state(sizes), tmp_path / "a.pth")
    assert make_request(model=str(tmp_path / "a.pth")).board == "zcu102-small"
    assert make_request(model=str(tmp_path / "a.pth"), board="zcu104").board == "zcu104"


BAD = [
    (["compile", "none/weights.pth"], "model must be a file or folder that exists, not 'none/weights.pth'"),
    (
        ["compile", "resnet"],
        "model must be one of m3vit-micro, .*, a file or folder of weights, or module:function, not 'resnet'",
    ),
    (["compile", "m3vit-micro", "--model", "m3vit-tiny"], "model must be given once"),
    (
        ["compile", "m3vit-micro", "--top-k", "2", "--fill-missing"],
        "--top-k, --fill-missing must be said of a model from files",
    ),
    (["compile", "{}/edge", "--weights", "a.safetensors"], "weights must be given for a built-in model"),
    (["compile", "{}/edge"], "heads must be given with --heads for a model of 32 channels"),
    (["compile", "{}/edge", "--heads", "3"], "heads must divide the model's 32 channels, not 3"),
    (["explore", "{}/edge", "--heads", "3"], "heads must"),
    (
        ["explore", "m3vit-micro", "--heads", "2"],
        "heads must be said of a model from files, not of the built-in 'm3vit-micro'",
    ),
    (["compile", "{}/edge", "--image-size", "64"], "image-size must be HEIGHTxWIDTH, such as 128x256, not '64'"),
    (
        ["compile", "{}/partial", "--heads", "2", "--fill-missing", "--seed", "-1"],
        r"seed must be from 0 to \d+, not -1",
    ),
    (["compile", "{}/edge", "--heads", "2", "--tasks", "a,a"], "tasks must be distinct names"),
    (["compile", "{}/edge", "--heads", "2", "--gate", "open"], "gate must be one of noisy_vmoe, noisy, not 'open'"),
    (["compile", "{}/edge", "--heads", "2", "--task", "edge"], "task must be one of semseg, depth, all, not 'edge'"),
    (["compile", "{}/edge", "--heads", "2", "--blocks", "5"], "blocks must be from 1 to 4, not 5"),
    (
        ["compile", "{}/checkpoint.pth.tar", "--heads", "2", "--tasks", "a"],
        "tasks must be 2 names, one a gate, not 'a'",
    ),
    (["compile", "{}"], "model must be a folder with 0.pth and so on"),
    (["compile", "{}/edge/image.float32.bin"], "weights must be a whole .pth or .safetensors file"),
]


@pytest.mark.parametrize("arguments, text", BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input(
    place: Path, tmp_path: Path, invoke: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, arguments, text
):
    monkeypatch.chdir(tmp_path)
    done = invoke(*(argument.replace("{}", str(place)) for argument in arguments), "--out", tmp_path / "out")
    assert done.exit_code == 2 and re.search(text, done.stderr), done.stderr
    assert not any(tmp_path.iterdir())
