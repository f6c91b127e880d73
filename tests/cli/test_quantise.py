"""`moesaic quantise`: figures, images of all kinds, and that what it makes is what is compiled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from moesaic.errors import InputError
from moesaic.flow.calibration import calibration
from moesaic.flow.request import make_request
from moesaic.golden import quantfile, weights
from moesaic.golden.image_io import write_image, write_sample
from moesaic.records import to_plain
from moesaic.report.quantise_folder import read_costs

SIZE = (64, 64)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight images, one of another size, and two files that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(8):
        write_sample(folder / f"{i}.png", SIZE if i else (100, 80), 50 + i)
    (folder / "broken.png").write_bytes((folder / "1.png").read_bytes()[:300])
    (folder / "readme.txt").write_text("photos")
    return folder


def test_figures_of_a_folder(photos: Path, invoke: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = invoke("quantise", "m3vit-micro", "--calibrate", photos, "--json", "--out", out)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert json.loads((out / "quantise.json").read_text()) == report == to_plain(read_costs(out))
    assert quantfile.load(out / "network.safetensors").network.name == "m3vit-micro"
    assert [row["file"] for row in report["skipped"]] == ["broken.png", "readme.txt"]
    assert "skipped broken.png" in done.stderr and "skipped readme.txt" in done.stderr
    assert report["warnings"] == []
    assert report["calibrated_on"].startswith("6 images of ") and report["measured_on"] == "2 other images of it"
    assert report["layers_measured_on"] == 2
    assert 0.5 < report["beyond_calibration"]["range"] < 2 and report["beyond_calibration"]["saturated"] < 0.01
    assert [row["name"] for row in report["blocks"]] == [f"blocks.{i}" for i in range(4)]
    for row in report["blocks"]:
        assert 20 < row["sqnr_db"] < 60
        assert (row["routing_agreement"] is None) == (row["kind"] == "dense")
    assert report["sqnr_db"] == min(row["sqnr_db"] for row in report["tasks"]["depth"] + report["tasks"]["semseg"])
    assert 0.9 < report["routing_agreement"] <= 1
    assert sum(row["share"] for row in report["layers"]) == pytest.approx(1)
    names = {row["name"] for row in report["layers"]}
    assert {"blocks.0.hidden", "blocks.1.norm2.gate", "blocks.3.fc2.weight"} <= names
    assert "blocks.0.norm2.gate" not in names
    shares = {row["name"]: row["share"] for row in report["layers"]}
    assert report["spend"] and all(row["name"] in names for row in report["spend"])
    assert max(shares, key=lambda name: shares[name]) in {row["name"] for row in report["spend"]}


def test_damaged_figures(tmp_path: Path) -> None:
    block = {"name": "blocks.0", "kind": "dense", "sqnr_db": 40.0, "cosine": 0.999, "routing_agreement": None}
    cost = {"name": "blocks.0.hidden", "share": 1.0, "rerouted": 0}
    whole = {
        **dict.fromkeys(("model", "weights", "widths", "calibrated_on", "measured_on"), "some"),
        "finer": [],
        "skipped": [],
        "warnings": [],
        "recentred": False,
        "reconstructed": False,
        "layers_measured_on": 2,
        "beyond_calibration": {"range": 1.1, "block": "blocks.0", "saturated": 0.0, "most": None, "most_share": 0},
        "sqnr_db": 40.0,
        "routing_agreement": None,
        "blocks": [block],
        "tasks": {"depth": [block]},
        "layers": [{**cost, "sqnr_db": None, "alone_db": 41.5}],
        "spend": [cost],
        "coverage": None,
    }
    path = tmp_path / "quantise.json"
    path.write_text(json.dumps(whole))
    assert to_plain(read_costs(tmp_path)) == whole
    for change, message in (
        ({"blocks": []}, "a list of 1 to"),
        ({"tasks": {"depth": [{**block, "name": "blocks.1"}]}}, "blocks of task 'depth' must be blocks.0"),
        ({"spend": [{**cost, "share": 2}]}, "a number from 0 to 1"),
        ({"layers": [cost]}, "sqnr_db"),
        ({"recentred": 1}, "true or false"),
    ):
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(InputError, match=message):
            read_costs(tmp_path)
    with pytest.raises(InputError, match=r"folder must hold a quantise\.json"):
        read_costs(tmp_path / "none")


def test_table_is_for_people(photos: Path, invoke: Callable[..., Any]) -> None:
    done = invoke("quantise", "m3vit-micro", "--calibrate", photos, "--quiet")
    assert done.exit_code == 0, done.stderr
    assert "Integers against float" in done.stdout and "Where more bits would help most" in done.stdout
    assert "blocks.3" in done.stdout


def test_one_image_of_one_colour_is_warned_of(tmp_path: Path, invoke: Callable[..., Any]) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    write_image(folder / "grey.png", np.full((3, *SIZE), 128, np.uint8))
    done = invoke("quantise", "m3vit-micro", "--calibrate", folder, "--json")
    assert done.exit_code == 0, done.stderr
    warnings = json.loads(done.stdout)["warnings"]
    assert warnings[0] == "1 of 1 images show one colour only: grey.png"
    assert "images are few" in warnings[1] and "steps were chosen by" in warnings[2]
    assert done.stderr.count("warning:") == 3


def test_a_run_says_what_it_was_calibrated_on(
    photos: Path, tmp_path: Path, invoke: Callable[..., Any], results: Any
) -> None:
    program, out = tmp_path / "program", tmp_path / "out"
    (photos / "<i>odd.txt").write_text("a name that is no HTML")
    arguments = ("--model", "m3vit-micro", "--blocks", 1, "--calibrate", photos)
    done = invoke("run", *arguments, "--sim", "functional", "--out", out)
    assert done.exit_code == 0, done.stderr
    wanted = f"6 images of {photos}"
    report, page = results(out).report, results(out).page
    assert report["calibrated_on"] == wanted and f"calibrated on {wanted}" in page
    skipped = ["<i>odd.txt", "broken.png", "readme.txt"]
    assert [row["file"] for row in report["calibration_images"]["skipped"]] == skipped
    assert "3 files of the folder skipped: <code>&lt;i&gt;odd.txt</code>" in page and "<code>readme.txt</code>" in page
    assert "skipped broken.png: " in done.stderr

    for path in photos.iterdir():
        path.unlink()
    write_image(photos / "grey.png", np.full((3, *SIZE), 128, np.uint8))
    done = invoke("compile", *arguments, "--out", program)
    assert done.exit_code == 0 and "warning: 1 of 1 images show one colour only: grey.png" in done.stderr, done.stderr
    done = invoke("simulate", program, "--sim", "functional", "--out", out, "--quiet")
    assert done.exit_code == 0, done.stderr
    report, page = results(out).report, results(out).page
    assert report["calibrated_on"] == f"1 images of {photos}"
    assert "1 of 1 images show one colour only: grey.png" in report["calibration_images"]["warnings"][0]
    assert "show one colour only: grey.png" in page


def test_images_decide_the_network(photos: Path) -> None:
    plain, ours = make_request(model="m3vit-micro"), make_request(model="m3vit-micro", calibrate=photos)
    seen = calibration(ours)
    assert seen.images.shape == (6, 3, *SIZE) and seen.unseen.shape == (2, 3, *SIZE)
    assert not any(np.array_equal(a, b) for a in seen.images for b in seen.unseen)
    rendered = calibration(plain)
    assert len(rendered.images) == 32 and len(rendered.unseen) == 16
    assert not any(np.array_equal(a, b) for a in rendered.images for b in rendered.unseen)


def test_images_of_other_sources(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy\nimages = list(numpy.eye(64, dtype='u1').reshape(1, 64, 64) * 255) * 9"
    )
    seen = calibration(make_request(model="m3vit-micro", calibrate=tmp_path / "data.py:images"))
    assert seen.source == f"6 images of {tmp_path}/data.py:images" and seen.images.max() == 255
    seen = calibration(make_request(model="m3vit-micro", calibrate=Path("natural")))
    assert seen.source == "32 images of noise with natural spectra" and len(seen.unseen) == 16
    assert not any(np.array_equal(a, b) for a in seen.images for b in seen.unseen)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "calibrate must be a folder of images, a dataset as module:name, or 'natural', not"),
        (
            lambda folder: folder.write_text("x"),
            "calibrate must be a folder of images, a dataset as module:name, or 'natural', not",
        ),
        (lambda folder: folder.mkdir(), "calibrate must be a folder with images in it, not"),
    ],
)
@pytest.mark.parametrize("command", ["quantise", "compile"])
def test_no_images(
    command: str, make: Callable[[Path], Any], message: str, tmp_path: Path, invoke: Callable[..., Any]
) -> None:
    make(tmp_path / "images")
    out = tmp_path / "new" / "out"
    done = invoke(command, "m3vit-micro", "--calibrate", tmp_path / "images", "--out", out)
    assert done.exit_code == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not out.parent.exists() and done.stdout == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.fill_(float("nan")), "NaN or infinite"),
        (lambda tensor: tensor.mul_(1e30), "output must be finite in calibration, not so for task semseg"),
    ],
)
def test_values_that_are_not_finite(
    change: Callable[[torch.Tensor], Any], message: str, tmp_path: Path, invoke: Callable[..., Any]
) -> None:
    model, heads, _ = weights.load("m3vit-micro")
    with torch.no_grad():
        change(model.blocks[1].mlp.experts.h4toh.weight)
    save_file(
        {**model.state_dict(), **{f"heads.{name}": t for name, t in heads.state_dict().items()}},
        tmp_path / "w.safetensors",
    )
    done = invoke("quantise", "m3vit-micro", "--weights", tmp_path / "w.safetensors", "--out", tmp_path / "out")
    assert done.exit_code == 2 and message in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_result_folder_is_not_overwritten(tmp_path: Path, invoke: Callable[..., Any]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = invoke("quantise", "m3vit-micro", "--out", tmp_path)
    assert done.exit_code == 2 and "quantise.json" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
