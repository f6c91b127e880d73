"""Folders of the hardware import each other in one direction, and no method of a component is too long to read."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "hw"
ORDER = [  # each may import those before it
    *("rtlil", "stream", "bus", "vector", "attention", "moe", "decode", "memory", "control", "functions", "engine"),
    "",  # the modules in hw itself
]
GROUND = {"shared"}  # modules in hw itself that every folder may import
LONGEST = 100  # lines of an `elaborate`


def backward(folder: str, source: str) -> list[str]:
    """Imports of a module in `folder` that go to a later one."""
    bad = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("moesaic.hw."):
            parts = node.module.split(".")[2:]
            target = parts[0] if len(parts) > 1 else ""
            if target == "spec" or (not target and parts[0] in GROUND):
                continue
            if ORDER.index(target) > ORDER.index(folder):
                bad.append(node.module)
    return bad


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path.parent.name != "spec"]


def test_folders_import_in_one_direction() -> None:
    found = {
        str(path): backward(path.parent.name.replace("hw", ""), path.read_text(encoding="utf-8")) for path in modules()
    }
    assert not {path: bad for path, bad in found.items() if bad}


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("control", "from moesaic.hw.engine.feeder import Feeder"),
        ("memory", "from moesaic.hw.control.sequencer import Sequencer"),
        ("functions", "from moesaic.hw.engine.array import Array"),
        ("engine", "from moesaic.hw.top import Accelerator"),
    ],
)
def test_a_planted_import_is_found(folder: str, line: str) -> None:
    assert backward(folder, line) == [line.split()[1]]


def test_no_elaborate_is_too_long() -> None:
    long = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "elaborate":
                lines = (node.end_lineno or 0) - node.lineno + 1
                long += [f"{path.relative_to(ROOT)}: {lines} lines"] if lines > LONGEST else []
    assert not long
