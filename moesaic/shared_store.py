"""A cache that several machines share: a folder that all of them see, or any URL that fsspec knows."""

import contextlib
import functools
import platform
import shutil
import stat
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec

from moesaic import store
from moesaic.errors import InputError
from moesaic.scratch import scratch
from moesaic.store import key_of

__all__ = ["SharedStore", "absolute", "sharing"]

_CPU = Path("/proc/cpuinfo")


@functools.cache
def machine_kind() -> str:
    """Digest of what simulators are compiled for: machines of one kind can run each other's."""
    text = _CPU.read_text(encoding="utf-8", errors="replace") if _CPU.is_file() else platform.processor()
    lines = (line.partition(":") for line in text.splitlines())
    flags = next((sorted(value.split()) for name, _, value in lines if name.strip() in ("flags", "Features")), [text])
    return f"{platform.machine()}-{key_of(*platform.libc_ver(), *flags)[:12]}"


def absolute(url: str) -> str:
    """The same for processes that work in other folders."""
    return url if "://" in url else str(Path(url).absolute())


class SharedStore:
    """Entries of a `Store` as archives: `URL/MACHINE/KIND/KEY.tar`, each there whole or not at all.

    Parameters
    ----------
    url : str
        Folder, or URL of fsspec.

    Raises
    ------
    InputError
        If it cannot be read and written, or fsspec does not know it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.files, root = fsspec.core.url_to_fs(url)
            self.root = f"{root.rstrip('/')}/{machine_kind()}"
            self.files.makedirs(self.root, exist_ok=True)
            probe = f"{self.root}/.new-{uuid.uuid4().hex}"
            self.files.pipe_file(probe, b"moesaic")
            if self.files.cat_file(probe) != b"moesaic":
                raise OSError("what was written is not what is read")
            self.files.rm_file(probe)
        except Exception as error:  # every service has its own
            raise InputError(
                f"shared cache must be a folder or URL that can be read and written, not {url!r}: {_first_line(error)}"
            ) from error

    def _path(self, kind: str, key: str) -> str:
        return f"{self.root}/{kind}/{key}.tar"

    @contextlib.contextmanager
    def _as_os_errors(self) -> Iterator[None]:
        """Every service has its own."""
        try:
            yield
        except Exception as error:
            raise OSError(_first_line(error)) from error

    def fetch(self, kind: str, key: str, folder: Path) -> bool:
        """Copy the files of an entry into an empty folder, not yet checked; False if it is not there."""
        with self._as_os_errors(), scratch() as work:
            if not self.files.exists(self._path(kind, key)):
                return False
            archive = work / "entry.tar"
            self.files.get_file(self._path(kind, key), str(archive))
            with tarfile.open(archive, "r:") as tar:
                for member in tar:
                    if not member.isreg() or Path(member.name).name != member.name:
                        raise OSError(f"{member.name} is no file of an entry")
                    content = tar.extractfile(member)
                    assert content is not None
                    with content, open(folder / member.name, "wb") as file:
                        shutil.copyfileobj(content, file)
                    (folder / member.name).chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)
        return True

    def publish(self, kind: str, key: str, folder: Path) -> None:
        """Copy an entry's files there, unless they are there already."""
        final = self._path(kind, key)
        parent = final.rpartition("/")[0]
        with self._as_os_errors(), scratch() as work:
            if self.files.exists(final):
                return
            archive = work / "entry.tar"
            with tarfile.open(archive, "w") as tar:
                for path in sorted(folder.iterdir()):
                    tar.add(path, arcname=path.name, recursive=False)
            self.files.makedirs(parent, exist_ok=True)
            new = f"{parent}/.new-{uuid.uuid4().hex}"
            self.files.put_file(str(archive), new)
            self.files.mv(new, final)


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.partition("\n")[0] or type(error).__name__


_opened = functools.cache(SharedStore)  # looked at once by each process


@contextlib.contextmanager
def sharing(url: str | None) -> Iterator[None]:
    """While the block runs, stores look there for what this machine's cache lacks, and put there what they make.

    Raises
    ------
    InputError
        As `SharedStore`.
    """
    if url is None:
        yield
        return
    store.second_levels.append(_opened(absolute(url)))
    try:
        yield
    finally:
        store.second_levels.pop()
