"""Files that are no weights, not whole, or not to be trusted."""

import argparse
import pickle
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from published import MICRO, random_state
from safetensors.torch import save_file

from moesaic.golden.importers.containers import read_held
from moesaic.golden.importers.files import read_file
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import Findings, ImportProblem, folded


class Trap:
    """Writes a file when it is unpickled by a reader that runs what it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


STATE = {"patch_embed.proj.weight": torch.arange(12.0).reshape(1, 3, 2, 2), "a": torch.ones(2, dtype=torch.int64)}


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("zipped", [True, False])
def test_containers_and_both_formats_of_torch(tmp_path, key, zipped):
    # A training checkpoint keeps an optimiser and scores, NumPy's among them.
    whole = {"epoch": 3, key: STATE, "best": {"miou": np.float64(0.5), "n": np.int64(3)}} if key else STATE
    torch.save(whole, tmp_path / "a.bin", _use_new_zipfile_serialization=zipped)
    (held,) = (held for held in read_held(tmp_path / "a.bin") if held.where == ((key,) if key else ()))
    found = held.tensors
    assert found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_safetensors_whatever_it_is_called(tmp_path):
    save_file(STATE, tmp_path / "a.pth")
    assert torch.equal(read_file(tmp_path / "a.pth")["a"], STATE["a"])


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run(tmp_path, zipped):
    trap = tmp_path / "sprung"
    torch.save({"state_dict": STATE, "x": Trap(trap)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ImportProblem, match=r"it asks to run .*save its tensors alone: torch.save"):
        read_file(tmp_path / "a.pth")
    assert not trap.exists()
    with pytest.raises(ImportProblem, match="it asks to run fractions.Fraction"):
        torch.save({"model": STATE, "rate": Fraction(1, 3)}, tmp_path / "b.pth")
        read_file(tmp_path / "b.pth")


def test_arguments_of_a_training_script_are_no_code(tmp_path):
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1, betas=(0.9, 0.99))}, tmp_path / "a.pth")
    assert read_file(tmp_path / "a.pth")["args"].lr == 1


def test_trap_works_where_code_is_run(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", ["zip", "pickle", "safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.98])
def test_cut_files(tmp_path, kind, keep):
    state = random_state(MICRO)
    if kind == "safetensors":
        save_file(state, tmp_path / "a")
    else:
        torch.save({"state_dict": state}, tmp_path / "a", _use_new_zipfile_serialization=kind == "zip")
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(
        ImportProblem, match=r"must be a whole \.pth or \.safetensors file, not .*a' \((damaged|it is empty)"
    ):
        read_file(tmp_path / "a")


@pytest.mark.parametrize(
    "data, text",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer: fetch the file itself"),
        (b"<!DOCTYPE html><html>404</html>", "neither a zip archive, nor a pickle, nor safetensors"),
    ],
)
def test_other_files(tmp_path, data, text):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ImportProblem, match=text):
        read_file(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "whole, text",
    [
        ({"epoch": 1, "state_dict": {}}, "not .* which holds: epoch, state_dict"),
        ([torch.ones(1)], "which holds: list"),
        ({"a": torch.ones(1), "b": 3}, "must be a vision transformer's"),
        ({"blocks.0._fsdp_wrapped_module._flat_param": torch.ones(2)}, "not FSDP's flat ones .*FULL_STATE_DICT"),
        ({"patch_embed.proj.weight": torch.ones(1).expand(9)}, "dense tensors by name, value by value"),
        ({"patch_embed.proj.weight": torch.ones(2).to_sparse()}, "dense tensors by name"),
        ({"a": torch.ones(2)}, "must be a vision transformer's.*no name ends in patch_embed.proj.weight"),
        (
            {"x.patch_embed.proj.weight": torch.ones(2), "y.patch_embed.proj.weight": torch.zeros(2)},
            "must be one vision transformer's",
        ),
        ({"patch_embed.proj.weight": torch.ones(8, 3, 4, 4)}, "must have blocks.0 and so on"),
        (
            {"patch_embed.proj.weight": torch.ones(8, 3, 4, 4), "blocks.0.norm1.weight": torch.ones(8)},
            "must have pos_embed, which gives",
        ),
    ],
)
def test_no_state_dict_of_a_vision_transformer(tmp_path, whole, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sparse tensors are called experimental
        torch.save(whole, tmp_path / "a.pth")
    with pytest.raises(ImportProblem, match=text):
        open_model(str(tmp_path / "a.pth"), ImportOptions())


def test_other_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("patch_embed.npy", b"")
    with pytest.raises(ImportProblem, match="a zip archive that torch.save did not write"):
        read_file(tmp_path / "a.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(ImportProblem, match="a TorchScript archive: save the scripted module's state_dict"):
        read_file(tmp_path / "a.pt")


def test_paths_that_hold_nothing(tmp_path):
    with pytest.raises(ImportProblem, match="must be a file or folder that exists"):
        open_model(str(tmp_path / "none.pth"), ImportOptions())
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ImportProblem, match=r"must be a folder with 0.pth and so on") as caught:
        open_model(str(tmp_path), ImportOptions())
    assert caught.value.groups == {"it holds 1 entries": ["notes.txt"]}


def test_names_with_one_problem_share_a_line():
    assert folded(["blocks.1.a", "blocks.3.a", "x", "blocks.7.b"]) == ["blocks.{1,3}.a", "x", "blocks.7.b"]
    assert folded(["m-00007-of-00009", "m-00008-of-00009", "k-007"]) == ["m-{00007,00008}-of-00009", "k-007"]
    assert folded(f"l{i}_w" for i in (10, 2, 0, 1, 4, 5)) == ["l{0..2,4,5,10}_w"]
    findings = Findings()
    findings.check("nothing is wrong")
    for i in range(3):
        findings.add("missing", f"b.{i}.w", "[3]")
    findings.add("missing", "b.1.v", "[4]")
    with pytest.raises(ImportProblem, match="bad: 4 missing") as caught:
        findings.check("bad")
    assert str(caught.value) == "bad: 4 missing\n  missing:\n    b.{0..2}.w: [3]\n    b.1.v: [4]"
