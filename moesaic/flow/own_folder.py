"""Which folders may be replaced: those that hold only what was generated, unchanged. Nothing of anybody else's is ever
deleted.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from moesaic.cache import home
from moesaic.errors import InputError
from moesaic.flow.folder import check_replaceable

__all__ = ["SUMS", "check_place", "foreign_files", "set_aside", "write_sums"]

SUMS = "SHA256SUMS"  # of all files of a generated folder, as `sha256sum` writes them


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    """Everything in a folder that is not a real folder itself; links are not followed."""

    def unreadable(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        found += [Path(parent) / name for name in names]
        found += [Path(parent) / name for name in folders if (Path(parent) / name).is_symlink()]
    return sorted(found)


def write_sums(folder: Path) -> None:
    """List the files of a generated folder with their digests."""
    lines = [f"{_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def foreign_files(folder: Path) -> list[str]:
    """Files in a folder that were not generated, or were changed since."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    result = []
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name != SUMS and (path.is_symlink() or not path.is_file() or known.get(name) != _digest(path)):
            result.append(name)
    return result


def _refuse_protected(folder: Path) -> None:
    place = folder.resolve()
    for what, inner in (
        ("the home folder", home()),
        ("the folder of temporary files", Path(tempfile.gettempdir())),
        ("the working folder", Path.cwd()),
    ):
        if inner is not None and (inner.resolve() == place or place in inner.resolve().parents):
            raise InputError(f"out must not be {what} or a folder around it, not {str(folder)!r}")
    if os.path.ismount(place):
        raise InputError(f"out must not be a mount point, not {str(folder)!r}")
    if (place / ".git").exists():
        raise InputError(f"out must not be a git checkout, not {str(folder)!r}")
    if folder.is_symlink():
        raise InputError(f"out must be a folder and not a link to one, not {str(folder)!r}")


def check_place(folder: Path, *, force: bool) -> None:
    """Refuse to write a folder where another stands, unless that one is ours and unchanged, or `force` lets it be moved
    aside.

    Raises
    ------
    InputError
        Also with `force`: the home, temporary and working folders and those around them, mount points, git checkouts
        and links.
    """
    if folder.is_dir():
        _refuse_protected(folder)
        foreign = [] if force else foreign_files(folder)
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise InputError(
                f"out must be a new or empty folder, or hold only what was generated, not {str(folder)!r}, which "
                f"holds {foreign[0]!r}"
                f"{more}; --force moves that folder aside"
            )
        return
    check_replaceable(folder, marker=SUMS)


def set_aside(folder: Path) -> Path | None:
    """Rename a folder that holds anything not generated to the first free ``NAME.old-N``; nothing in it is touched.

    Returns
    -------
    Path or None
        Its new place; None if there is nothing to move.

    Raises
    ------
    InputError
        If the folder is one that must not be moved.
    """
    if not folder.is_dir() or not foreign_files(folder):
        return None
    _refuse_protected(folder)
    number = 1
    while os.path.lexists(folder.with_name(f"{folder.name}.old-{number}")):
        number += 1
    return folder.rename(folder.with_name(f"{folder.name}.old-{number}"))
