"""Training: a short run learns and repeats exactly; the shipped model is a learned one."""

import dataclasses
import json

import pytest
import torch

from moesaic.golden import train as training
from moesaic.golden.config import preset
from moesaic.golden.gate import Routing
from moesaic.golden.train import FIRST_TRAINING_SEED, Recipe, balance_loss, evaluate, main, train
from moesaic.golden.weights import load

TINY = dataclasses.replace(preset("m3vit-micro"), depth=2, dim=32, mlp_ratio=2, expert_hidden=16, image_size=(32, 32))


def test_learns_and_repeats_exactly():
    recipe = Recipe(scenes=100, steps=40, batch=16, warmup=5)
    first, heads = train(TINY, recipe, quiet=True)
    again, _ = train(TINY, recipe, quiet=True)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not first.training and not heads.training
    start, _ = train(TINY, dataclasses.replace(recipe, steps=1), quiet=True)
    learned, untrained = (evaluate(model, heads, scenes=20) for model in (first, start))
    assert learned["miou"] > untrained["miou"] and learned["depth_rmse_m"] < untrained["depth_rmse_m"]


def test_balance_loss_is_one_when_balanced_and_grows_when_not():
    def routing(logits):
        return Routing(logits=logits, scores=logits[:, :1], index=logits.argmax(1, keepdim=True))

    balanced, skewed = 20 * torch.eye(4), 20 * torch.eye(4)[[0, 0, 0, 1]]
    assert balance_loss([routing(balanced)]).item() == pytest.approx(1.0, abs=1e-4)
    assert balance_loss([routing(skewed)]).item() == pytest.approx(4 * (0.75**2 + 0.25**2), abs=1e-4)


def test_evaluation_never_sees_training_scenes(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "render_batch", lambda seeds, size: (seen.extend(seeds), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        evaluate(*load("m3vit-micro")[:2], scenes=200)
    assert max(seen) < FIRST_TRAINING_SEED


def test_command_writes_weights_and_metrics(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "preset", lambda name: TINY)
    main(["--steps", "2", "--scenes", "8", "--out", str(tmp_path), "--threads", "1"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m3vit-micro.json", "m3vit-micro.safetensors"]
    report = json.loads((tmp_path / "m3vit-micro.json").read_text())
    assert report["recipe"]["steps"] == 2 and 0 <= report["unseen"]["miou"] <= 1


def test_command_refuses_bad_input(tmp_path, capsys):
    cases = ((["--model", "x"], "model must be one of"), (["--steps", "0"], "steps must be positive, not 0"))
    for bad, message in cases:
        with pytest.raises(SystemExit) as caught:
            main([*bad, "--out", str(tmp_path)])
        assert caught.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_shipped_micro_is_learned():
    model, heads, kind = load("m3vit-micro")
    assert kind == "trained"
    result = evaluate(model, heads, scenes=100)
    assert result["miou"] > 0.6 and result["depth_rmse_m"] < 9.0
    for loads in result["expert_load"].values():
        for shares in loads:
            assert min(shares) > 0.02 and max(shares) < 0.4  # all eight experts work
    assert max(result["same_experts_for_both_tasks"]) < 0.5  # tasks are routed differently
