"""Weights in several files: an index opens them, what is missing is named, and a shard alone is refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from published import Geometry, dense_state, transformers_names
from safetensors.torch import save_file

from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import ImportProblem

SIZES = Geometry(16, 16, 8, 32, 2, 2, 64)
HEADS = ImportOptions(heads=2)


def shards(folder: Path, *, binary: bool = False, count: int = 3) -> dict[str, str]:
    """A folder as `save_pretrained` cuts it; the index's map."""
    state = transformers_names(dense_state(SIZES))
    places = {}
    folder.mkdir(exist_ok=True)
    stem, suffix = ("pytorch_model", ".bin") if binary else ("model", ".safetensors")
    for i in range(count):
        file = f"{stem}-{i + 1:05d}-of-{count:05d}{suffix}"
        names = list(state)[i * len(state) // count : (i + 1) * len(state) // count]
        mine = {name: state[name] for name in names}
        (torch.save if binary else save_file)(mine, folder / file)
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps(index))
    return places


@pytest.mark.parametrize("binary", [False, True])
def test_a_folder_of_shards_is_its_model(tmp_path, binary):
    shards(tmp_path / "m", binary=binary)
    torch.save(transformers_names(dense_state(SIZES)), tmp_path / "whole.pth")
    whole = open_model(str(tmp_path / "whole.pth"), HEADS)
    index = next((tmp_path / "m").glob("*.index.json"))
    for path in (tmp_path / "m", index):
        imported = open_model(str(path), HEADS)
        assert imported.network.name == "m" and imported.state.keys() == whole.state.keys()
        assert all(torch.equal(tensor, whole.state[name]) for name, tensor in imported.state.items())


def test_missing_shards_and_tensors_are_named(tmp_path):
    places = shards(tmp_path)
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    for gone in names[:2]:
        (tmp_path / gone).unlink()
    with pytest.raises(ImportProblem, match="shards must be those of model.safetensors.index.json, all") as caught:
        open_model(str(tmp_path), HEADS)
    assert caught.value.groups == {"missing": ["model-{00001,00002}-of-00003.safetensors"]}
    shards(tmp_path)
    first = next(name for name, file in places.items() if file == names[1])
    save_file(
        {name: torch.ones(1) for name, file in places.items() if file == names[1] and name != first}
        | {"odd": torch.ones(1)},
        tmp_path / names[1],
    )
    with pytest.raises(ImportProblem) as caught:
        open_model(str(tmp_path), HEADS)
    assert caught.value.groups == {
        "missing": [f"{first} (in {names[1]})"],
        "not in the index": [f"odd (in {names[1]})"],
    }


def test_a_shard_alone_is_refused(tmp_path):
    shards(tmp_path)
    with pytest.raises(ImportProblem, match=r"must be whole, not shard 1 of 3 \(.*give the folder"):
        open_model(str(tmp_path / "model-00001-of-00003.safetensors"), HEADS)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    (tmp_path / "model-00001-of-00003.safetensors").rename(tmp_path / "first.safetensors")
    index["weight_map"] = {
        name: re.sub("model-00001.*", "first.safetensors", f) for name, f in index["weight_map"].items()
    }
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ImportProblem, match="not one of the 3 shards of model.safetensors.index.json"):
        open_model(str(tmp_path / "first.safetensors"), HEADS)
    (tmp_path / "model.safetensors.index.json").unlink()
    (tmp_path / "first.safetensors").unlink()
    with pytest.raises(ImportProblem, match="must have model.safetensors.index.json or .* beside them") as caught:
        open_model(str(tmp_path), HEADS)
    assert caught.value.groups == {"shards": [f"model-0000{i}-of-00003.safetensors" for i in (2, 3)]}


def test_one_of_one_is_whole(tmp_path):
    shards(tmp_path, count=1)
    assert open_model(str(tmp_path / "model-00001-of-00001.safetensors"), HEADS).network.depth == 2
    assert open_model(str(tmp_path), HEADS).network.depth == 2


@pytest.mark.parametrize("file", ["../secret.safetensors", "/etc/passwd", "a\\b", "..", "", 3, None])
def test_an_index_names_only_files_beside_it(tmp_path, file):
    shards(tmp_path / "m")
    save_file({"a": torch.ones(1)}, tmp_path / "secret.safetensors")
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(ImportProblem, match="must have a weight_map from tensors to files beside it"):
        open_model(str(tmp_path / "m"), HEADS)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "[" * 100_000])
def test_an_index_that_is_none(tmp_path, text):
    shards(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ImportProblem, match="index of shards must"):
        open_model(str(tmp_path), HEADS)


def test_of_two_files_of_weights_the_first_is_read_and_it_is_said(tmp_path):
    shards(tmp_path, binary=True)
    save_file(transformers_names(dense_state(SIZES, seed=3)), tmp_path / "model.safetensors")
    imported = open_model(str(tmp_path), HEADS)
    assert "model.safetensors is read, not pytorch_model.bin.index.json" in imported.report.notes
    assert torch.equal(imported.state["cls_token"], dense_state(SIZES, seed=3)["cls_token"])
