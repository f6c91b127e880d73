"""Runs as a process of its own: what takes long to import is there, and each mutant is a fork.

    python -m moesaic.flow.verify.python.server < job.json

The job has `mutants`, each [module, path, number of the change], `ladder`, the rungs as MODULE:NAME, and `out`, the
file to which one line is written for each mutant: {"rung", "how"} of what noticed it, or null.
"""

import dataclasses
import functools
import importlib
import json
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moesaic.boards.hardware import meaning
from moesaic.flow.verify.python.climb import (
    Change,
    Found,
    Right,
    Rung,
    Say,
    answers_differ,
    climb,
    forked,
    limit,
    record,
)
from moesaic.flow.verify.python.edits import mutated
from moesaic.flow.verify.python.rungs import GOLDEN, SIMULATOR
from moesaic.flow.verify.python.unit_tests import MOST_S, ROOT, UnitTests, files_of, measure, run_tests
from moesaic.store import Store, key_of

__all__ = ["main"]

_MODELS = ("compiler", "golden", "sim", "hw/spec")
_CHECKS = tuple(
    f"moesaic/flow/verify/{name}.py"
    for name in (
        *("python/cases", "python/given", "python/pairs", "python/rungs", "pairs", "networks", "configurations"),
        *("nano", "layers", "legal", "legal_programs", "drawing", "probe", "programs"),
    )
)
_WARM = ("numpy", "torch", "hypothesis", "pytest", "_pytest.assertion.rewrite")
_GIVEN, _RIGHT, _TESTS = "given.pickle", "right.json", "tests.json"
_STORE = "python-mutation"
TESTS = "unit tests"
_MEASURED_S = 300.0  # CPU time of a test file when nothing is changed


@functools.cache
def _sources_key(*names: str) -> str:
    """Of modules that right answers depend on."""
    parts = [sys.version, *(str(importlib.import_module(name).__version__) for name in ("numpy", "torch"))]
    for name in names:
        top = ROOT / name
        paths = [top] if top.is_file() else sorted(top.rglob("*.py"))
        parts += [f"{path.relative_to(ROOT)} {meaning(path.read_text(encoding='utf-8'))}" for path in paths]
    return key_of(*parts)


def _check(right: Mapping[str, Right]) -> None:
    """`RuntimeError` where the simulator and the integer model do not agree on a program's residuals."""
    answers = {name: value for of in right.values() for name, value in of.answers}
    for name, value in answers.items():
        other = name.replace(GOLDEN, SIMULATOR, 1)
        if name.startswith(GOLDEN) and answers[other] != value:
            raise RuntimeError(f"residuals must be those of the integer model: {other}")


def _ladder(names: list[str]) -> tuple[bytes, dict[str, Right]]:
    """What is given, and the right answers: made once for a state of the sources, then found."""

    def make(folder: Path) -> None:
        def draw(say: Say) -> None:
            cases = importlib.import_module("moesaic.flow.verify.python.cases")
            (folder / _GIVEN).write_bytes(pickle.dumps(cases.given()))

        ended = forked(draw)
        if ended.status:
            raise RuntimeError(f"networks for mutants must be made, not end with {ended.status} {ended.raised}")
        right = record((folder / _GIVEN).read_bytes(), names)
        _check(right)
        text = json.dumps({name: dataclasses.asdict(of) for name, of in right.items()})
        (folder / _RIGHT).write_text(text, encoding="utf-8")

    folder = Store(_STORE).obtain(key_of(_sources_key(*_MODELS, *_CHECKS), *names), make).path
    found = json.loads((folder / _RIGHT).read_text(encoding="utf-8"))
    right = {
        name: Right([(key, value) for key, value in found[name]["answers"]], found[name]["seconds"]) for name in names
    }
    return (folder / _GIVEN).read_bytes(), right


@functools.cache
def _measured(file: str) -> tuple[tuple[str, ...], float]:
    """UnitTests of a file that are left out, and the CPU time of the others."""

    def make(folder: Path) -> None:
        def run(say: Say) -> None:
            limit(_MEASURED_S)
            measure(file, lambda name, seconds, passed: say([name, seconds, passed]))

        (folder / _TESTS).write_text(json.dumps(forked(run).said), encoding="utf-8")

    path = Store(_STORE).obtain(key_of(_sources_key(*_MODELS), "tests", (ROOT / file).read_bytes()), make).path / _TESTS
    said = json.loads(path.read_text(encoding="utf-8"))
    took = {name: seconds for name, seconds, passed in said if passed and 0 <= seconds <= MOST_S}
    return tuple(sorted({name for name, _, _ in said} - took.keys())), sum(took.values())


@functools.cache
def _tests(module: str) -> UnitTests:
    files = files_of(module)
    measured = [_measured(file) for file in files]
    left_out = tuple(name for names, _ in measured for name in names)
    return UnitTests(files, left_out, sum(seconds for _, seconds in measured))


def _found(mutant: tuple[str, str, int], given: bytes, ladder: dict[str, Right]) -> Found | None:
    module, path, number = mutant
    tree = mutated(Path(path).read_text(encoding="utf-8"), number).tree
    change = Change(module, path, compile(tree, path, "exec"))
    rungs = [
        Rung(name.partition(":")[2], right.seconds, functools.partial(answers_differ, name, given, right))
        for name, right in ladder.items()
    ]
    found = climb(change, rungs)
    if found is not None:
        return found
    tests = _tests(module)
    return climb(change, [Rung(TESTS, tests.seconds, functools.partial(run_tests, tests))])


def main(job: dict[str, Any]) -> None:
    """All mutants of a job."""
    os.chdir(ROOT)
    for name in _WARM:
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    given, ladder = _ladder(job["ladder"])
    with open(job["out"], "a", encoding="utf-8") as out:
        for mutant in job["mutants"]:
            found = _found(tuple(mutant), given, ladder)
            out.write(json.dumps(found and dataclasses.asdict(found)) + "\n")
            out.flush()


if __name__ == "__main__":
    main(json.load(sys.stdin))
