"""TOML files of users and strangers: regular, of bounded size, without a traceback whatever they hold."""

import tomllib
from pathlib import Path
from typing import Any

from moesaic.errors import InputError
from moesaic.json_file import read_utf8
from moesaic.names import name_after

__all__ = ["MOST_BYTES", "name_of", "parse_toml", "read_toml_text"]

MOST_BYTES = 1 << 20


def read_toml_text(path: Path, *, what: str, error: type[InputError]) -> str:
    """The text of a TOML file.

    Parameters
    ----------
    path : Path
    what : str
        For messages: what the file is.
    error : type of InputError
        Raised if it is no file, too large, cannot be read, or is not UTF-8.
    """
    return read_utf8(path, most=MOST_BYTES, what=what, kind="a readable TOML file", error=error)


def parse_toml(text: str) -> dict[str, Any]:
    """The table that a text is.

    Raises
    ------
    TOMLDecodeError
        If it is not TOML, or nested too deeply to be read.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("nested too deeply") from None


def name_of(path: Path) -> str:
    """A name after a file, without its ending."""
    return name_after(path.stem, "unnamed")
