"""What a stranger's file must not do: raise what no user understands, write elsewhere, run code, or take a gigabyte."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moesaic.errors import MoesaicError

__all__ = ["MOST_BYTES", "harmless"]

MOST_BYTES = 1 << 30  # of memory above what was taken before
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGING = ("os.rename", "os.mkdir", "os.symlink", "os.link", "os.truncate", "shutil.copyfile", "shutil.move")
_RUNNING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")

_inside: list[Path] = []  # where may be written while something is watched; empty: nothing is watched
_seen: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if not _inside:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and isinstance(path, str | bytes):
            _note(event, os.fsdecode(path))
    elif event in _CHANGING:
        for path in arguments[:2]:
            if isinstance(path, str | bytes | os.PathLike):
                _note(event, os.fsdecode(path))
    elif event in _RUNNING:
        _seen.append(f"{event} {arguments!r}")


def _note(event: str, path: str) -> None:
    place = Path(os.path.realpath(os.path.dirname(path)))
    if _inside[0] != place and _inside[0] not in place.parents:
        _seen.append(f"{event} {path!r}")


sys.addaudithook(_watch)


@contextmanager
def harmless(inside: Path) -> Iterator[None]:
    """A block in which nothing may go wrong but with an error of this project, of one line that says something.

    Raises
    ------
    AssertionError
        If something was written outside `inside`, or a process was started.
    Exception
        That is no `MoesaicError`; `MemoryError` if the block needs more than `MOST_BYTES`.
    """
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_BYTES, hard))
    sys.dont_write_bytecode = True
    _inside.append(Path(os.path.realpath(inside)))
    try:
        yield
    except MoesaicError as error:
        line = str(error).partition("\n")[0]
        assert line, repr(error)
    finally:
        _inside.pop()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert not _seen, _seen.copy()
