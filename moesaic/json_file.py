"""JSON files of users and strangers: regular, of bounded size, without a traceback whatever they hold.

Plain Python 3.10: the host runtime on a board reads manifests with it.
"""

import json
import stat
from pathlib import Path
from typing import Any, NoReturn

from moesaic.errors import InputError

__all__ = ["read_bytes", "read_json", "read_utf8"]


def read_bytes(path: Path, *, most: int, what: str, kind: str, error: type[InputError]) -> bytes:
    """The bytes of a regular file.

    Parameters
    ----------
    path : Path
    most : int, bytes
        Of a larger file nothing is read.
    what, kind : str
        For messages: what the file is, and what it must be ("a readable TOML file").
    error : type of InputError
        Raised if it is no regular file (a device, a pipe, a folder), too large, or cannot be read.
    """

    def refuse(why: str) -> NoReturn:
        raise error(f"{what} must be {kind}, not {str(path)!r} ({why})")

    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            refuse("Is a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file")
        if found.st_size > most:
            refuse(f"{found.st_size:,} bytes, where {most:,} are the most")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as problem:
        refuse(problem.strerror or str(problem))
    except ValueError as problem:  # a null character in the path
        refuse(str(problem))
    if len(data) > most:
        refuse(f"more than {most:,} bytes")
    return data


def read_utf8(path: Path, *, most: int, what: str, kind: str, error: type[InputError]) -> str:
    """The text of a regular file, as `read_bytes`; `error` also if it is not UTF-8."""
    try:
        return read_bytes(path, most=most, what=what, kind=kind, error=error).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{what} must be {kind}, not {str(path)!r} (not UTF-8)") from problem


def read_json(path: Path, *, most: int, what: str, error: type[InputError]) -> Any:
    """What a JSON file holds, as `read_bytes`; `error` also if it is not JSON, or nested too deeply to be read.

    NaN and infinities, which JSON has not, are refused.
    """
    kind = "a readable JSON file"

    def constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number")

    text = read_utf8(path, most=most, what=what, kind=kind, error=error)
    try:
        return json.loads(text, parse_constant=constant)
    except RecursionError:
        raise error(f"{what} must be {kind}, not {str(path)!r} (nested too deeply)") from None
    except ValueError as problem:
        raise error(f"{what} must be {kind}, not {str(path)!r} ({problem})") from problem
