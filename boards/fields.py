"""Fields of an accelerator as they are typed on a command line: FIELD=VALUE."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from moesaic.errors import InputError
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["FIELDS", "name_with", "read_fields"]

FIELDS: Mapping[str, str] = {field.name: str(field.type) for field in dataclasses.fields(AcceleratorConfig)}
_TRUTHS = {"true": True, "false": False}
_LONGEST = 64  # characters of a name


def _value(name: str, text: str) -> Any:
    kind = FIELDS[name]
    if "tuple" in kind:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if "bool" in kind:
        if text.lower() not in _TRUTHS:
            raise InputError(f"{name} must be true or false, not {text!r}")
        return _TRUTHS[text.lower()]
    if "str" in kind:
        return text
    number, what = (float, "a number") if "float" in kind else (int, "a whole number")
    try:
        return number(text)
    except ValueError:
        raise InputError(f"{name} must be {what}, not {text!r}") from None


def read_fields(texts: Sequence[str]) -> dict[str, Any]:
    """Values by field, from texts such as `rows=32`, `joint_memories=true` or `ultra_ram=activation,kv`.

    Raises
    ------
    InputError
        If a text is of another form, a field is unknown or given twice, or a value is of another type.
    """
    values = dict[str, Any]()
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError(f"set must be FIELD=VALUE, such as rows=32, not {text!r}")
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, 1)
            known = f"nearest: {near[0]!r}" if near else f"fields: {', '.join(FIELDS)}"
            raise InputError(f"set must name a field of an accelerator, not {name!r} ({known})")
        if name in values:
            raise InputError(f"set must give {name} once, not {values[name]!r} and {value!r}")
        values[name] = _value(name, value)
    return values


def name_with(name: str, values: Mapping[str, Any]) -> str:
    """A name for an accelerator with other values: `micro8-rows-16`; without them, if it would be too long."""
    parts = [name]
    for field, value in values.items():
        shown = "-".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else value
        parts.append(f"{field}-{shown}".lower().replace(".", "p"))
    long = "-".join(parts).replace("_", "-")
    return long if len(long) <= _LONGEST else f"{name}-changed"[:_LONGEST]
