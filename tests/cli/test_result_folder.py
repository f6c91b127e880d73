"""A result folder of a stranger: drawing its page reads and writes nothing outside it, and ends with one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz.run import COUNT, fuzz
from fuzz.targets import Results

from moesaic.boards.npz_file import read_npz
from moesaic.errors import InputError
from moesaic.report import html
from moesaic.report.chart import SUFFIXES, Chart
from moesaic.report.stored import read_picture, read_report

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a result folder, in a folder with a secret; its pictures are not drawn, which takes long."""
    shutil.copytree(whole.folder, tmp_path / "result")
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nSECRET")

    def write(chart: Chart, folder: Path) -> str:
        for suffix in SUFFIXES:
            html.put_file(folder / f"{chart.file}{suffix}", b"drawn")
        return "<svg/>"

    monkeypatch.setattr(Chart, "write", write)
    return tmp_path / "result"


def task_outside(report: dict[str, Any]) -> None:
    report["tasks"]["../x"] = report["tasks"].pop("depth")


BAD: list[tuple[Change, str]] = [
    (task_outside, r"a key of report.tasks must be 1 to 64 letters.*, not '../x'"),
    (lambda r: r["pictures"]["depth"].update(float="../secret.png"), "must be TASK-WHAT.png beside it, not '../secret"),
    (lambda r: r["pictures"]["depth"].update(x="depth-x.png"), "must be TASK-WHAT.png beside it"),
    (lambda r: r["pictures"].update(other={"float": "other-float.png"}), "must be TASK-WHAT.png beside it"),
    (lambda r: r.update(model="x\ny"), "report.model must be 1 to 64 letters"),
    (lambda r: r.update(format=2), "format of .* must be 6, not 2; it is of another version of Moesaic"),
    (lambda r: r.update(format=[]), "report.format must be a whole number"),
    (lambda r: r.pop("ddr"), "must be a report, not a damaged file .*'ddr'"),
    (lambda r: r["tasks"]["depth"].update(blocks=[]), "blocks must be a list of 1 to 256 values"),
    (lambda r: r["tasks"]["depth"].update(macs=10**30), r"must be a number from -1e\+18 to 1e\+18"),
    (lambda r: r["config"].update(rows=10**12), "rows must be"),
    (lambda r: r["tasks"]["depth"]["tokens_per_expert"].update({"blocks.1": [1] * 65}), "a list of 0 to 64 values"),
    (lambda r: r.update(wall_s={"a": "b"}), "report.wall_s.a must be a number"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_what_cannot_be_is_refused(folder: Path, change: Change, message: str) -> None:
    path = folder / "report.json"
    report = json.loads(path.read_text())
    read_report(folder)
    change(report)
    path.write_text(json.dumps(report))
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(InputError, match=message):
        html.render_page(folder)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": 4, "a": ' + "[" * 500 + "]" * 500 + "}", '{"format": NaN}']
)
def test_text_that_is_no_report(folder: Path, text: str) -> None:
    (folder / "report.json").write_text(text)
    with pytest.raises(InputError, match="report must be|must be a report"):
        html.render_page(folder)


def test_numbers_that_contradict_each_other(folder: Path) -> None:
    path = folder / "report.json"
    report = json.loads(path.read_text())
    del report["tasks"]["semseg"]["model_cycles"]["image"]
    path.write_text(json.dumps(report))
    with pytest.raises(InputError, match="folder must hold all that `moesaic run` wrote.*UndefinedError"):
        html.render_page(folder)


def test_links_are_not_followed(folder: Path) -> None:
    secret = folder.parent / "secret.png"
    for name in ("depth-float.png", "input.png"):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
        with pytest.raises(InputError, match="Too many levels of symbolic links"):
            html.render_page(folder)
        (folder / name).unlink()
        (folder / name).write_bytes(kept)
    before = secret.read_bytes()
    for name in (
        "report.html",
        "report.html.partial",
        "depth-quality.png",
        "resources.png",
        "resources.svg",
        "resources.csv",
    ):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(secret)
    html.render_page(folder)
    assert secret.read_bytes() == before and "SECRET" not in (folder / "report.html").read_text()
    assert not (folder / "report.html").is_symlink() and not (folder / "resources.png").is_symlink()


def test_only_pictures_are_shown(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("password")
    with pytest.raises(InputError, match="picture must be a PNG"):
        read_picture(tmp_path / "a.png")


def test_arrays_are_as_large_as_they_say(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, a=np.arange(6, dtype=np.int16).reshape(2, 3), b=np.array("text"))
    found = read_npz(path, most=1 << 20, what="data", error=InputError)
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and str(found["b"]) == "text"
    np.savez_compressed(path, a=np.zeros(1 << 18))  # a small file of two megabytes
    assert path.stat().st_size < 1 << 16
    with pytest.raises(InputError, match="more than 1,048,576 bytes of arrays"):
        read_npz(path, most=1 << 20, what="data", error=InputError)
    np.savez(path, a=np.zeros(4, np.int8))
    path.write_bytes(path.read_bytes().replace(b"(4,)", b"(9,)"))
    with pytest.raises(InputError, match="data must be a readable .npz file"):
        read_npz(path, most=1 << 20, what="data", error=InputError)
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(InputError, match="data must be a readable .npz file"):
        read_npz(path, most=1 << 20, what="data", error=InputError)


def test_folders_changed_at_random(whole: Any, tmp_path: Path) -> None:
    assert 0 < fuzz(Results(tmp_path, whole.folder), COUNT, 1) < COUNT
