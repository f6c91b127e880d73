"""Tables of a TOML file to dataclasses: every field there, of its type, and no other."""

import dataclasses
from typing import Any

from moesaic.boards.resources import Resources
from moesaic.errors import InputError

__all__ = ["BoardError", "check_number", "require", "section"]

_LARGEST = 1 << 48  # number of anything on a board


class BoardError(InputError):
    """A board is unknown or its description is wrong; the message names board, field and value."""


def require(ok: bool, field: str, requirement: str, value: object) -> None:
    if not ok:
        raise BoardError(f"{field} must be {requirement}, not {value!r}")


def check_number(value: Any, kind: Any, field: str, what: str) -> None:
    require(isinstance(value, kind) and not isinstance(value, bool), field, what, value)
    require(abs(value) <= _LARGEST, field, f"{what} of at most {_LARGEST}", value)


def section(kind: type, field: str, table: object) -> Any:
    """An instance of a dataclass from a TOML table: every field there, of its type, and no other.

    Parameters
    ----------
    kind : type
    field : str
        The table's name, for messages; empty for a whole file.
    table : object

    Raises
    ------
    BoardError
    """
    if not isinstance(table, dict):
        raise BoardError(f"{field} must be a table, not {table!r}")
    known = {f.name: f for f in dataclasses.fields(kind)}
    for name in table:
        require(
            name in known, f"{field}.{name}" if field else name, f"absent (fields: {', '.join(known)})", table[name]
        )
    values = {}
    for name, entry in known.items():
        path = f"{field}.{name}" if field else name
        if name not in table:
            if entry.default is dataclasses.MISSING or kind is Resources:  # a budget says what there is none of
                raise BoardError(f"{path} must be given")
            continue
        value = table[name]
        wanted = str(entry.type)
        if "tuple" in wanted:
            require(
                isinstance(value, list | tuple) and all(isinstance(v, str) for v in value),
                path,
                "a list of names",
                value,
            )
            value = tuple(value)
        elif "float" in wanted:
            check_number(value, int | float, path, "a number")
        elif "bool" in wanted:
            require(isinstance(value, bool), path, "true or false", value)
        elif "int" in wanted:
            check_number(value, int, path, "a whole number")
        else:
            require(isinstance(value, str) and bool(value), path, "a text", value)
        values[name] = value
    try:
        return kind(**values)
    except BoardError:
        raise
    except ValueError as error:  # of Resources and AcceleratorConfig: they name the field already
        raise BoardError(f"{field}: {error}" if field else str(error)) from error
