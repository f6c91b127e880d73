"""What quantisation costs the tasks."""

import json

import pytest
import torch

from moesaic.golden import weights
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.evaluate import evaluate, main
from moesaic.golden.quantize import quantize

torch.set_num_threads(1)  # tensors this small only lose by more


def test_command_writes_json(tmp_path, capsys):
    out = tmp_path / "quality.json"
    main(["--scenes", "2", "--key-block", "8", "--out", str(out)])
    result = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out) == result
    assert result["model"] == "m3vit-micro" and result["scenes"] == 2
    assert set(result["tasks"]) == {"semseg", "depth"} and len(result["blocks"]["depth"]) == 4
    assert 0.8 < result["tasks"]["semseg"]["same_pixels"] <= 1
    assert [p.name for p in tmp_path.iterdir()] == ["quality.json"]


def test_scenes_must_be_positive(capsys):
    with pytest.raises(SystemExit):
        main(["--scenes", "0"])
    assert "scenes must be positive, not 0" in capsys.readouterr().err


@pytest.mark.slow
def test_trained_micro_keeps_its_quality():
    model, heads, kind = weights.load("m3vit-micro")
    assert kind == "trained"
    q = quantize(model, model.config, calibration_images(model.config), weights=kind)
    result = evaluate(model, heads, q, scenes=200, key_block=8, quiet=True)
    assert abs(result["semseg"]["difference_points"]) < 1
    assert abs(result["depth"]["change_percent"]) < 2
