"""One functional run of m3vit-micro that the tests of the report share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from moesaic.cli import app

FUNCTIONAL = ("--sim", "functional", "--quiet")


class Results:
    """A result folder and the report in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report: dict[str, Any] = json.loads((folder / "report.json").read_text())
        self.page = (folder / "report.html").read_text()


@pytest.fixture(scope="session")
def invoke() -> Callable[..., Any]:
    """Run a command in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def results() -> type[Results]:
    """Reads a result folder."""
    return Results


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, invoke: Callable[..., Any]) -> Results:
    """All blocks, both tasks one after the other, without RTL."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    done = invoke("run", "--model", "m3vit-micro", "--task", "all", "--separate", *FUNCTIONAL, "--out", folder)
    assert done.exit_code == 0, done.stderr
    return Results(folder)
