"""Temporary folders that go with the process that made them, however it ends."""

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PREFIX", "scratch"]

PREFIX = "moesaic-work-"
_DRAWN = re.compile(r"[a-z0-9_]{8}")  # what `scratch` puts behind a prefix


def _lock(folder: Path, *, wait: bool) -> int | None:
    """A descriptor that holds the folder's lock, None if another process has it; `OSError` if the folder is gone."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held, or a disk without locks: there nobody takes anything away
        os.close(handle)
        return None
    return handle


def _sweep(parent: Path, prefix: str, rescue: Callable[[Path], None]) -> None:
    """Remove this user's folders whose process is dead: a living one holds their locks, which go with it."""
    for path in sorted(parent.iterdir()):
        if not path.name.startswith(prefix) or not _DRAWN.fullmatch(path.name[len(prefix) :]):
            continue
        try:
            handle = _lock(path, wait=False) if path.lstat().st_uid == os.geteuid() else None
            if handle is None:
                continue
            try:
                rescue(path)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
        except OSError:  # another process was faster
            continue


def _make(folder: Path) -> int | None:
    """The folder, made and locked; a descriptor that holds the lock, None on a disk without locks."""
    while True:
        folder.mkdir(mode=0o700)
        try:
            handle = _lock(folder, wait=True)
            if folder.is_dir():
                return handle
        except FileNotFoundError:
            pass  # swept before it was locked
        else:
            if handle is not None:
                os.close(handle)


@contextmanager
def scratch(
    parent: Path | None = None, *, prefix: str = PREFIX, rescue: Callable[[Path], None] = lambda folder: None
) -> Iterator[Path]:
    """A new folder, which goes when the block ends; and with it those of the same prefix that killed processes left.

    Parameters
    ----------
    parent : Path, optional
        Where; among the system's temporary files if not given. Made if it is missing, and then gone if the block fails.
    prefix : str
        Of the name; eight characters follow.
    rescue : callable of Path
        Takes out of a folder that was left what must not go with it.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    while (folder := parent / f"{prefix}{secrets.token_hex(4)}").exists():
        pass
    handle = None
    # The names are known before the folders are there: an interruption at any time takes them away.
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, prefix, rescue)
        try:
            handle = _make(folder)
            yield folder
        finally:
            try:
                shutil.rmtree(folder, ignore_errors=True)
            except BaseException:  # interrupted while it went
                shutil.rmtree(folder, ignore_errors=True)
                raise
            if handle is not None:
                os.close(handle)
    except BaseException:
        for path in missing:
            try:
                path.rmdir()
            except OSError:  # another process uses it
                break
        raise
