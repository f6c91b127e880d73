"""A result in the cache is believed only while it is what was put there; a cache that fails costs time alone."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from moesaic import store as module
from moesaic.store import Store, key_of

FILES = {"first.bin": b"\x00\x01\x02", "second": b"text\n"}


def fill(folder: Path) -> None:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    (folder / "second").chmod(0o755)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def _flip(entry: Path) -> None:
    data = (entry / "first.bin").read_bytes()
    (entry / "first.bin").write_bytes(bytes([data[0] ^ 1]) + data[1:])


def _foreign(entry: Path) -> None:
    other = Store("kind", root=entry.parents[1]).put("other", fill)
    shutil.rmtree(entry)
    other.rename(entry)


def _file(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("no folder")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": _flip,
    "a truncated file": lambda entry: os.truncate(entry / "second", 2),
    "an empty file": lambda entry: os.truncate(entry / "first.bin", 0),
    "a file less": lambda entry: (entry / "first.bin").unlink(),
    "a file more": lambda entry: (entry / "third").write_bytes(b""),
    "a link": lambda entry: (entry / "second").unlink() or (entry / "second").symlink_to("first.bin"),
    "a folder": lambda entry: (entry / "third").mkdir(),
    "a mode": lambda entry: (entry / "second").chmod(0o644),
    "the record less": lambda entry: (entry / "entry.json").unlink(),
    "the record cut": lambda entry: os.truncate(entry / "entry.json", 20),
    "the record changed": lambda entry: (entry / "entry.json").write_bytes(b"{}"),
    "nothing in it": lambda entry: [path.unlink() for path in entry.iterdir()],
    "another entry": _foreign,
    "a file in its place": _file,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_said_and_made_again(damage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, made = Store("kind", root=tmp_path), []

    def make(folder: Path) -> None:
        made.append(folder)
        fill(folder)

    entry = store.obtain("key", make)
    assert not entry.found and entry.path == tmp_path / "kind" / "key" and contents(entry.path) == FILES
    assert store.obtain("key", make).found and len(made) == 1 and not caplog.records
    damage(entry.path)
    again = store.obtain("key", make)
    assert not again.found and len(made) == 2
    assert contents(again.path) == FILES and os.access(again.path / "second", os.X_OK)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and said[0].startswith(f"cache: {entry.path} is damaged (") and "\n" not in said[0]
    assert store.obtain("key", make).found and store.find("key") == entry.path


def test_a_damaged_entry_is_not_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store("kind", root=tmp_path)
    assert store.find("key") is None and not caplog.records
    _flip(store.put("key", fill))
    assert store.find("key") is None and len(caplog.records) == 1


def test_the_line_is_on_standard_error(tmp_path: Path) -> None:
    _flip(Store("kind", root=tmp_path).put("key", fill))
    imports = "from pathlib import Path; from moesaic.store import Store"
    code = f"{imports}\nStore('kind', root=Path({str(tmp_path)!r})).find('key')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == f"cache: {tmp_path}/kind/key is damaged (its SHA-256 does not hold) and not used\n"


def test_what_fails_to_be_made_leaves_nothing(tmp_path: Path) -> None:
    store = Store("kind", root=tmp_path)

    def fail(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.obtain("key", fail)
    assert store.find("key") is None
    assert [path.name for path in store.folder.iterdir()] == [".key.lock"]


def _full(*arguments: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["full", "not writable"])
def test_a_full_or_read_only_cache_costs_time_only(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store("kind", root=tmp_path / "cache")
    if where == "full":
        monkeypatch.setattr(module.shutil, "copy", _full)
    else:  # a file lies where the folder should: there not even root can write
        (tmp_path / "cache").write_text("")
    entries = [store.obtain(key, fill) for key in ("one", "two", "one")]
    assert [entry.found for entry in entries] == [False] * 3
    assert all(contents(entry.path) == FILES for entry in entries)
    said = [record.getMessage() for record in caplog.records]
    why = {"full": "No space left on device", "not writable": "Not a directory"}[where]
    assert said == [f"cache: {store.folder} cannot keep anything ({why}): it is made again next time"]


def test_what_cannot_be_kept_goes_with_the_process(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    code = f"""
from pathlib import Path
from moesaic.store import Store
path = Store("kind", root=Path({str(tmp_path / "cache")!r})).put("key", lambda folder: (folder / "file").touch())
print(path, (path / "file").exists())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path, exists = done.stdout.split()
    assert exists == "True" and not Path(path).parent.exists()


def test_a_damaged_entry_that_cannot_be_replaced_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store("kind", root=tmp_path)
    _flip(store.put("key", fill))
    monkeypatch.setattr(module.shutil, "copy", _full)
    for _ in range(2):
        entry = store.obtain("key", fill)
        assert not entry.found and contents(entry.path) == FILES
    assert len(caplog.records) == 2  # damaged; full


def _obtain(root: Path, number: int) -> tuple[bool, bool]:
    def slow(folder: Path) -> None:
        with (root / "made").open("ab") as file:
            file.write(b".")
        time.sleep(0.1)
        fill(folder)

    entry = Store("kind", root=root).obtain("key", slow)
    return entry.found, contents(entry.path) == FILES


def _put(root: Path, number: int) -> bool:
    """As where there are no locks: all publish at once."""
    return all(contents(Store("kind", root=root).put("key", fill)) == FILES for _ in range(20))


def test_several_processes_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        outcomes = pool.starmap(_obtain, [(tmp_path, number) for number in range(4)])
        assert sorted(outcomes) == [(False, True), (True, True), (True, True), (True, True)]
        assert (tmp_path / "made").read_bytes() == b"."
        assert all(pool.starmap(_put, [(tmp_path, number) for number in range(4)]))
    store = Store("kind", root=tmp_path)
    assert store.find("key") == store.folder / "key"
    assert {path.name for path in store.folder.iterdir()} == {"key", ".key.lock"}


@pytest.mark.parametrize("when", ["made", "published"])
def test_a_killed_process_leaves_nothing_that_is_believed(when: str, tmp_path: Path) -> None:
    code = f"""
import os, shutil, signal
from pathlib import Path
from moesaic.store import Store

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def fill(folder):
    (folder / "first.bin").write_bytes(b"half")
    if {when == "made"}:
        die()

shutil.copy = die
Store("kind", root=Path({str(tmp_path / "cache")!r})).obtain("key", fill)
"""
    temporary = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=temporary)
    assert done.returncode == -signal.SIGKILL
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(("moesaic-work-", ".new-"))]
    assert len(left) == {"made": 1, "published": 2}[when]
    subprocess.run([sys.executable, "-c", f"""
from pathlib import Path
from moesaic.store import Store
store = Store("kind", root=Path({str(tmp_path / "cache")!r}))
assert store.find("key") is None
assert not store.obtain("key", lambda folder: (folder / "first.bin").write_bytes(b"whole")).found
"""], check=True, env=temporary)  # fmt: skip
    assert (tmp_path / "cache" / "kind" / "key" / "first.bin").read_bytes() == b"whole"
    assert not [path for path in left if path.exists()]


def _age(path: Path, days: float) -> None:
    for item in (*path.rglob("*"), path):
        os.utime(item, (time.time() - days * 86400,) * 2)


def test_what_was_not_used_for_a_month_goes(tmp_path: Path) -> None:
    store, other = Store("kind", root=tmp_path), Store("other", root=tmp_path)
    for key in ("young", "old", "used"):
        store.put(key, fill)
    other.put("old", fill)
    (tmp_path / "quantised-of-an-earlier-version").write_bytes(b"")
    for path, days in {
        store.folder / "young": 10,
        store.folder / "old": 40,
        store.folder / "used": 40,
        other.folder / "old": 40,
        tmp_path / "quantised-of-an-earlier-version": 40,
        tmp_path / ".looked": 2,
    }.items():
        _age(path, days)
    assert store.find("used")
    store.put("new", fill)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")} - {".looked"}
    assert names == {"kind/young", "kind/used", "kind/new"}
    assert not (tmp_path / "quantised-of-an-earlier-version").exists()
    _age(store.folder / "young", 40)
    store.put("next", fill)
    assert (store.folder / "young").exists()  # looked at once a day


def test_keys_tell_parts_apart() -> None:
    keys = {key_of(*parts) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), (), ("",)]}
    assert len(keys) == 6
    assert key_of("a", b"b") == key_of(b"a", "b")
    assert all(len(key) == 40 for key in keys)
