"""Results that are one JSON file: what it must look like follows from the result's type, and is checked on reading."""

import json
from pathlib import Path
from typing import Any, TypeVar

from moesaic.errors import InputError
from moesaic.flow.folder import put_file
from moesaic.json_file import read_json
from moesaic.records import from_plain, to_plain

__all__ = ["read_kept", "write_kept"]

T = TypeVar("T")
_MOST = 64 << 20  # bytes


def write_kept(result: Any, path: Path) -> None:
    """Write a result, a dataclass that `records` can keep, whole or not at all."""
    put_file(path, (json.dumps(to_plain(result), indent=1, allow_nan=False) + "\n").encode())


def read_kept(kind: type[T], path: Path, what: str) -> T:
    """What `write_kept` wrote, or what `--json` printed of the same result.

    Parameters
    ----------
    kind : type
        Of the result.
    path : Path
    what : str
        For messages: "scenes".

    Raises
    ------
    InputError
        If it is damaged, or says of itself what cannot be.
    """
    plain = read_json(path, most=_MOST, what=what, error=InputError)
    try:
        return from_plain(kind, plain, what)
    except ValueError as error:
        raise InputError(f"{str(path)!r} must be {what} as they were written, not a damaged file ({error})") from error
