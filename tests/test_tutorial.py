"""The tutorial's cells, one after the other: a model that is trained there goes all the way to RTL and a board."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_no_outputs_are_kept() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS if "outputs" in cell)
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


def test_links_lead_to_pages() -> None:
    text = "".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links and all((NOTEBOOK.parent / link).is_file() for link in links)


def test_every_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "tutorial.py"
    script.write_text("\n\n".join("".join(cell["source"]) for cell in CELLS if "outputs" in cell), encoding="utf-8")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # figures do not depend on the machine's cores
    try:
        names = runpy.run_path(str(script))
    finally:
        torch.set_num_threads(threads)
    found, result = names["accuracy"], names["result"]
    assert found.items == 400 and found.before > 0.9 and abs(found.after - found.before) <= 0.01
    (cycles,) = result.cycles.values()
    assert result.bit_exact and abs(cycles / next(iter(names["program"].cycles.values())) - 1) < 0.02
    assert "RTL" in result.report.compared and (tmp_path / "shapes-on-pynq" / "build.tcl").is_file()
    label = names["Shapes"].names[int(names["unseen"].labels[0])]
    assert f"class: {label}" in capsys.readouterr().out
