"""Names that become parts of file names and of programs in other languages, held to one pattern."""

import re

from moesaic.errors import InputError

__all__ = ["ALL_TASKS", "NAME_RULE", "check_name", "check_tasks", "is_name", "name_after"]

ALL_TASKS = "all"  # stands for every task of a model
NAME_RULE = "1 to 64 letters, digits, '-' and '_' of ASCII, a letter or digit first"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_name(value: object) -> bool:
    """Whether a value is a name (`NAME_RULE`)."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def name_after(text: str, otherwise: str) -> str:
    """A name that is like a text, such as a file's: '-' for every run of other characters; `otherwise` if nothing is
    left.
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).lstrip("-_")[:64].rstrip("-") or otherwise


def check_name(what: str, value: object, *, error: type[InputError] = InputError) -> None:
    """`error` saying what `what` must be, if `value` is no name."""
    if not is_name(value):
        raise error(f"{what} must be {NAME_RULE}, not {value!r}")


def check_tasks(tasks: object, *, what: str = "tasks", error: type[InputError] = InputError) -> None:
    """`error` if tasks are no tuple or list of distinct names, at least one, none of them `ALL_TASKS`."""
    if not isinstance(tasks, (tuple, list)) or not tasks:
        raise error(f"{what} must be distinct names, at least one, not {tasks!r}")
    for task in tasks:
        check_name(f"every one of {what}", task, error=error)
        if task == ALL_TASKS:
            raise error(f"every one of {what} must be another word than {ALL_TASKS!r}, which stands for all of them")
    if len(set(tasks)) < len(tasks):
        raise error(f"{what} must be distinct names, at least one, not {tasks!r}")
