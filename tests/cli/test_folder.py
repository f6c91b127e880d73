"""A result folder appears whole or not at all."""

from pathlib import Path

import pytest

from moesaic.errors import InputError
from moesaic.flow.folder import check_replaceable, check_space, new_folder


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_appears_when_done(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("new")
        assert not (tmp_path / "a" / "b").exists()
    assert _names(tmp_path) == {"a", "a/b", "a/b/file"}


def test_replaces_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("old")
    with new_folder(tmp_path / "b") as folder:
        (folder / "file").write_text("new")
    assert _names(tmp_path) == {"b", "b/file"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_leaves_nothing_when_it_fails(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "kept").mkdir()
    with pytest.raises(error), new_folder(tmp_path / "kept" / "a" / "b") as folder:
        (folder / "file").write_text("new")
        raise error
    assert _names(tmp_path) == {"kept"}


def test_the_earlier_one_survives_a_failure(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").write_text("old")
    with pytest.raises(ValueError), new_folder(tmp_path / "b"):
        raise ValueError
    assert _names(tmp_path) == {"b", "b/old"}


def test_refuses_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_replaceable(tmp_path / "new" / "folder", marker="report.json")
    check_replaceable(tmp_path, marker="file")
    for bad, why in (
        (tmp_path, "new or empty folder"),
        (tmp_path / "file", "a folder"),
        (tmp_path / "file" / "under", "written to"),
    ):
        with pytest.raises(InputError, match=f"out must be .*{why}"):
            check_replaceable(bad, marker="report.json")


def test_space(tmp_path: Path) -> None:
    check_space(tmp_path / "new", 1)
    with pytest.raises(InputError, match="the disk is full"):
        check_space(tmp_path / "new", 1 << 60)
