"""What is wrong with a size, in words."""

from collections.abc import Sequence
from typing import Any

__all__ = ["problem_of_choice", "problem_of_count", "unlike"]


def problem_of_count(what: str, value: object, least: int = 1) -> str:
    """What is wrong with a count; empty if nothing is."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return ""
    return f"{what} must be {'a positive integer' if least else 'an integer, 0 or more'}, not {value!r}"


def problem_of_choice(what: str, value: str, known: tuple[str, ...]) -> str:
    return "" if value in known else f"{what} must be one of {', '.join(known)}, not {value!r}"


def unlike(one: Any, other: Any, names: Sequence[str]) -> str:
    """The first of these members in which two layers differ, as a requirement of the other; empty without one."""
    return next(
        (
            f"{name} must be {getattr(one, name)!r}, not {getattr(other, name)!r}"
            for name in names
            if getattr(one, name) != getattr(other, name)
        ),
        "",
    )
