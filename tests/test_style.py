"""The tree is formatted, and clean by the linter's rules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("moesaic", "hw", "golden", "compiler", "sim", "boards", "examples")
# Calls that are of text unless a mode says otherwise: by default in the encoding of the user's locale.
TEXT = ("read_text", "write_text", "NamedTemporaryFile")
PROCESSES = ("run", "Popen")


@pytest.mark.parametrize("command", [("format", "--check"), ("check",)], ids=" ".join)
def test_ruff_has_nothing_to_say(command: tuple[str, ...]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def text_without_encoding(source: str) -> list[int]:
    """Lines that read or write text in whatever encoding the user's locale has."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg for keyword in node.keywords}
        modes = [ast.literal_eval(argument) for argument in node.args if isinstance(argument, ast.Constant)]
        text = (
            name in TEXT
            or (name in PROCESSES and "text" in given)
            or (name == "open" and isinstance(node.func, ast.Name) and not any("b" in str(mode) for mode in modes))
        )
        if text and "encoding" not in given:
            found.append(node.lineno)
    return found


def test_text_is_read_and_written_as_utf8() -> None:
    assert text_without_encoding("open(a)\nopen(a, 'rb')\np.read_text()\np.write_text(t, encoding='utf-8')") == [1, 3]
    bad = [
        f"{path.relative_to(ROOT)}:{line}"
        for layer in SHIPPED
        for path in sorted((ROOT / layer).rglob("*.py"))
        for line in text_without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert not bad, "\n".join(bad)
