"""`moesaic evaluate`: classes by folder, maps of scenes, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinyvit
import torch
from PIL import Image

from moesaic.golden.class_folders import find_classes
from moesaic.golden.evaluation import evaluate as scenes_of_the_module
from moesaic.golden.image_io import ImageError

MODEL = f"{tinyvit.__file__}:tiny"
COUNT = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in folders that are named by the class that the float network gives them; and a file that is no image."""
    folder, (network, _) = tmp_path_factory.mktemp("photos"), tinyvit.tiny()
    noise = np.random.default_rng(0)
    for number in range(COUNT):
        patches = noise.integers(0, 256, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        with torch.no_grad():
            image = torch.from_numpy(patches.transpose(2, 0, 1).copy()).float()[None] / 127.5 - 1
            place = folder / str(int(network(image).argmax()))
        place.mkdir(exist_ok=True)
        Image.fromarray(patches).save(place / f"{number}.png")
    (place / "notes.txt").write_text("no image")
    assert len(list(folder.iterdir())) > 1
    return folder


def scores(invoke: Callable[..., Any], *arguments: object) -> dict[str, Any]:
    done = invoke("evaluate", *arguments, "--json", "--quiet")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_classes_are_folders(photos: Path, tmp_path: Path, invoke: Callable[..., Any]) -> None:
    found = scores(invoke, MODEL, "--data", photos)
    (row,) = found["tasks"]
    assert row["before"] == 1 and row["after"] > 0.8 and row["after"] == row["alike"] and row["items"] == COUNT - 6
    assert [Path(name).name for name in found["skipped"]] == ["notes.txt"]
    shutil.copytree(photos, tmp_path / "other")
    names = sorted(path.name for path in (tmp_path / "other").iterdir())
    for name, new in zip(names, ["x", *names[:-1]], strict=True):  # every image in the folder of another class
        (tmp_path / "other" / name).rename(tmp_path / "other" / new)
    (tmp_path / "other" / "x").rename(tmp_path / "other" / names[-1])
    pattern = tmp_path / "other" / "*" / "*.png"
    (row,) = scores(invoke, MODEL, "--data", pattern, "--calibrate", "natural", "--limit", 8)["tasks"]
    assert row["before"] == 0 and row["items"] == 8


def test_maps_are_scored_on_scenes(invoke: Callable[..., Any]) -> None:
    """As `golden.evaluation.evaluate` does, which is written for itself."""
    found = scores(invoke, "m3vit-micro", "--scenes", 3)
    semseg, depth = found["tasks"]
    assert [row["metric"] for row in found["tasks"]] == ["miou", "rmse_m"]
    assert 0.5 < semseg["before"] < 1 and abs(semseg["after"] - semseg["before"]) < 0.02
    assert 0.9 < semseg["alike"] < 1
    assert 0 < depth["before"] < 20 and abs(depth["after"] - depth["before"]) < 0.1
    model, heads, _ = scenes_of_the_module.weights.load("m3vit-micro")
    images, _, depths = scenes_of_the_module.render_batch(range(3), (64, 64))
    with torch.no_grad():
        maps = np.stack([heads["depth"](model(image, "depth")[-1]).numpy() for image in images])
    assert depth["before"] == pytest.approx(float(np.sqrt(((maps.astype(float) - depths) ** 2).mean())))


def test_folders_are_outputs(tmp_path: Path) -> None:
    for name in ("cat", "ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    found = find_classes(str(tmp_path), 3)
    assert [file.parent.name for file in found.files] == ["ant", "bee", "cat"] and found.targets == (0, 1, 2)
    with pytest.raises(ImageError, match=r"each of the model's 10 outputs, .* not 3 folders \(ant, bee, cat\)"):
        find_classes(str(tmp_path), 10)
    with pytest.raises(ImageError, match="data must be a folder with a folder of images"):
        find_classes(str(tmp_path / "*.jpg"), 3)
    for name, new in (("cat", "10"), ("ant", "9"), ("bee", "2")):
        (tmp_path / name).rename(tmp_path / new)
    assert find_classes(str(tmp_path / "*" / "*.png"), 11).targets == (2, 9, 10)
    with pytest.raises(ImageError, match="folders from 0 to 9, the model's outputs, not '10'"):
        find_classes(str(tmp_path), 10)
    some, others = found.spread(2)
    assert some.targets == (0, 1) and others.targets == (2,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("m3vit-micro", "--data", "."), "data must be left out for 'semseg' of m3vit-micro, which gives [6, 64, 64]"),
        ((MODEL,), "data must be given for tiny"),
        ((MODEL, "--data", ".", "--metric", "f1"), "metric must be top1 or top5, not 'f1'"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], said: str, invoke: Callable[..., Any]) -> None:
    done = invoke("evaluate", *arguments)
    assert done.exit_code == 2 and said in done.stderr and done.stdout == ""
