"""Forks in which a changed module is imported and the ladder climbed.

The project's own modules are imported anew in each fork, so that nothing of the unchanged module is left: defaults,
constants, and what others have imported of it.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NoReturn

__all__ = [
    "HANG",
    "Answer",
    "Change",
    "Found",
    "Right",
    "Rung",
    "Say",
    "answers_differ",
    "climb",
    "forked",
    "limit",
    "record",
]

HANG = "no end"
_TOP = ["", ""]  # what a fork says when nothing was noticed
_MEMORY = 3 << 30  # bytes beyond what the process has
_SLACK_S, _TIMES, _WALL = 3.0, 5, 20  # CPU time: a limit's constant and factor; wall-clock time for each of it
Answer = tuple[str, str]
Say = Callable[[Any], None]


@dataclass(frozen=True)
class Found:
    """Where a mutant was noticed.

    Parameters
    ----------
    rung : str
    how : str
        The answer that differs, the exception, `HANG`, or how the process ended.
    """

    rung: str
    how: str


@dataclass(frozen=True)
class Change:
    """A changed module.

    Parameters
    ----------
    module, path : str
    code : CodeType
        Of the whole module.
    """

    module: str
    path: str
    code: CodeType


@dataclass(frozen=True)
class Right:
    """What a rung answers when nothing is changed, and the CPU time that it takes."""

    answers: list[Answer]
    seconds: float


@dataclass(frozen=True)
class Ended:
    """How a fork ended.

    Parameters
    ----------
    status : int
        As `os.waitpid` gives it.
    said : list
    raised : str
        An exception, in one line; empty if there was none.
    """

    status: int
    said: list[Any]
    raised: str


@dataclass(frozen=True)
class Rung:
    """A step of the climb.

    Parameters
    ----------
    name : str
    seconds : float
        CPU time when nothing is changed.
    ask : callable
        What differs; empty if nothing does.
    """

    name: str
    seconds: float
    ask: Callable[[], str]


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads the changed module in place of what its file says."""

    def __init__(self, change: Change) -> None:
        super().__init__(change.module, change.path)
        self.change = change

    def get_code(self, fullname: str) -> CodeType:
        return self.change.code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the changed module, and no other."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> Any:
        if fullname != self.change.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.change.path, loader=_Loader(self.change))


def _forget() -> None:
    """Import all of the project's modules again when they are asked for."""
    for name in [name for name in sys.modules if name == "moesaic" or name.startswith("moesaic.")]:
        del sys.modules[name]


def limit(cpu_s: float) -> None:
    """End this process if it takes longer than that from now on."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.alarm(int(cpu_s * _WALL) + 60)


def forked(action: Callable[[Say], None]) -> Ended:
    """Run in a fork an action, which is given a function to say things by."""
    source, out = os.pipe()
    child = os.fork()
    if child == 0:
        _last(action, source, out)
    os.close(out)
    with os.fdopen(source, "rb") as lines:
        said = lines.read()
    _, status = os.waitpid(child, 0)
    entries = [json.loads(line) for line in said.split(b"\n")[:-1]]
    return Ended(status, [entry for kind, entry in entries if kind], next((e for kind, e in entries if not kind), ""))


def _last(action: Callable[[Say], None], source: int, out: int) -> NoReturn:
    """What a fork does to its end."""
    status = 1
    try:
        os.close(source)
        for number in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY,) * 2)
        action(lambda value: _write(out, [1, value]))
        status = 0
    finally:
        error = sys.exc_info()[1]
        if error is not None:
            where = "".join(traceback.format_tb(error.__traceback__)[-1:])
            _write(out, [0, " ".join(f"{type(error).__name__}: {error} {where}".split())[:300]])
        os._exit(status)


def _write(out: int, entry: Any) -> None:
    data = json.dumps(entry).encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]


def _rung(name: str) -> Callable[[Any], Iterator[Answer]]:
    """A rung by MODULE:NAME; its module is imported now."""
    module, _, rung = name.partition(":")
    found: Callable[[Any], Iterator[Answer]] = importlib.import_module(module).RUNGS[rung]
    return found


def record(given: bytes, names: Sequence[str]) -> dict[str, Right]:
    """What every rung answers when nothing is changed.

    Raises
    ------
    RuntimeError
        If that is not the same twice, or there is an exception.
    """

    def action(say: Say) -> None:
        _forget()
        for name in names:
            began = time.process_time()
            answers = list(_rung(name)(pickle.loads(given)))
            say([name, answers, time.process_time() - began])

    once, again = forked(action), forked(action)
    if len(once.said) < len(names) or [entry[:2] for entry in once.said] != [entry[:2] for entry in again.said]:
        raise RuntimeError(f"unchanged modules must give the same twice, not end with {once.status} {once.raised}")
    return {name: Right([(key, value) for key, value in answers], seconds) for name, answers, seconds in once.said}


def answers_differ(name: str, given: bytes, right: Right) -> str:
    """The first answer of a rung that is not right; empty if all are."""
    wanted = iter(right.answers)
    for answer in _rung(name)(pickle.loads(given)):
        expected = next(wanted, ("one more answer", ""))
        if answer != expected:
            return expected[0]
    missing = next(wanted, ("", ""))
    return missing[0]


def climb(change: Change, rungs: Sequence[Rung]) -> Found | None:
    """Climb in a fork until the change is noticed; None if it is not."""

    def action(say: Say) -> None:
        _forget()
        sys.meta_path.insert(0, _Finder(change))
        for rung in rungs:
            say([rung.name, ""])
            limit(_SLACK_S + _TIMES * rung.seconds)
            different = rung.ask()
            if different:
                return say([rung.name, different])
        say(_TOP)

    ended = forked(action)
    if not ended.status and ended.said[-1:] == [_TOP]:
        return None
    rung, different = ended.said[-1] if ended.said else (rungs[0].name, "")
    if different or ended.raised:
        return Found(rung, different or ended.raised)
    hang = os.WIFSIGNALED(ended.status) and os.WTERMSIG(ended.status) in (signal.SIGPROF, signal.SIGALRM)
    return Found(rung, HANG if hang else f"end of the process with status {ended.status}")
