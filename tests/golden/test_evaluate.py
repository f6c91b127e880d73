"""What quantisation costs the tasks."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from moesaic.golden import weights
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.evaluation.evaluate import evaluate, main
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.pictures import GAP, TITLE, depth_picture, label_picture
from moesaic.golden.pictures import sheet as draw_sheet
from moesaic.golden.quantize import quantize
from moesaic.golden.training.scenes import render, render_batch

torch.set_num_threads(1)  # tensors this small only lose by more


def test_command_writes_json(tmp_path, capsys):
    out, sheet = tmp_path / "quality.json", tmp_path / "maps.png"
    main(["--scenes", "2", "--key-block", "8", "--out", str(out), "--pictures", str(sheet)])
    result = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == result
    assert result["model"] == "m3vit-micro" and result["scenes"] == 2
    assert set(result["tasks"]) == {"semseg", "depth"} and len(result["blocks"]["depth"]) == 4
    assert 0.8 < result["tasks"]["semseg"]["same_pixels"] <= 1
    alike = [row["routing_agreement"] for row in result["blocks"]["depth"] if row["kind"] == "moe"]
    assert result["routing_agreement"]["depth"] == {"mean": pytest.approx(np.mean(alike)), "worst": min(alike)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps.png", "quality.json"]
    # Two rows of seven pictures: the second scene's image, truth and float map, each in its place.
    page = np.asarray(Image.open(sheet)).transpose(2, 0, 1)
    assert page.shape == (3, TITLE + 2 * 64 + GAP, 7 * 64 + 6 * GAP)
    scene = render(1, (64, 64))
    model, heads, _ = weights.load("m3vit-micro")
    with torch.no_grad():
        depth = heads["depth"](model(scene.image, "depth")[-1]).numpy()
    expected = {0: scene.image, 1: label_picture(scene.labels), 4: depth_picture(scene.depth), 5: depth_picture(depth)}
    top = TITLE + 64 + GAP
    for column, picture in expected.items():
        left = column * (64 + GAP)
        found = page[:, top : top + 64, left : left + 64].astype(int)
        assert np.abs(found - picture).max() <= 2, column  # float may differ in the last place with the batch


def test_blocks_are_judged_on_all_scenes():
    model, heads, kind = weights.load("m3vit-micro")
    q = quantize(model, calibration_images(model.network, 4), weights=kind)
    result = evaluate(model, heads, q, scenes=12, key_block=8, quiet=True)
    images = render_batch(range(12), model.network.image_size)[0]
    for task in model.network.tasks:
        assert result[task]["blocks"] == agreement(model, IntM3ViT(q, 8), images, task)
        assert result[task]["blocks"] != agreement(model, IntM3ViT(q, 8), images[:8], task)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (["--scenes", "0"], "scenes must be positive, not 0"),
        (["--rows", "0"], "rows must be positive, not 0"),
        (["--weights", "none.safetensors"], "none.safetensors"),
    ],
)
def test_bad_input_is_refused(bad, message, capsys):
    with pytest.raises(SystemExit):
        main(bad)
    assert message in capsys.readouterr().err


def test_sheet_refuses_odd_pictures():
    a, b = np.zeros((3, 4, 5), dtype=np.uint8), np.zeros((3, 4, 6), dtype=np.uint8)
    for titles, rows in ((["x", "y"], [[a, b]]), (["x"], [[a, a]])):
        with pytest.raises(ValueError, match="rows must have a picture of one size for each of"):
            draw_sheet(titles, rows)


@pytest.mark.slow
def test_trained_micro_keeps_its_quality():
    model, heads, kind = weights.load("m3vit-micro")
    assert kind == "trained"
    q = quantize(model, calibration_images(model.network), weights=kind)
    result = evaluate(model, heads, q, scenes=200, key_block=8, quiet=True)
    assert abs(result["semseg"]["difference_points"]) < 1
    assert abs(result["depth"]["change_percent"]) < 2
