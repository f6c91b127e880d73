"""What goes where: results to standard output, all else to standard error, in characters that the terminal has."""

import codecs
import contextlib
import json
import logging
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console

from moesaic.cache import CacheWarning

__all__ = [
    "end_of_results",
    "print_json",
    "print_result",
    "quietly",
    "result_console",
    "results_apart",
    "settle_streams",
    "warnings_in_lines",
]

_PLAIN = "moesaic.plain"  # the name of `_replaced` among Python's error handlers
# What Unicode has no decomposition for.
_ALIKE = str.maketrans({"×": "x", "–": "-", "—": "-", "−": "-", "±": "+-", "→": "->", "’": "'", "“": '"', "”": '"'})

_streams: list[TextIO] = []  # of the commands that run, one within the other; the last one's results go there


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = unicodedata.normalize("NFKD", error.object[error.start : error.end].translate(_ALIKE))
    kept = "".join(letter for letter in text if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in kept), error.end


def settle_streams() -> None:
    """Let standard output and error write plain characters for those that the locale's encoding lacks; what is closed
    leads nowhere.
    """
    codecs.register_error(_PLAIN, _replaced)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors=_PLAIN)


def end_of_results() -> None:
    """Send what is still printed, by a model's code when the program ends, to standard error."""
    sys.stdout.flush()
    if _descriptor(sys.stdout) == 1:
        os.dup2(2, 1)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        return None


@contextlib.contextmanager
def _apart_from_descriptor() -> Iterator[TextIO]:
    """A stream to what file descriptor 1 leads to, which leads to standard error while the block runs."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(kept, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False) as stream:
            os.dup2(2, 1)
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def results_apart() -> Iterator[None]:
    """While the block runs, whatever prints, in Python, C or another process, prints to standard error; only what is
    written to `results` reaches standard output.
    """
    with contextlib.ExitStack() as stack:
        direct = _descriptor(sys.stdout) == 1
        _streams.append(stack.enter_context(_apart_from_descriptor()) if direct else sys.stdout)
        stack.callback(_streams.pop)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def results() -> TextIO:
    """Standard output."""
    return _streams[-1] if _streams else sys.stdout


def print_result(text: str, *, end: str = "\n") -> None:
    """Text to standard output."""
    print(text, end=end, file=results())


def print_json(value: Any) -> None:
    """A value as JSON to standard output."""
    print_result(json.dumps(value, indent=1, allow_nan=False))


def result_console(*, width: int = 0, soft_wrap: bool = False) -> Console:
    """For tables on standard output, at least `width` characters wide."""
    made = Console(file=results(), highlight=False, soft_wrap=soft_wrap)
    made.width = max(made.width, width)
    return made


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """While the block runs, neither warnings nor loggers of any library say anything."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what torch's C++ says; read when torch is imported
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def warnings_in_lines() -> Iterator[None]:
    """While the block runs, this program's own warnings are lines without the place in its source."""
    with warnings.catch_warnings():
        foreign = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, CacheWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                foreign(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
