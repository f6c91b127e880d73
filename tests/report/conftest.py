"""One run of m3vit-micro through the RTL whose report the tests here look at."""

import json
from pathlib import Path
from typing import Any

import pytest

from moesaic import job
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages


class Result:
    """A result folder and its report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report: dict[str, Any] = json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Both tasks, all blocks, RTL."""
    folder = tmp_path_factory.mktemp("measured") / "out"
    job.run(make_request(model="m3vit-micro", task="all"), Options(out=folder, rtl=True), Stages(quiet=True))
    return Result(folder)
