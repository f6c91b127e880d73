"""Results of synthesis on disk, found by what went into them."""

import fcntl
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from moesaic.cache import cache_root

__all__ = ["Cache", "default_cache"]


def default_cache() -> Path:
    """Folder of synthesis in the cache of the whole program."""
    return cache_root() / "synthesis"


class Cache:
    """Mapped netlists and their counts by key.

    Parameters
    ----------
    folder : Path
        Made when something is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def key(*parts: str) -> str:
        """A name for what these texts determine."""
        total = hashlib.sha256()
        for part in parts:
            data = part.encode()
            total.update(len(data).to_bytes(8, "little") + data)
        return total.hexdigest()[:40]

    def _path(self, key: str, ending: str) -> Path:
        return self.folder / key[:2] / f"{key}.{ending}"

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def counts(self, key: str) -> dict[str, int] | None:
        """Cells by type of a netlist that was stored, or None."""
        try:
            found = json.loads(self._path(key, "counts.json").read_text(encoding="utf-8"))
            return {str(cell): int(number) for cell, number in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):  # not there, or damaged: made again
            return None

    def netlist(self, key: str) -> dict[str, Any]:
        """A netlist that was stored.

        Raises
        ------
        OSError
            If there is none.
        """
        found: dict[str, Any] = json.loads(gzip.decompress(self._path(key, "netlist.json.gz").read_bytes()))
        return found

    @contextmanager
    def locked(self, keys: Iterable[str]) -> Iterator[None]:
        """Let one process at a time work on these; the locks go with the process that holds them."""
        with ExitStack() as stack:
            for key in sorted(keys):  # all in one order: nobody waits in a circle
                path = self._path(key, "lock")
                path.parent.mkdir(parents=True, exist_ok=True)
                fcntl.flock(stack.enter_context(open(path, "w", encoding="utf-8")), fcntl.LOCK_EX)
            yield

    def store(self, key: str, netlist: dict[str, Any]) -> None:
        """Keep a netlist and its counts."""
        counts: dict[str, int] = {}
        for cell in netlist["cells"].values():
            counts[cell[0]] = counts.get(cell[0], 0) + 1
        self._write(self._path(key, "netlist.json.gz"), gzip.compress(json.dumps(netlist).encode(), 4))
        self._write(
            self._path(key, "counts.json"), json.dumps(counts, sort_keys=True).encode()
        )  # last: what is looked for
