"""Result folders that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moesaic.errors import InputError
from moesaic.scratch import scratch

__all__ = ["check_replaceable", "check_space", "new_folder", "put_file"]

_OLD = "old"  # beside the new folder: the one whose place it takes


def check_replaceable(final: Path, *, marker: str) -> None:
    """Refuse a result folder that would destroy something else.

    Parameters
    ----------
    final : Path
    marker : str
        File by which an earlier result is known.

    Raises
    ------
    InputError
        If `final` is a file, or a folder with contents but without the marker, or cannot be made.
    """
    if final.is_dir():
        if any(final.iterdir()) and not (final / marker).is_file():
            raise InputError(f"out must be a new or empty folder, or one with an earlier {marker}, not {str(final)!r}")
    elif final.exists() or final.is_symlink():
        raise InputError(f"out must be a folder, not {str(final)!r}")
    parent = next(p for p in final.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"out must be in a folder that can be written to, not {str(final)!r}")


def check_space(place: Path, needed: int) -> None:
    """Refuse to begin what will not fit on the disk.

    Parameters
    ----------
    place : Path
        Where files will go; need not exist yet.
    needed : int, bytes

    Raises
    ------
    InputError
    """
    place = next(p for p in (place.absolute(), *place.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"free space in {str(place)!r} must be at least {needed >> 20} MiB, not {free >> 20} MiB: the disk is full"
        )


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final`, which takes its place when the block ends well and goes when it does not."""
    final = final.absolute()

    def rescue(left: Path) -> None:
        """An earlier result whose place nothing has taken, when the process that was about to is dead."""
        if (left / _OLD).exists() and not final.exists():
            (left / _OLD).replace(final)

    with scratch(final.parent, prefix=f".moesaic-{final.name}-", rescue=rescue) as place:
        new = place / "new"
        new.mkdir()
        yield new
        new.chmod(0o755)
        if final.exists():
            final.replace(place / _OLD)
        try:
            new.replace(final)
        except BaseException:
            rescue(place)
            raise


def put_file(path: Path, data: bytes) -> None:
    """Write a file into a folder, whole or not at all; a link that stands there is replaced and not followed."""
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
