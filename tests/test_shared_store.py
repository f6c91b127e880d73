"""What one machine has built another one takes, checked; a shared cache that fails costs time alone."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from moesaic import shared_store as module
from moesaic.errors import InputError
from moesaic.shared_store import SharedStore, machine_kind, sharing
from moesaic.store import Entry, Store


class Machine:
    """A machine with a cache of its own, which counts what it makes."""

    def __init__(self, root: Path) -> None:
        self.root, self.made = root, 0

    def obtain(self, key: str = "key") -> Entry:
        def make(folder: Path) -> None:
            self.made += 1
            (folder / "data").write_bytes(b"\x00\x01")
            (folder / "tool").write_text("#!/bin/sh\n")
            (folder / "tool").chmod(0o755)

        return Store("kind", root=self.root).obtain(key, make)


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "first"), Machine(tmp_path / "second")


@pytest.fixture(autouse=True)
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_opened", SharedStore)


@pytest.mark.parametrize("kind", ["folder", "URL"])
def test_the_second_takes_what_the_first_has_made(machines: tuple[Machine, Machine], kind: str, tmp_path: Path) -> None:
    first, second = machines
    with sharing(str(tmp_path / "shared") if kind == "folder" else "memory://shared"):
        assert not first.obtain().found
        taken = second.obtain()
    assert (first.made, second.made, taken.found) == (1, 0, True)
    assert taken.path == second.root / "kind" / "key" and (taken.path / "data").read_bytes() == b"\x00\x01"
    assert os.access(taken.path / "tool", os.X_OK) and not os.access(taken.path / "data", os.X_OK)
    assert second.obtain().found  # without the shared one too
    assert not second.obtain("other").found and second.made == 1


def test_what_was_made_before_is_shared_too(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    first, second = machines
    first.obtain()
    with sharing(str(tmp_path / "shared")):
        assert first.obtain().found and second.obtain().found
    assert second.made == 0


def _archive(tmp_path: Path) -> Path:
    return tmp_path / "shared" / machine_kind() / "kind" / "key.tar"


def _flip(archive: Path) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"\x00\x01\x00", b"\x00\x02\x00", 1))


def _climb(archive: Path) -> None:
    (archive.parent / "evil").write_text("evil")
    with tarfile.open(archive, "a") as tar:
        tar.add(archive.parent / "evil", arcname="../evil")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": _flip,
    "cut": lambda archive: os.truncate(archive, 1000),
    "empty": lambda archive: os.truncate(archive, 0),
    "a name that leads out": _climb,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_said_and_made_again(
    damage: Callable[[Path], object],
    machines: tuple[Machine, Machine],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = machines
    with sharing(str(tmp_path / "shared")):
        first.obtain()
        damage(_archive(tmp_path))
        entry = second.obtain()
    assert not entry.found and second.made == 1 and (entry.path / "data").read_bytes() == b"\x00\x01"
    assert not list(tmp_path.glob("evil")) and not list(tmp_path.glob("*/evil"))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"cache: kind/key of {tmp_path}/shared is not used: ") and "\n" not in said


def test_machines_of_another_kind_do_not_meet(
    machines: tuple[Machine, Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machines
    with sharing(str(tmp_path / "shared")):
        first.obtain()
    monkeypatch.setattr(module, "machine_kind", lambda: "aarch64-0")
    with sharing(str(tmp_path / "shared")):
        assert not second.obtain().found


def test_a_cache_that_fails_later_costs_time_only(
    machines: tuple[Machine, Machine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("service unavailable\nand more")

    with sharing("memory://failing"):
        monkeypatch.setattr(MemoryFileSystem, "exists", fail)
        assert not machines[0].obtain().found
    assert [record.getMessage() for record in caplog.records] == [
        "cache: kind/key of memory://failing is not used: service unavailable",
        "cache: memory://failing cannot keep kind: service unavailable",
    ]


class Forbidden(MemoryFileSystem):
    """A service that lets nobody write."""

    protocol = "forbidden"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
        raise PermissionError(13, "Permission denied", path)


def test_a_cache_without_permission_is_one_line(tmp_path: Path) -> None:
    fsspec.register_implementation("forbidden", Forbidden, clobber=True)
    (tmp_path / "file").write_text("")
    for url, why in {
        "forbidden://bucket/cache": "Permission denied",
        str(tmp_path / "file"): "Not a directory",
        "nothing://bucket": "Protocol not known: nothing",
    }.items():
        with pytest.raises(InputError) as found:
            SharedStore(url)
        line = str(found.value)
        assert line.startswith(f"shared cache must be a folder or URL that can be read and written, not {url!r}: {why}")
        assert "\n" not in line
