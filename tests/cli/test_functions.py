"""Models as module:function on the command line: run, compiled, simulated again, refused by line."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

MODELS = """
    import torch
    from torch import nn

    class Vit(nn.Module):
        def __init__(self, activation="gelu"):
            super().__init__()
            self.patch, self.cls = nn.Conv2d(3, 32, 8, 8), nn.Parameter(torch.randn(1, 1, 32))
            self.where = nn.Parameter(torch.randn(1, 5, 32))
            layer = nn.TransformerEncoderLayer(32, 2, 64, activation=activation, norm_first=True, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.norm, self.classes = nn.LayerNorm(32), nn.Linear(32, 7)

        def forward(self, x):
            x = torch.cat((self.cls, self.patch(x).flatten(2).mT), dim=1) + self.where
            return self.classes(self.norm(self.encoder(x))[:, 0])

    def vit():
        return Vit().eval(), torch.zeros(1, 3, 16, 16)

    def tanh():
        return Vit(torch.tanh).eval(), torch.zeros(1, 3, 16, 16)
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with models, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models.py"
    path.write_text(textwrap.dedent(MODELS))
    return path


def test_run_and_simulate_again(models: Path, invoke: Callable[..., Any], results: Any) -> None:
    done = invoke(
        "run", "--model", "models.py:vit", "--board", "micro8", "--sim", "functional", "--out", "out", "--seed", 5
    )
    assert done.exit_code == 0, done.stderr
    assert "equal to the module on random images" in done.stderr and "on the host" in done.stderr
    report = results(Path("out")).report
    assert report["bit_exact"] and report["weights"] == "imported" and report["model"] == "vit"
    assert report["import"]["names"]["blocks.1.attn.qkv.weight"] == "encoder.layers.1.self_attn.in_proj_weight"
    (line,) = report["outputs"]["output"]
    assert line["shape"] == [1, 7] and line["sqnr_db"] > 15 and len(line["largest"]) == 2
    assert "output 0 of the module [1, 7]:" in done.stdout
    # A program folder is data: what it names is called only for who names it again.
    models.write_text(models.read_text() + "\nfrom pathlib import Path\n\nPath('called').touch()\n")
    alone = invoke("simulate", "out/program", "--sim", "functional", "--out", "alone")
    assert alone.exit_code == 0, alone.stderr
    assert "the float network is not compared: it is made by code, 'models.py:vit'" in alone.stderr
    assert not Path("called").exists()
    blind = results(Path("alone"))
    assert blind.report["bit_exact"] and not blind.report["outputs"] and not blind.report["pictures"]
    assert {block["sqnr_db"] for block in blind.report["blocks"]} == {None}
    assert "pass --model models.py:vit to compare it" in blind.page
    again = invoke(
        "simulate", "out/program", "--model", "models.py:vit", "--sim", "functional", "--out", "again", "--quiet"
    )
    assert again.exit_code == 0, again.stderr
    assert Path("called").exists() and not results(Path("again")).report["not_compared"]
    assert results(Path("again")).report["outputs"] == report["outputs"]
    torch.manual_seed(9)  # what a program compares with comes from its own seed
    dump = invoke("compile", "models.py:vit", "--board", "micro8", "--out", "program", "--dump", "--quiet")
    assert dump.exit_code == 0, dump.stderr
    assert "encoder.layers.0.linear1.weight" in dump.stdout


def test_a_stranger_s_origin_runs_nothing(models: Path, invoke: Callable[..., Any]) -> None:
    """A program folder of a built-in model, changed to name code, is not what its manifest says."""
    done = invoke("compile", "m3vit-micro", "--out", "program", "--quiet")
    assert done.exit_code == 0, done.stderr
    evil = Path("program/m.py")
    evil.write_text("from pathlib import Path\n\nPath('called').touch()\n\ndef f():\n    pass\n")
    origin = json.loads(Path("program/origin.json").read_text())
    for model in ("program/m.py:f", str(evil.absolute()) + ":f", "os:getcwd"):
        Path("program/origin.json").write_text(json.dumps({**origin, "model": model}))
        done = invoke("simulate", "program", "--sim", "functional", "--out", "out", "--quiet")
        assert done.exit_code == 0, done.stderr
        assert not Path("called").exists()
    for model, message in (
        ("m3vit-tiny", "model of the program must be m3vit-tiny as it is today, not the m3vit-micro of its manifest"),
        ("a\nb", "origin.model must be a line of text"),
        (["m3vit-micro"], "origin.model must be a line of text"),
    ):
        Path("program/origin.json").write_text(json.dumps({**origin, "model": model}))
        done = invoke("simulate", "program", "--sim", "functional", "--out", "out", "--quiet")
        assert done.exit_code == 2 and message in done.stderr, done.stderr
    Path("program/origin.json").write_text("[" * 100_000)
    done = invoke("simulate", "program", "--sim", "functional", "--out", "out", "--quiet")
    assert done.exit_code == 2 and "nested too deeply" in done.stderr


def test_refused_by_line(models: Path, invoke: Callable[..., Any]) -> None:
    done = invoke("compile", "models.py:tanh", "--board", "micro8", "--out", "program")
    assert done.exit_code == 2 and not Path("program").exists()
    number = next(i for i, text in enumerate(models.read_text().splitlines(), 1) if "self.encoder(x)" in text)
    assert (
        "not tanh" in done.stderr and f"models.py:{number}" in done.stderr and "nearest supported: GELU" in done.stderr
    )
