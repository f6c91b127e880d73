"""Training: a short run learns, repeats exactly and survives interruption; the shipped models are learned ones."""

import dataclasses
import itertools
import json

import pytest
import torch

from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation import quality as judge
from moesaic.golden.evaluation.quality import quality
from moesaic.golden.training import train as training
from moesaic.golden.training.pool import FIRST_TRAINING_SEED
from moesaic.golden.training.recipe import Recipe, rate_factor
from moesaic.golden.training.train import main, train
from moesaic.golden.training.trainer import FIRST_CHECK_SEED, Trainer, dense_twin
from moesaic.golden.weights import WeightError, load, read_file

TINY = dataclasses.replace(preset("m3vit-micro"), depth=2, dim=32, mlp_ratio=2, expert_hidden=16, image_size=(32, 32))
SHORT = Recipe(scenes=40, steps=8, batch=4, warmup=2, cooldown=0.5)


def run(recipe=SHORT, config=TINY, **options):
    return train(config, recipe, quiet=True, check_every=0, **options)


def assert_same(a: Trainer, b: Trainer) -> None:
    assert all(torch.equal(x, y) for x, y in zip(a.parameters, b.parameters, strict=True))


def test_learns():
    recipe = Recipe(scenes=60, steps=40, batch=8, warmup=5, rate=3e-3)
    learned, start = run(recipe), run(dataclasses.replace(recipe, steps=1))
    assert not learned.model.training and not learned.heads.training
    after, before = (quality(trainer.model, trainer.heads, scenes=20) for trainer in (learned, start))
    assert after["miou"] > before["miou"] + 0.1 and after["depth_rmse_m"] < before["depth_rmse_m"]


def test_repeats_exactly_with_any_number_of_threads():
    first = run()
    assert_same(first, run(threads=2))
    assert not torch.equal(first.model.pos_embed, run(dataclasses.replace(SHORT, seed=2)).model.pos_embed)


def test_an_odd_batch_is_the_mean_of_its_scenes():
    # Three scenes on two shards: the same gradients as the three on one.
    recipe = dataclasses.replace(SHORT, batch=3, noise=0.0, balance=0.0, outliers=0.0)
    split, whole = (Trainer(TINY, recipe) for _ in range(2))
    parts = [split._shard(i)[0] for i in range(2)]
    whole.recipe = dataclasses.replace(recipe, batch=6)  # a first shard of three scenes, half the weight
    for index, reference in enumerate(whole._shard(0)[0]):
        if reference is not None:
            total = sum(part[index].float() for part in parts if part[index] is not None)
            # Products in bfloat16: single gradients differ by rounding, which depends on the machine.
            assert (total - 2 * reference.float()).norm() < 0.1 * total.norm()


def test_resumed_is_uninterrupted(tmp_path):
    path = tmp_path / "run.safetensors"
    straight = run()
    half = Trainer(TINY, SHORT)
    steps = half.run()
    for _ in range(3):
        next(steps)
    half.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    assert_same(straight, run(checkpoint=path, resume=True))
    # Until the rate falls, runs of other lengths are the same run.
    half.save(path)
    longer = dataclasses.replace(SHORT, steps=12)
    assert_same(run(longer), run(longer, checkpoint=path, resume=True))


def test_what_cannot_be_resumed(tmp_path):
    path, trainer = tmp_path / "run.safetensors", Trainer(TINY, SHORT)
    for _, _ in zip(range(5), trainer.run(), strict=False):
        pass
    trainer.save(path)
    with pytest.raises(
        ValueError, match="steps must be those of the checkpoint .8. or leave its first 5 as they were, not 12"
    ):
        Trainer(TINY, dataclasses.replace(SHORT, steps=12)).resume(path)
    with pytest.raises(ValueError, match="recipe must be that of the checkpoint"):
        Trainer(TINY, dataclasses.replace(SHORT, rate=1.0)).resume(path)
    other = Trainer(dataclasses.replace(TINY, dim=64), SHORT)
    before = other.model.pos_embed.clone()
    with pytest.raises(WeightError, match=r"pos_embed: shape must be \[1, 17, 64\], not \[1, 17, 32\]"):
        other.resume(path)
    assert torch.equal(other.model.pos_embed, before)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightError, match="no checkpoint of a training"):
        Trainer(TINY, SHORT).resume(path)
    with pytest.raises(FileNotFoundError):
        Trainer(TINY, SHORT).resume(tmp_path / "none")
    with pytest.raises(ValueError, match="checkpoint must be given"):
        run(resume=True)


def test_rate_rises_stays_and_falls_to_zero():
    recipe = Recipe(steps=100, warmup=10, cooldown=0.3)
    rates = [rate_factor(step, recipe) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)]) and set(rates[10:70]) == {1.0}
    assert all(a > b for a, b in itertools.pairwise(rates[70:])) and 0 < rates[99] < 0.05
    assert rate_factor(100, recipe) == 0.0
    assert rates[:70] == [rate_factor(step, dataclasses.replace(recipe, steps=500)) for step in range(70)]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "steps must be positive, not 0"),
        ("batch", 0, "batch must be positive, not 0"),
        ("cooldown", 0.0, "cooldown must be above 0 and at most 1, not 0.0"),
    ],
)
def test_bad_recipes(field, value, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{field: value})


def test_judged_on_scenes_never_trained_on(monkeypatch):
    seen = []
    monkeypatch.setattr(judge, "render_batch", lambda seeds, size: (seen.extend(seeds), 1 / 0))
    for first in (0, FIRST_CHECK_SEED):
        with pytest.raises(ZeroDivisionError):
            quality(*load("m3vit-micro")[:2], scenes=500, first=first)
    assert max(seen) + 500 < FIRST_TRAINING_SEED


def test_dense_twin_computes_as_much():
    config = preset("m3vit-tiny")
    twin = dense_twin(config)
    gates = len(tuple(network_of(config).mixtures)) * network_of(config).tokens * config.dim * config.experts
    assert network_of(twin).macs == network_of(config).macs - gates and twin.mlp_hidden == 768
    with pytest.raises(ValueError, match="model must have experts, not 'm3vit-tiny-dense'"):
        dense_twin(twin)


def test_command_writes_weights_and_metrics(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "preset", lambda name: TINY)
    monkeypatch.setattr(training, "JUDGED", 4)
    folders = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    main(["--steps", "2", "--scenes", "8", *folders])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["m3vit-micro.json", "m3vit-micro.safetensors"]
    report = json.loads((tmp_path / "out" / "m3vit-micro.json").read_text())
    assert report["recipe"]["steps"] == 2 and 0 <= report["unseen"]["miou"] <= 1
    assert {t.dtype for t in read_file(tmp_path / "out" / "m3vit-micro.safetensors").values()} == {torch.float16}
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["m3vit-micro.checkpoint.safetensors"]
    with pytest.raises(SystemExit):
        main(["--steps", "2", "--scenes", "9", "--resume", *folders])
    assert "recipe must be that of the checkpoint" in capsys.readouterr().err
    main(["--steps", "2", "--scenes", "8", "--baseline", *folders])
    assert (tmp_path / "out" / "m3vit-micro-dense.safetensors").is_file()


def test_command_refuses_bad_input(tmp_path, capsys):
    cases = (
        (["--model", "x"], "model must be one of"),
        (["--steps", "0"], "steps must be positive, not 0"),
        (["--model", "deit-tiny", "--baseline"], "model must have experts, not 'deit-tiny'"),
        (["--threads", "0"], "threads must be positive, not 0"),
        (["--resume", "--work", str(tmp_path)], "there must be a checkpoint to resume, not nothing at"),
    )
    for bad, message in cases:
        with pytest.raises(SystemExit) as caught:
            main([*bad, "--out", str(tmp_path)])
        assert caught.value.code == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_shipped_micro_is_learned():
    model, heads, kind = load("m3vit-micro")
    assert kind == "trained"
    result = quality(model, heads, scenes=100)
    assert result["miou"] > 0.6 and result["depth_rmse_m"] < 9.0
    for loads in result["expert_load"].values():
        for shares in loads:
            assert min(shares) > 0.02 and max(shares) < 0.4  # all eight experts work
    assert max(result["same_experts_for_both_tasks"]) < 0.5  # tasks are routed differently
