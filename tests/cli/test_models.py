"""`moesaic models`, and what the shell completes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from moesaic.cli import app
from moesaic.flow.request import make_request
from moesaic.golden import weights
from moesaic.golden.config import PRESETS


def test_built_in_models(invoke: Callable[..., Any]) -> None:
    entries = {entry["name"]: entry for entry in json.loads(invoke("models", "--json").stdout)}
    assert entries.keys() == PRESETS.keys()
    micro = entries["m3vit-micro"]
    assert (micro["tokens"], micro["dim"], micro["experts"], micro["mixtures"]) == (65, 64, 8, 2)
    assert {name: entry["board"] for name, entry in entries.items()} == {
        name: make_request(model=name).board for name in PRESETS
    }
    small = {name: entries[name]["weights"] for name in ("m3vit-micro", "deit-tiny")}
    assert small == {name: weights.load(name)[2] for name in small} == {"m3vit-micro": "trained", "deit-tiny": "seeded"}


def test_the_table_says_how_to_bring_one(invoke: Callable[..., Any]) -> None:
    done = invoke("models")
    assert done.exit_code == 0
    for word in (*PRESETS, "8, top-2, in 2 blocks", "moesaic run --model mymodels.py:vit_tiny", "docs/models.md"):
        assert word in done.stdout


def completed(words: str) -> list[str]:
    variables = {"_MOESAIC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return CliRunner().invoke(app, [], prog_name="moesaic", env=variables).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("moesaic ev", ["evaluate"]),
        ("moesaic compile m3vit-s", ["m3vit-small", "m3vit-small-r1"]),
        ("moesaic run --model deit-t", ["deit-tiny"]),
        ("moesaic run --board au", ["auto"]),
        ("moesaic synth --set residual", ["residual_words="]),
    ],
)
def test_the_shell_completes(words: str, expected: list[str]) -> None:
    assert completed(words) == expected


def test_completion_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the files of the user's shell, which is bash here."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    runner = CliRunner()
    shown = runner.invoke(app, ["--show-completion", "bash"], prog_name="moesaic")
    assert shown.exit_code == 0 and "_MOESAIC_COMPLETE=complete_bash" in shown.stdout
    done = runner.invoke(app, ["--install-completion", "bash"], prog_name="moesaic")
    assert done.exit_code == 0, done.stdout
    (script,) = tmp_path.rglob("moesaic.sh")
    assert str(script) in (tmp_path / ".bashrc").read_text() and "complete" in script.read_text()
