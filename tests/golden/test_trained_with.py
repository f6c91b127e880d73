"""Options of training that change the network: their equations, what a file says of them, and who refuses them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from trainedfiles import CLIPPED, GATES, MICRO, REGISTERS, written
from typer.testing import CliRunner

from moesaic.cli import app
from moesaic.compiler.pipeline import compile_model
from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.golden import weights
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import network_of
from moesaic.golden.layers.sizes import AttentionSizes
from moesaic.golden.m3vit import M3ViT, seeded
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.network import check_runs
from moesaic.golden.quantize import quantize
from moesaic.golden.trace import Trace
from moesaic.golden.trained_with import KEY, MOST_REGISTERS, TrainedWith, trained_with
from moesaic.golden.training.recipe import Recipe
from moesaic.golden.training.trainer import ResumeError, Trainer
from moesaic.golden.weights import WeightError
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator

SHORT = ("--steps", 1, "--scenes", 4)
SMALL = dataclasses.replace(MICRO, depth=2, dim=32, mlp_ratio=2, expert_hidden=16, image_size=(32, 32))


@pytest.fixture(scope="module")
def invoke() -> Callable[..., Any]:
    """Run a command in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def traced(chosen: TrainedWith) -> tuple[M3ViT, Trace]:
    model, trace = seeded(network_of(chosen.network(SMALL)), 3), Trace()
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    with torch.no_grad():
        model(image, 0, trace=trace)
    return model, trace


def test_a_clipped_softmax_is_its_equation() -> None:
    _, trace = traced(CLIPPED)
    scores = trace["blocks.0.attn.scores"].astype(np.float64)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    expected = np.clip(1.05 * powers / powers.sum(axis=-1, keepdims=True) - 0.05, 0, 1)
    np.testing.assert_allclose(trace["blocks.0.attn.probs"], expected, atol=1e-6)
    assert (expected == 0).any() and (expected > 0).any()


def test_gates_are_their_equation() -> None:
    model, trace = traced(GATES)
    attention = model.get_submodule("blocks.0.attn")
    normed = trace["blocks.0.norm1"].astype(np.float64)
    logits = normed @ attention.gate.weight.detach().double().numpy().T + attention.gate.bias.detach().double().numpy()
    values = trace["blocks.0.attn.v"].reshape(len(normed), SMALL.heads, -1).astype(np.float64)
    mixed = np.einsum("hqk,khd->qhd", trace["blocks.0.attn.probs"], values) / (1 + np.exp(-logits))[..., None]
    np.testing.assert_allclose(trace["blocks.0.attn.context"], mixed.reshape(len(normed), -1), atol=1e-5)


@pytest.mark.parametrize("chosen", [CLIPPED, GATES, REGISTERS, TrainedWith()], ids=lambda chosen: chosen.suffix)
def test_a_file_carries_its_options_and_loading_rebuilds_them(tmp_path: Path, chosen: TrainedWith) -> None:
    path = written(tmp_path, chosen)
    assert path.name == f"m3vit-micro{chosen.suffix}.safetensors"
    assert trained_with(path, "m3vit-micro") == chosen
    model, heads, _ = weights.load("m3vit-micro", path=path)
    assert model.network == dataclasses.replace(network_of(chosen.network(MICRO)))
    image = calibration_images(model.network, 1)
    reference = seeded(network_of(chosen.network(MICRO)), 1)
    reference.load_state_dict({name: tensor.half().float() for name, tensor in reference.state_dict().items()})
    with torch.no_grad():
        assert torch.equal(model(image, "depth")[-1], reference(image, "depth")[-1])
        assert heads["depth"](model(image, "depth")[-1]).shape == (1, 64, 64)


def test_what_only_trains_is_refused_before_any_work(tmp_path: Path, invoke: Callable[..., Any]) -> None:
    for chosen, what in ((CLIPPED, r"a clipped softmax (gamma -0.05)"), (GATES, "gated attention")):
        path = written(tmp_path, chosen)
        for command in ("quantise", "compile", "evaluate"):
            done = invoke(command, "m3vit-micro", "--weights", path)
            assert done.exit_code == 2 and done.stdout == "" and len(done.stderr.strip().splitlines()) == 1
            assert f"node 'blocks.0.attn' of m3vit-micro must be of what the accelerator runs, not have {what}" in (
                done.stderr
            )
            assert "--registers" in done.stderr
        done = invoke("quantise", path)
        assert done.exit_code == 2 and "must be given with --weights beside the model" in done.stderr
        model, _, _ = weights.load("m3vit-micro", path=path)
        with pytest.raises(InputError, match="must be of what the accelerator runs"):
            quantize(model, calibration_images(model.network, 1), weights="trained")
    check_runs(network_of(REGISTERS.network(MICRO)))


def test_registers_run(tmp_path: Path) -> None:
    """Bit exact on the functional simulator, every block of both tasks; requests have the file's network."""
    assert make_request(model="m3vit-micro", weights=written(tmp_path, REGISTERS)).model.extra_tokens == 3
    model = seeded(network_of(REGISTERS.network(SMALL)), 3)
    qmodel = quantize(model, calibration_images(model.network, 2), weights="trained", compensate=False)
    config, image = PRESETS["micro8"], calibration_images(model.network, 3)[-1]
    simulator = FunctionalSimulator(config, seed=1)
    simulator.load(compile_model(qmodel, config))
    for task in model.network.tasks:
        run, golden = simulator.run(task, image), IntM3ViT.of(qmodel, config).run(image, task)
        assert len(golden) == 2 and golden[0].shape == (1 + 3 + 16, 32)
        for position, edge in enumerate(golden):
            assert np.array_equal(simulator.tensor(run, position + 1), edge)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "weights must say under 'moesaic.trained_with'"),
        ('["m3vit-micro"]', "weights must say under"),
        ('{"model": "m3vit-micro", "colour": 1}', "weights must say under"),
        ('{"model": "m3vit-micro", "registers": 1.5}', "registers must be from 1 to 64 tokens, not 1.5"),
        ('{"model": "m3vit-micro", "head_gates": 1}', "gated-attention must be true or false, not 1"),
        ('{"model": "m3vit-tiny", "registers": 2}', "weights must be those of m3vit-micro, not .* of 'm3vit-tiny'"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"x": torch.zeros(1)}, path, {KEY: text})
    with pytest.raises(InputError, match=message):
        trained_with(path, "m3vit-micro")


def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(b"no tensors")
    assert trained_with(path) == trained_with(tmp_path / "none") == TrainedWith()
    with pytest.raises(WeightError, match="not a .safetensors file"):
        weights.load("m3vit-micro", path=path)


@pytest.mark.parametrize("gamma", [0.0, -1.0, 0.5, float("nan"), float("-inf")])
def test_bad_gammas(gamma: float, invoke: Callable[..., Any], tmp_path: Path) -> None:
    done = invoke("train", "--clipped-softmax", gamma, *SHORT, "--out", tmp_path, "--work", tmp_path)
    assert (
        done.exit_code == 2
        and f"clipped-softmax must be a gamma above -1 and below 0, such as -0.03, not {gamma}" in (done.stderr)
    )
    if gamma:
        assert (
            "clipped_softmax must be above -1 and 0 at most"
            in AttentionSizes(heads=2, head_dim=4, clipped_softmax=gamma).problem
        )
        with pytest.raises(InputError, match="clipped_softmax must be above -1 and 0 at most"):
            dataclasses.replace(MICRO, clipped_softmax=gamma)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--registers", 0), f"registers must be from 1 to {MOST_REGISTERS} tokens, not 0"),
        (("--registers", 65), f"registers must be from 1 to {MOST_REGISTERS} tokens, not 65"),
        (("--outlier-loss", -1), "outlier-loss must be zero or positive, and finite, not -1.0"),
        (("--baseline", "--gated-attention"), "baseline must be trained without options, not with gated"),
    ],
)
def test_bad_options(words: tuple[Any, ...], message: str, invoke: Callable[..., Any], tmp_path: Path) -> None:
    done = invoke("train", *words, *SHORT, "--out", tmp_path, "--work", tmp_path)
    assert done.exit_code == 2 and message in done.stderr and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_continued_with_its_own_attention(tmp_path: Path) -> None:
    recipe, path = Recipe(scenes=4, steps=2, batch=2), tmp_path / "run.safetensors"
    trainer = Trainer(CLIPPED.network(SMALL), recipe)
    next(trainer.run())
    trainer.save(path)
    Trainer(CLIPPED.network(SMALL), recipe).resume(path)
    with pytest.raises(ResumeError, match="attention must be that of the checkpoint, {'clipped_softmax': -0.05"):
        Trainer(SMALL, recipe).resume(path)


def test_the_command_trains_with_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Callable[..., Any]
) -> None:
    from moesaic.golden.training import train as training

    monkeypatch.setattr(training, "preset", lambda name: SMALL)
    monkeypatch.setattr(training, "JUDGED", 2)
    done = invoke(
        *("train", *SHORT, "--out", tmp_path / "out", "--work", tmp_path / "work"),
        *("--clipped-softmax", -1e-5, "--gated-attention", "--registers", 2, "--outlier-loss", 0),
    )
    assert done.exit_code == 0, done.stderr
    path = tmp_path / "out" / "m3vit-micro-clipped-gated-registers-2.safetensors"
    wanted = TrainedWith(clipped_softmax=-1e-5, head_gates=True, registers=2)
    facts = json.loads(path.with_suffix(".json").read_text())
    assert trained_with(path) == wanted and facts["trained_with"] == dataclasses.asdict(wanted)
    assert facts["recipe"]["outliers"] == 0
