"""Mutants of compiler, functional simulator and integer model: noticed by the ladder or by unit tests, or left."""

import ast
import functools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moesaic.boards.hardware import meaning
from moesaic.children import Children
from moesaic.errors import FailedRun, InputError
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Campaign, Chunk, Failure
from moesaic.flow.verify.exclusions import exclusions, fits
from moesaic.flow.verify.python.climb import HANG
from moesaic.flow.verify.python.edits import edits, mutated
from moesaic.flow.verify.python.unit_tests import ROOT
from moesaic.scratch import scratch
from moesaic.store import key_of

__all__ = ["EQUIVALENT", "PYTHON_MUTATION", "UNNOTICED", "Place", "excused", "modules", "mutants", "try_mutants"]

CHUNK = 25
UNNOTICED = "not noticed"
NOTICED = "noticed: "
EQUIVALENT = "listed as equivalent"
WRONGLY = "noticed, and listed as equivalent"
_PRINTED = 1500  # characters of what a process that failed has printed
LADDER = (
    "moesaic.flow.verify.python.rungs:a network",
    "moesaic.flow.verify.python.rungs:networks",
    "moesaic.flow.verify.python.rungs:programs and estimates",
    "moesaic.flow.verify.python.rungs:refusals",
    "moesaic.flow.verify.python.pairs:random pairs",
)
# All of the compiler, the functional simulator, and of golden what the integer model imports.
_FILES = (
    "compiler/*.py",
    "compiler/layers/*.py",
    "sim/functional.py",
    "sim/machine.py",
    "sim/matmul.py",
    "sim/compare.py",
    *(
        f"golden/{name}.py"
        for name in (
            *("hollow", "m3vit_int", "network", "network_check", "nodes", "numerics", "ops_int", "patch_norm"),
            *("qmodel", "saturation", "trace"),
            *(
                f"layers/{name}"
                for name in (
                    *("attention", "embed_norm", "fixed_points", "layer", "linear", "mlp", "moe", "norm"),
                    *("size_problems", "sizes", "stored"),
                )
            ),
        )
    ),
)


@dataclass(frozen=True)
class Place:
    """A mutant.

    Parameters
    ----------
    file : str
        From the root of the repository.
    number : int
        Of the change in that file.
    """

    file: str
    number: int

    @property
    def module(self) -> str:
        """As it is imported."""
        return "moesaic." + self.file.removesuffix(".py").replace("/", ".")


@functools.cache
def modules() -> Mapping[str, str]:
    """Sources of the modules that have mutants, by file."""
    paths = [path for pattern in _FILES for path in sorted(ROOT.glob(pattern))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


@functools.cache
def mutants(seed: int) -> tuple[Place, ...]:
    """All that there are, so that the first ones, however many, are spread evenly over the modules."""
    ranked = []
    for file, source in modules().items():
        numbers = list(range(len(edits(ast.parse(source)))))
        random.Random(f"{seed} {file}").shuffle(numbers)
        ranked += [((rank + 0.5) / len(numbers), Place(file, number)) for rank, number in enumerate(numbers)]
    return tuple(place for _, place in sorted(ranked, key=lambda entry: (entry[0], entry[1].file)))


def _shown(place: Place) -> str:
    change = mutated(modules()[place.file], place.number)
    return f"{place.file}:{change.line}: {change.what}"


def _exclusions() -> tuple[tuple[str, str], ...]:
    return exclusions("moesaic.flow.verify.python", "exclusions.toml")


def _listed(shown: str) -> bool:
    file, _, change = shown.split(":", 2)
    return fits(f"{file}:{change}", _exclusions())


def excused(failure: Failure) -> str:
    """The ending of a survivor that is listed as equivalent; empty if it is not."""
    return EQUIVALENT if failure.found == UNNOTICED and _listed(failure.what) else ""


def try_mutants(places: list[Place]) -> list[dict[str, str] | None]:
    """What noticed each, and how; None if nothing did.

    Raises
    ------
    FailedRun
        If the modules without a change do not give the same twice, or the process ends.
    """
    with scratch() as work:
        out = work / "found.jsonl"
        listed = [(place.module, str(ROOT / place.file), place.number) for place in places]
        job = {"mutants": listed, "ladder": LADDER, "out": str(out)}
        ended = Children().run(
            [sys.executable, "-m", "moesaic.flow.verify.python.server"],
            feed=json.dumps(job),
            cwd=work,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        if ended.returncode:
            raise FailedRun(
                f"process of the mutants must end with 0, not {ended.returncode}: {ended.stdout[-_PRINTED:]}"
            )
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def _ending(place: Place, found: Mapping[str, str] | None) -> str:
    if found is None:
        return UNNOTICED
    if _listed(_shown(place)):
        return WRONGLY
    return NOTICED + (HANG if found["how"] == HANG else found["rung"])


def _chunk(shared: Mapping[str, Any], item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    places = list(mutants(seed)[number * CHUNK : (number + 1) * CHUNK])
    endings = [_ending(place, found) for place, found in zip(places, try_mutants(places), strict=True)]
    survivors = [
        Failure(number * CHUNK + position, _shown(place), ending)
        for position, (place, ending) in enumerate(zip(places, endings, strict=True))
        if ending in (UNNOTICED, WRONGLY)
    ]
    return Chunk(number, len(places), dict(sorted(Counter(endings).items())), tuple(survivors))


def _again(shared: Mapping[str, Any], item: tuple[int, tuple[int, ...]], stages: Stages) -> dict[int, str]:
    seed, cases = item
    places = [mutants(seed)[case] for case in cases]
    tried = zip(cases, places, try_mutants(places), strict=True)
    return {case: _ending(place, found) for case, place, found in tried}


def _digest() -> str:
    """Of the modules that have mutants."""
    return key_of(*(f"{file} {meaning(source)}" for file, source in modules().items()))[:32]


def _prepare() -> dict[str, Any]:
    """`InputError` where there are no tests."""
    if not (ROOT / "tests" / "conftest.py").is_file():
        raise InputError("mutants of the Python side need the repository with its tests, and not only the package")
    return {}


PYTHON_MUTATION = Campaign(
    name="python-mutation",
    title="mutants of compiler, simulator and integer model",
    chunk_cases=CHUNK,
    prepare=_prepare,
    function=_chunk,
    need=lambda _: None,
    tolerant=True,
    digest=_digest,
    excused=excused,
    again=_again,
)
