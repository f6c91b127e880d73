"""docs/usage.md names every command and option there is, and no other."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typed_commands import PAGES, commands
from typer.testing import CliRunner

from moesaic.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "usage.md").read_text()
COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands.items())
SECTIONS = {
    name: text
    for name, text in re.findall(r"^## moesaic ([\w-]+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
}
EXAMPLES = re.findall(r"^ {4}(moesaic .*)$", PAGE, flags=re.MULTILINE) + [
    command for page in PAGES for command in commands(page) if command.startswith("moesaic")
]


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")} - {"--help"}


def test_every_command_is_described() -> None:
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_described(name: str) -> None:
    assert set(re.findall(r"--[a-z][\w-]*", SECTIONS[name])) - {"--help"} == options_of(COMMANDS[name])


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_have_real_options(example: str) -> None:
    _, name, *words = shlex.split(example.partition("#")[0])
    if name.startswith("--"):
        assert name in options_of(typer.main.get_command(app)) and not words
        return
    context = COMMANDS[name].make_context(name, words, resilient_parsing=False)
    assert context.params


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_examples(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0 and f"moesaic {name}" in done.stdout and "Example" in done.stdout
    assert set(re.findall(r"--[a-z][\w-]*", COMMANDS[name].epilog)) <= options_of(COMMANDS[name])
