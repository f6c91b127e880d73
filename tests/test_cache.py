"""The one cache folder, on machines without a home, with one that cannot be written to, and for a user nobody knows."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesaic import cache
from moesaic.cache import CacheWarning, cache_root, settle_matplotlib
from moesaic.errors import InputError
from moesaic.flow.own_folder import check_place


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary files under `tmp_path`, no XDG folder, nothing remembered."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache._place.cache_clear()
    yield
    cache._place.cache_clear()


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HOME nor an entry in the system's list of users."""

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)


def test_the_places_of_the_xdg_specification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    with warnings.catch_warnings(action="error"):
        assert cache_root() == tmp_path / "me" / ".cache" / "moesaic" and cache_root().is_dir()
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert cache_root() == tmp_path / "me" / ".cache" / "moesaic"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_root() == tmp_path / "xdg" / "moesaic"


@pytest.mark.parametrize("home", ["/dev/null", "/proc/nothing", "relative"])
def test_a_home_that_cannot_be_written_to(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.warns(CacheWarning, match="set XDG_CACHE_HOME"):
        place = cache_root()
    assert place == tmp_path / f"moesaic-{os.geteuid()}"
    assert place.stat().st_mode & 0o777 == 0o700


def test_no_home_at_all_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody(monkeypatch)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        assert cache_root() == cache_root() == tmp_path / f"moesaic-{os.geteuid()}"
    assert [str(warning.message).partition(":")[0] for warning in said] == ["there is no home folder"]


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody(monkeypatch)
    (tmp_path / f"moesaic-{os.geteuid()}").mkdir()
    (tmp_path / f"moesaic-{os.geteuid()}").chmod(0o777)
    with pytest.raises(InputError, match="must be a folder that is this user's alone"):
        cache_root()


def test_a_link_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody(monkeypatch)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"moesaic-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="must be a folder that is this user's alone"):
        cache_root()


def test_matplotlib_is_told_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody(monkeypatch)
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    settle_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == "mine"
    monkeypatch.delenv("MPLCONFIGDIR")
    settle_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / f"moesaic-{os.geteuid()}" / "matplotlib")


def test_folders_are_guarded_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody(monkeypatch)
    check_place(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    check_place(tmp_path / "empty", force=False)
