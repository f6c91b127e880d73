"""A module's unit tests, run by pytest in this process."""

import importlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import moesaic

__all__ = ["MOST_S", "ROOT", "UnitTests", "files_of", "measure", "run_tests"]

ROOT = Path(moesaic.__file__).parents[1]
MOST_S = 1.0  # CPU time of a test that is worth it
_GIVEN_UP_S = 6.0  # of one that is not worth measuring
_FOLDERS = ("compiler", "sim", "golden")
_MAIN = {  # asked about every module of a layer
    "compiler": ("compiler/test_passes.py", "compiler/test_check.py", "compiler/test_image.py"),
    "sim": ("sim/test_functional.py",),
    "golden": ("golden/test_m3vit_int.py", "golden/test_numerics.py", "golden/test_network.py"),
}
# No caches that later mutants would find, and no processes.
_OPTIONS = ("-q", "-x", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest")


@dataclass(frozen=True)
class UnitTests:
    """Some test files.

    Parameters
    ----------
    files : tuple of str
        From the root of the repository.
    left_out : tuple of str
        Tests that take too long, or do not pass when nothing is changed.
    seconds : float
        CPU time of the others together.
    """

    files: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: float


def files_of(module: str) -> tuple[str, ...]:
    """Files with a module's unit tests: first its own and others that import it, then those of its layer."""
    layer, _, name = module.removeprefix("moesaic.").rpartition(".")
    imported = re.compile(rf"^\s*from moesaic\.{layer}(\.{name} import| import .*\b{name}\b)", re.MULTILINE)
    found = []
    for folder in _FOLDERS:
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            if imported.search(path.read_text(encoding="utf-8")):
                found.append(f"{folder}/{path.name}")
    found.sort(key=lambda path: not path.endswith(f"/test_{name}.py"))
    main = _MAIN[layer.partition(".")[0]]
    return tuple(f"tests/{name}" for name in dict.fromkeys((*found, *main)))


def _too_long(number: int, frame: object) -> NoReturn:
    raise TimeoutError("a test takes too long")


class _Watch:
    """A plugin that says of each test how it went, and ends those that take longer than `most_s`, unless that is 0."""

    def __init__(self, say: Callable[[str, float, bool], None], most_s: float = 0.0) -> None:
        self.say, self.most_s = say, most_s
        self.began, self.passed = 0.0, True

    def pytest_collection_finish(self, session: Any) -> None:
        for item in session.items:
            self.say(item.nodeid, -1.0, False)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.began, self.passed = time.process_time(), True
        signal.setitimer(signal.ITIMER_VIRTUAL, self.most_s)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.passed = self.passed and report.passed

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.say(nodeid, time.process_time() - self.began, self.passed)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.say(report.nodeid, 0.0, False)


def _repeatable() -> None:
    hypothesis = importlib.import_module("hypothesis")
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")


def _forget_tests() -> None:
    """Import test modules again: those that were there before hold what they had imported then."""
    folder = f"{ROOT / 'tests'}{os.sep}"
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder):
            del sys.modules[name]


def _pytest(files: Sequence[str], options: Sequence[str], watch: _Watch) -> int:
    _forget_tests()
    _repeatable()
    found: int = importlib.import_module("pytest").main(
        [*_OPTIONS, *options, "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), *files], plugins=[watch]
    )
    return int(found)


def measure(file: str, say: Callable[[str, float, bool], None]) -> None:
    """Run all tests of a file: first each is said with -1 s, then with its CPU time, and whether it passed."""
    signal.signal(signal.SIGVTALRM, _too_long)
    _pytest([file], ["--maxfail=1000", "-m", "not slow"], _Watch(say, _GIVEN_UP_S))


def run_tests(tests: UnitTests) -> str:
    """The first test that fails; empty if none does."""
    failed: list[str] = []

    def say(nodeid: str, seconds: float, passed: bool) -> None:
        if seconds >= 0 and not passed:
            failed.append(nodeid)

    left_out = [option for name in tests.left_out for option in ("--deselect", name)]
    status = _pytest(tests.files, ["-m", "not slow", *left_out], _Watch(say))
    return failed[0] if failed else f"status {status} of pytest" if status else ""
