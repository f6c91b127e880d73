"""Results that take long, kept on disk by what they are made from, and believed only while their digests hold."""

import atexit
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from moesaic.cache import cache_root
from moesaic.scratch import scratch

__all__ = ["Entry", "SecondLevel", "Store", "key_of", "second_levels"]

_RECORD = "entry.json"  # in every entry: whose it is, and the digests of its files
_KEPT_S = 30 * 24 * 3600  # what was not used for a month goes
_LOOK_S = 24 * 3600  # between two looks at what may go
_STAMP = ".looked"  # its time is that of the last look
_LOG = logging.getLogger(__name__)


class SecondLevel(Protocol):
    """Where results lie that other machines have made; every call may raise `OSError`."""

    url: str

    def fetch(self, kind: str, key: str, folder: Path) -> bool:
        """Copy the files of an entry, its record too, into an empty folder; False if it is not there."""

    def publish(self, kind: str, key: str, folder: Path) -> None:
        """Copy an entry there, unless it is there already."""


second_levels: list[SecondLevel] = []  # the last one is asked (`shared_store.sharing`)


def key_of(*parts: str | bytes) -> str:
    """A name for what these parts determine, in this order."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:40]


def _record(folder: Path, kind: str, key: str) -> str:
    """What the record of a folder with these files says."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name == _RECORD:
            continue
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"{path.name} is no file")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.name] = {"sha256": digest, "executable": bool(mode & stat.S_IXUSR)}
    return json.dumps({"kind": kind, "key": key, "files": files}, indent=1) + "\n"


def _newest(path: Path) -> float:
    """When a file, or a folder or anything directly in it, was last touched."""
    inside = path.iterdir() if path.is_dir() and not path.is_symlink() else ()
    return max(item.lstat().st_mtime for item in (path, *inside))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Entry:
    """A result.

    Parameters
    ----------
    path : Path
        Folder with its files, not to be written to; of this process only, if it could not be kept.
    found : bool
        It was there already.
    """

    path: Path
    found: bool


class Store:
    """Results of one kind by their keys: each a folder of files with a record of their SHA-256.

    A result appears whole or not at all, and is checked whenever it is asked for. One that is damaged, or cannot be
    kept since the disk is full or must not be written to, is made again, and a line on standard error says so
    (`logging`). All of it works with other processes at the same time.

    Parameters
    ----------
    kind : str
        Name of the kind.
    root : Path, optional
        Folder of all kinds; `cache_root()` if not given.
    """

    def __init__(self, kind: str, *, root: Path | None = None) -> None:
        self.kind, self.root = kind, cache_root() if root is None else root
        self.folder = self.root / kind
        self._said = set[str]()

    def _say(self, text: str) -> None:
        if text not in self._said:  # of a full disk once, not for every result
            self._said.add(text)
            _LOG.warning("%s", text)

    def _problem(self, key: str) -> str | None:
        """What is wrong with an entry; empty if it is just not there, None if nothing is."""
        folder = self.folder / key
        try:
            mode = folder.lstat().st_mode
        except OSError:
            return ""
        try:
            if not stat.S_ISDIR(mode):
                return "no folder"
            known = (folder / _RECORD).read_bytes()
            return None if known == _record(folder, self.kind, key).encode() else "its SHA-256 does not hold"
        except OSError as error:
            return error.strerror or str(error)

    def _look(self, key: str) -> tuple[Path | None, str]:
        folder = self.folder / key
        with suppress(OSError):  # not there, or not ours to write to
            os.utime(folder)
        problem = self._problem(key)
        return (folder, "") if problem is None else (None, problem)

    def find(self, key: str) -> Path | None:
        """The folder of a result; None if there is none, or only a damaged one."""
        found, problem = self._look(key)
        if problem:
            self._say(f"cache: {self.folder / key} is damaged ({problem}) and not used")
        return found

    def obtain(self, key: str, make: Callable[[Path], None]) -> Entry:
        """A result, found or made: `make(folder)` fills an empty folder; of several processes one does."""
        found, _ = self._look(key)
        if found is None:
            with self.locked(key):
                found = self.find(key) or self._fetch(key)  # another process, or machine, may have been here
                entry = Entry(found, True) if found is not None else Entry(self.put(key, make), False)
        else:
            entry = Entry(found, True)
        self._share(key, entry.path)
        return entry

    def _fetch(self, key: str) -> Path | None:
        """What another machine has made, now kept here too."""
        if not second_levels:
            return None
        shared = second_levels[-1]
        with scratch() as folder:
            try:
                if not shared.fetch(self.kind, key, folder):
                    return None
                if (folder / _RECORD).read_bytes() != _record(folder, self.kind, key).encode():
                    raise OSError("its SHA-256 does not hold")
            except OSError as error:
                self._say(f"cache: {self.kind}/{key} of {shared.url} is not used: {error}")
                return None

            def copy(work: Path) -> None:
                for path in folder.iterdir():
                    shutil.copy(path, work)

            return self.put(key, copy)

    def _share(self, key: str, folder: Path) -> None:
        """Let other machines have a result."""
        if not second_levels:
            return
        try:
            second_levels[-1].publish(self.kind, key, folder)
        except OSError as error:
            self._say(f"cache: {second_levels[-1].url} cannot keep {self.kind}: {error}")

    def put(self, key: str, make: Callable[[Path], None]) -> Path:
        """Make a result as `obtain` does, in place of what there may be, and give its folder."""
        with ExitStack() as stack:
            work = stack.enter_context(scratch()) / "entry"
            work.mkdir()
            make(work)
            (work / _RECORD).write_text(_record(work, self.kind, key), encoding="utf-8")
            try:
                self._publish(work, key)
            except OSError as error:
                self._say(f"cache: {self.folder} cannot keep anything ({error.strerror}): it is made again next time")
                atexit.register(stack.pop_all().close)
                return work
        with suppress(OSError):
            self._prune()
        return self.folder / key

    def _publish(self, work: Path, key: str) -> None:
        final = self.folder / key
        self.folder.mkdir(parents=True, exist_ok=True)
        with scratch(self.folder, prefix=".new-") as staging:  # on the same disk: renaming is all or nothing
            new = staging / "entry"
            new.mkdir()
            for path in work.iterdir():
                shutil.copy(path, new)
            try:
                new.rename(final)
            except OSError:
                if self._problem(key) is None:  # another process was faster
                    return
                final.rename(staging / "old")
                new.rename(final)

    @contextmanager
    def locked(self, *keys: str) -> Iterator[None]:
        """Let one process at a time make these; the locks go with the process that holds them."""
        with ExitStack() as stack:
            with suppress(OSError):  # a folder that cannot be written to: each makes its own
                self.folder.mkdir(parents=True, exist_ok=True)
                for key in sorted(set(keys)):  # all in one order: nobody waits in a circle
                    handle = stack.enter_context(open(self.folder / f".{key}.lock", "wb"))
                    fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _prune(self) -> None:
        """Once a day, remove what nobody used for a month: of all kinds, and of earlier versions of this program."""
        now, stamp = time.time(), self.root / _STAMP
        with suppress(FileNotFoundError):
            if stamp.stat().st_mtime > now - _LOOK_S:
                return
        stamp.touch()
        for folder in (*(path for path in self.root.iterdir() if path.is_dir()), self.root):
            for path in folder.iterdir():
                with suppress(OSError):  # another process was faster
                    if _newest(path) < now - _KEPT_S:
                        _remove(path)
