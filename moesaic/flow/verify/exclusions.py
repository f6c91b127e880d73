"""Mutants that are listed as equivalent, each with the reason."""

import functools
import importlib.resources
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase

__all__ = ["exclusions", "fits"]

Exclusion = tuple[str, str]


@functools.cache
def exclusions(package: str, name: str) -> tuple[Exclusion, ...]:
    """Patterns of mutants that change nothing, each with the reason, of a file of a package."""
    text = (importlib.resources.files(package) / name).read_text(encoding="utf-8")
    return tuple(
        (pattern, entry["reason"]) for entry in tomllib.loads(text).get("exclude", ()) for pattern in entry["mutants"]
    )


def fits(shown: str, listed: Iterable[Exclusion]) -> bool:
    """Whether a mutant, as it is shown, is listed."""
    return any(fnmatchcase(shown, pattern) for pattern, _ in listed)
