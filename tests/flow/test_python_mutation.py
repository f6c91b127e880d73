"""Mutants of the Python side: how sources are changed, what forks notice, what is listed as equivalent."""

import ast
import functools
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from moesaic.compiler import layout
from moesaic.errors import InputError
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Failure
from moesaic.flow.verify.python import climb as climbing
from moesaic.flow.verify.python import mutation
from moesaic.flow.verify.python.climb import HANG, Change, Found, Right, Rung, answers_differ, climb, record
from moesaic.flow.verify.python.edits import edits, mutated
from moesaic.flow.verify.python.mutation import EQUIVALENT, PYTHON_MUTATION, Place, excused, modules, mutants
from moesaic.flow.verify.python.unit_tests import UnitTests, files_of, run_tests

SOURCE = '''"""Text."""
import os
__all__ = ["f"]
LIMIT: int = 3

@cached(1)
def f(a: int | None, b=2) -> int | str:
    """More text."""
    total = 0
    if a < b and not a:
        raise ValueError(f"no {a + 1}")
    for k in zip(a[1:b], b, strict=True):
        total += max(k, -a)
    while a:
        call(a, b)
        break
    return [x for x in a if x.good] if a == 1 else "b"
'''
CHANGES = """
4: `LIMIT: int = 3` → `LIMIT: int = 4`
4: `LIMIT: int = 3` → `LIMIT: int = 2`
7: `def f(a: int | None, b=2) -> int | str:` → `def f(a: int | None, b=3) -> int | str:`
7: `def f(a: int | None, b=2) -> int | str:` → `def f(a: int | None, b=1) -> int | str:`
9: `total = 0` → `nothing`
9: `total = 0` → `total = 1`
9: `total = 0` → `total = -1`
10: `if a < b and (not a):` → `if not (a < b and (not a)):`
10: `if a < b and (not a):` → `if a < b or not a:`
10: `if a < b and (not a):` → `if a <= b and (not a):`
10: `if a < b and (not a):` → `if a >= b and (not a):`
10: `if a < b and (not a):` → `if a < b and a:`
11: `raise ValueError(f'no {a + 1}')` → `nothing`
12: `for k in zip(a[1:b], b, strict=True):` → `for k in zip(b, a[1:b], strict=True):`
12: `for k in zip(a[1:b], b, strict=True):` → `for k in zip(a[:b], b, strict=True):`
12: `for k in zip(a[1:b], b, strict=True):` → `for k in zip(a[1:], b, strict=True):`
12: `for k in zip(a[1:b], b, strict=True):` → `for k in zip(a[2:b], b, strict=True):`
12: `for k in zip(a[1:b], b, strict=True):` → `for k in zip(a[0:b], b, strict=True):`
13: `total += max(k, -a)` → `nothing`
13: `total += max(k, -a)` → `total -= max(k, -a)`
13: `total += max(k, -a)` → `total += min(k, -a)`
13: `total += max(k, -a)` → `total += max(k, a)`
14: `while a:` → `while not a:`
15: `call(a, b)` → `nothing`
15: `call(a, b)` → `call(b, a)`
16: `break` → `nothing`
17: `return [x for x in a if x.good] if a == 1 else 'b'` → `return [x for x in a if not x.good] if a == 1 else 'b'`
17: `return [x for x in a if x.good] if a == 1 else 'b'` → `return [x for x in a if x.good] if a != 1 else 'b'`
17: `return [x for x in a if x.good] if a == 1 else 'b'` → `return [x for x in a if x.good] if a == 2 else 'b'`
17: `return [x for x in a if x.good] if a == 1 else 'b'` → `return [x for x in a if x.good] if a == 0 else 'b'`
"""


@functools.cache
def line_of(statement: ast.stmt) -> str:
    return " ".join(ast.unparse(statement).split())


def shown(source: str) -> list[str]:
    found = [mutated(source, number) for number in range(len(edits(ast.parse(source))))]
    for change in found:
        compile(change.tree, "source.py", "exec")
    return [f"{change.line}: {change.what}" for change in found]


def test_every_change_of_a_source() -> None:
    """Texts, types, decorators, messages and assertions stay as they are; so does what nobody asks for."""
    assert sorted(shown(SOURCE)) == sorted(CHANGES.strip().splitlines())
    assert len(set(shown(SOURCE))) == len(shown(SOURCE))


def test_a_long_line_is_shown_about_its_change() -> None:
    (first, *_) = shown(f"total = [{', '.join('name' for _ in range(60))}, a + b, {', '.join('x' * 60)}]\n")
    assert first.count("…") == 4 and "a + b" in first and "a - b" in first and len(first) < 300


def test_the_first_ones_are_spread_over_the_modules() -> None:
    everything = mutants(0)
    assert len(everything) == len(set(everything)) == sum(len(edits(ast.parse(s))) for s in modules().values())
    sizes, first = (Counter(place.file for place in part) for part in (everything, everything[:600]))
    assert all(abs(first[file] - sizes[file] * 600 / len(everything)) <= 1 for file in sizes)
    assert everything[:50] != mutants(1)[:50]
    assert {place.file.split("/")[0] for place in everything} == {"compiler", "sim", "golden"}


def change_of(old: str, new: str) -> Change:
    """The compiler's module of layouts, with other text."""
    path = Path(layout.__file__)
    source = path.read_text()
    assert source.count(old) == 1
    return Change("moesaic.compiler.layout", str(path), compile(source.replace(old, new), str(path), "exec"))


def answers(given: object) -> Iterator[tuple[str, str]]:
    from moesaic.compiler import builder, layout  # as they are in the fork

    yield "words", str(layout.words_for(17, 8))
    yield "imported words", str(builder.words_for(16, 8))


HERE = "planted"
ROUND_UP = "return -(-channels // lanes)"


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> Rung:
    """Asks how many words some channels take; short of time."""
    monkeypatch.setattr(climbing, "_rung", lambda name: answers)
    monkeypatch.setattr(climbing, "_SLACK_S", 0.5)
    right = record(b"N.", [HERE])[HERE]
    assert right.answers == [("words", "3"), ("imported words", "2")]
    return Rung(HERE, 0.0, functools.partial(answers_differ, HERE, b"N.", right))


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (ROUND_UP, None),
        ("return channels // lanes", "words"),
        ("return channels // lanes + 1", "imported words"),
        ("while True: pass", HANG),
        ("raise KeyError(channels)", "KeyError: 17"),
        ("import os; os._exit(0)", "end of the process with status 0"),
        ("import os; os._exit(3)", "end of the process with status 768"),
        ("return len(bytearray(5 << 30))", "MemoryError"),
    ],
)
def test_what_a_fork_notices(rung: Rung, new: str, found: str | None) -> None:
    """Where others have imported the function too; and nothing of it is left behind."""
    noticed = climb(change_of(ROUND_UP, new), [rung])
    assert noticed is None if found is None else noticed is not None and noticed.how.startswith(found)
    assert layout.words_for(17, 8) == 3


def test_answers_that_are_not_the_same_twice(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    def restless(given: object) -> Iterator[tuple[str, str]]:
        yield "time", str(climbing.time.monotonic_ns())

    monkeypatch.setattr(climbing, "_rung", lambda name: restless)
    with pytest.raises(RuntimeError, match="must give the same twice"):
        record(b"N.", [HERE])


@pytest.mark.parametrize("extra", [-1, 1])
def test_as_many_answers(rung: Rung, extra: int) -> None:
    right = Right([("words", "3"), ("imported words", "2"), ("more", "1")][: 2 + extra], 0.0)
    assert answers_differ(HERE, b"N.", right) == ("more" if extra > 0 else "one more answer")


@pytest.mark.parametrize(("new", "failed"), [(ROUND_UP, ""), ("return channels // lanes", "::test_")])
def test_unit_tests(monkeypatch: pytest.MonkeyPatch, new: str, failed: str) -> None:
    """In a fork, of the changed module; a test that is left out notices nothing."""
    monkeypatch.chdir(mutation.ROOT)

    def found(tests: UnitTests) -> Found | None:
        return climb(change_of(ROUND_UP, new), [Rung("unit tests", 10.0, functools.partial(run_tests, tests))])

    file = "tests/compiler/test_pack.py"
    noticed = found(UnitTests((file,), (), 10.0))
    assert noticed is None if not failed else noticed is not None and failed in noticed.how
    if noticed is not None:
        assert found(UnitTests((noticed.how,), (noticed.how,), 10.0)) == Found("unit tests", "status 5 of pytest")


def test_files_of_a_module() -> None:
    """Those that import it first, then those of its layer."""
    assert files_of("moesaic.compiler.pack")[0] == "tests/compiler/test_pack.py"
    *importing, check, image = files_of("moesaic.compiler.tile")
    assert "tests/compiler/test_passes.py" in importing
    assert all("moesaic.compiler.tile import" in (mutation.ROOT / file).read_text() for file in importing)
    assert (check, image) == ("tests/compiler/test_check.py", "tests/compiler/test_image.py")
    assert all((mutation.ROOT / file).is_file() for file in modules() for file in files_of(Place(file, 0).module))


def test_a_mutant_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, on the lowest rung."""
    monkeypatch.setattr(mutation, "LADDER", mutation.LADDER[:1])
    file = "golden/ops_int.py"
    (found,) = mutation.try_mutants([Place(file, 0)])
    assert found is not None and found["rung"] == "a network"


def test_survivors_that_are_listed_as_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    survivor = Failure(3, "compiler/a.py:17: `x[0] < 1` → `x[0] <= 1`", "not noticed")
    monkeypatch.setattr(mutation, "_exclusions", lambda: (("compiler/a.py: `*x[[]0] < 1` → *", "so"),))
    assert excused(survivor) == EQUIVALENT
    assert excused(Failure(3, survivor.what.replace("a.py", "b.py"), "not noticed")) == ""
    assert excused(Failure(3, survivor.what, mutation.WRONGLY)) == ""


def test_what_is_listed_and_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts as a survivor, and is shown as what it is."""
    first, second, third = mutants(0)[:3]
    shown = mutation._shown(second)
    file, _, change = shown.split(":", 2)
    pattern = f"{file}:{change}".replace("[", "[[]")
    monkeypatch.setattr(mutation, "_exclusions", lambda: ((pattern, "so"),))
    found = dict(
        zip((first, second, third), ({"rung": "r", "how": HANG}, {"rung": "r", "how": "x"}, None), strict=True)
    )
    monkeypatch.setattr(mutation, "CHUNK", 3)
    monkeypatch.setattr(mutation, "try_mutants", lambda places: [found[place] for place in places])
    chunk = PYTHON_MUTATION.function({}, (0, 0), Stages(quiet=True))
    assert chunk.endings == {"noticed: no end": 1, "not noticed": 1, mutation.WRONGLY: 1}
    assert [(f.case, f.found) for f in chunk.failures] == [(1, mutation.WRONGLY), (2, "not noticed")]
    assert chunk.failures[0].what == shown


def test_what_is_listed_is_there() -> None:
    """Each pattern is a mutant of the sources as they are, and has a reason."""
    for pattern, reason in mutation._exclusions():
        file, _, change = pattern.partition(": ")
        literal = max(change.partition(" → ")[0].strip("`").replace("[[]", "[").split("*"), key=len)
        source = modules()[file]
        near = (n for n, edit in enumerate(edits(ast.parse(source))) if literal in line_of(edit.statement))
        assert any(fnmatchcase(f"{file}: {mutated(source, n).what}", pattern) for n in near), pattern
        assert reason.endswith(".")


def test_only_where_there_are_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    with pytest.raises(InputError, match="need the repository with its tests"):
        PYTHON_MUTATION.prepare()
