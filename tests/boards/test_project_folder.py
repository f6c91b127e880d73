"""Folders that are replaced: only what was generated goes, and nothing of anybody else's, with --force or without."""

import re
import tempfile
from pathlib import Path

import pytest

from moesaic.errors import InputError
from moesaic.flow.folder import new_folder
from moesaic.flow.own_folder import SUMS, check_place, foreign_files, set_aside, write_sums


def make(folder: Path, *, force: bool = False) -> Path | None:
    """As `moesaic generate` does."""
    check_place(folder, force=force)
    with new_folder(folder) as new:
        (new / "rtl").mkdir()
        (new / "rtl" / "accelerator.v").write_text("module accelerator; endmodule\n")
        (new / "build.tcl").write_text("puts 1\n")
        write_sums(new)
        return set_aside(folder) if force else None


@pytest.mark.parametrize("force", [False, True])
def test_ours_is_replaced(tmp_path: Path, force: bool) -> None:
    out = tmp_path / "out"
    make(out)
    assert foreign_files(out) == []
    assert make(out, force=force) is None
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def foreign_file(out: Path) -> Path:
    path = out / "rtl" / "mine.v"
    path.write_text("mine\n")
    return path


def edited_file(out: Path) -> Path:
    path = out / "build.tcl"
    path.write_text("puts 2\n")
    return path


def vivado_results(out: Path) -> Path:
    path = out / "build" / "zcu102.bit"
    path.parent.mkdir()
    path.write_text("bits\n")
    return path


def link(out: Path) -> Path:
    path = out / "activity.saif"
    path.symlink_to(out.parent)
    return path


def no_sums(out: Path) -> Path:
    (out / SUMS).unlink()
    return out / "build.tcl"


@pytest.mark.parametrize("spoil", [foreign_file, edited_file, vivado_results, link, no_sums], ids=lambda f: f.__name__)
def test_foreign_files_survive(tmp_path: Path, spoil) -> None:
    out = tmp_path / "out"
    make(out)
    path = spoil(out)
    kept = {p.relative_to(out): p.read_text() for p in out.rglob("*") if p.is_file()}
    name = path.relative_to(out).as_posix()
    with pytest.raises(InputError, match=f"hold only what was generated, .* which holds '{re.escape(name)}'.*--force"):
        make(out)
    assert {p.relative_to(out): p.read_text() for p in out.rglob("*") if p.is_file()} == kept

    (tmp_path / "out.old-1").mkdir()  # the name is taken
    moved = make(out, force=True)
    assert moved == tmp_path / "out.old-2"
    assert {p.relative_to(moved): p.read_text() for p in moved.rglob("*") if p.is_file()} == kept
    assert foreign_files(out) == []


@pytest.mark.parametrize("force", [False, True])
def test_places_that_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    around = tmp_path / "around"
    inner = around / "inner"
    inner.mkdir(parents=True)
    (inner / "mine.txt").write_text("mine\n")

    def refused(place: Path, message: str) -> None:
        with pytest.raises(InputError, match=message):
            make(place, force=force)
        assert (inner / "mine.txt").read_text() == "mine\n"
        assert not [p for p in tmp_path.iterdir() if ".old" in p.name]

    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(inner))
        refused(inner, "out must not be the home folder or a folder around it")
        refused(around, "out must not be the home folder or a folder around it")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(inner))
        refused(inner, "out must not be the folder of temporary files or a folder around it")
        refused(around, "out must not be the folder of temporary files or a folder around it")
    with monkeypatch.context() as patch:
        patch.chdir(inner)
        refused(Path("."), "out must not be the working folder or a folder around it")
        refused(around, "out must not be the working folder or a folder around it")
    with monkeypatch.context() as patch:
        patch.setattr("os.path.ismount", lambda place: Path(place) == inner)
        refused(inner, "out must not be a mount point")
    (tmp_path / "link").symlink_to(inner)
    refused(tmp_path / "link", "out must be a folder and not a link to one")
    (inner / ".git").mkdir()
    refused(inner, "out must not be a git checkout")


@pytest.mark.parametrize("force", [False, True])
def test_the_root_is_never_replaced(force: bool) -> None:
    with pytest.raises(InputError, match="out must not be .* a folder around it|out must not be a mount point"):
        check_place(Path("/"), force=force)  # asks, and would do nothing


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine\n")
    for force in (False, True):
        with pytest.raises(InputError, match="out must be a folder"):
            make(tmp_path / "out", force=force)
    assert (tmp_path / "out").read_text() == "mine\n"
