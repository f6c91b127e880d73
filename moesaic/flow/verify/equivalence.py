"""Which mutants are equivalent, by proof.

A mutant is equivalent if, from equal registers and memories and for all inputs, every output, every register's next
value and everything that a memory or multiplier takes is the same with it as without. By induction nothing ever
differs. Registers that are constant count as what they are, and those that nothing reads do not count; nor does what a
memory is given and does not write. Where a choice has an undefined side it is the other one: `case` statements in one
another are full of them, and nobody may rely on one. Checks are no part of the hardware.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from moesaic.flow.verify import cycles as cycles_source
from moesaic.flow.verify import graph, memory_writes
from moesaic.flow.verify.cycles import Cycles, alike
from moesaic.flow.verify.graph import Graph, Mutated
from moesaic.flow.verify.memory_writes import only_what_is_written
from moesaic.flow.verify.mutator import CONTROL
from moesaic.flow.verify.passes import run_passes
from moesaic.store import Store, key_of

__all__ = ["equivalent", "equivalent_over_cycles"]

_FLATTEN = (
    "delete */t:$print */t:$check",
    "flatten",
    "opt_expr -mux_undef",
    "opt_clean",
    "memory_collect",
    "opt_clean",
    "techmap t:* t:$mul %d",
    "simplemap",
    "dfflegalize -cell $_DFF_P_ 01 -mince 0 -minsrst 0",
    "techmap t:* t:$mul %d",
    "simplemap",
    "write_json flat.json",
)
PATTERNS = 8192  # at random, which show most differences
SECONDS = 10  # of the solver for a mutant
NODES = 20_000  # that a solver is asked about
DEPTH = 8  # cycles that are looked back


def _alike(found: Mapping[int, Sequence[tuple[int, int]]], ands: Graph) -> list[int]:
    """Mutants that no random pattern tells from the right hardware."""
    rng, full = random.Random(0), (1 << PATTERNS) - 1
    values: list[int] = []

    def value(literal: int) -> int:
        return values[literal >> 1] ^ (full if literal & 1 else 0)

    for node, (a, b) in enumerate(ands.ands):
        values.append((value(a) & value(b)) if a | b else rng.getrandbits(PATTERNS) if node else 0)
    return [mutant for mutant, pairs in found.items() if all(value(a) == value(b) for a, b in pairs)]


def _miter(name: str, pairs: Sequence[tuple[int, int]], ands: Graph) -> Iterator[str]:
    """RTLIL of a module whose output `differ` is 1 where a pair is not the same."""
    nodes = ands.cone([literal for pair in pairs for literal in pair])
    count = 0

    def cell(kind: str, **pins: str) -> Iterator[str]:
        nonlocal count
        count += 1
        yield f"  cell {kind} $c{count}"
        yield from (f"    connect \\{pin} {net}" for pin, net in pins.items())
        yield "  end"

    def net(literal: int) -> str:
        return f"1'{literal}" if literal < 2 else f"\\{'i' if literal & 1 else 'n'}{literal >> 1}"

    yield f"module \\{name}"
    for place, node in enumerate(nodes):
        free = ands.ands[node] == (0, 0)
        yield f"  wire {f'input {place + 2} ' if free else ''}\\n{node}"
        yield f"  wire \\i{node}"
    yield "  wire output 1 \\differ"
    for place in range(len(pairs)):
        yield f"  wire \\x{place}"
        yield f"  wire \\o{place}"
    for node in nodes:
        a, b = ands.ands[node]
        if a | b:
            yield from cell("$_AND_", A=net(a), B=net(b), Y=f"\\n{node}")
        yield from cell("$_NOT_", A=f"\\n{node}", Y=f"\\i{node}")
    before = "1'0"
    for place, (a, b) in enumerate(pairs):
        yield from cell("$_XOR_", A=net(a), B=net(b), Y=f"\\x{place}")
        yield from cell("$_OR_", A=before, B=f"\\x{place}", Y=f"\\o{place}")
        before = f"\\o{place}"
    yield f"  connect \\differ {before}"
    yield "end"


def _proved(found: Mapping[int, Sequence[tuple[int, int]]], ands: Graph, work: Path) -> list[int]:
    """Those that Yosys's solver proves the same."""
    text = "".join(f"{line}\n" for mutant, pairs in found.items() for line in _miter(f"m{mutant}", pairs, ands))
    (work / "miters.il").write_text(text, encoding="utf-8")
    asked = [f"tee -q -o m{m}.txt sat -timeout {SECONDS} -prove differ 0 m{m}" for m in found]
    run_passes(["read_rtlil miters.il", *asked], cwd=work, what="prove mutants equivalent")
    return [m for m in found if "no model found: SUCCESS" in (work / f"m{m}.txt").read_text(encoding="utf-8")]


def _flat(design: Path, *, top: str, count: int, work: Path) -> Mutated:
    passes = [f"read_rtlil {design}", f"hierarchy -top {top}", *_FLATTEN]
    run_passes(passes, cwd=work, what="flatten the accelerator with its mutants")
    module = only_what_is_written(json.loads((work / "flat.json").read_text(encoding="utf-8"))["modules"][top])
    constants = Mutated(module, control=CONTROL, count=count).constants()
    return Mutated(module, control=CONTROL, count=count, constants=constants)


def prove(design: Path, *, top: str, count: int, work: Path) -> list[int]:
    """Equivalent ones of a design with mutants 1 to `count`.

    Raises
    ------
    FailedRun
        If Yosys fails.
    """
    flat = _flat(design, top=top, count=count, work=work)
    found = {mutant: flat.differences(mutant) for mutant in range(1, count + 1)}
    alike = {mutant: found[mutant] for mutant in _alike(found, flat.graph) if _small(found[mutant], flat.graph)}
    return sorted([*(mutant for mutant, pairs in found.items() if not pairs), *_proved(alike, flat.graph, work)])


def _small(pairs: Sequence[tuple[int, int]], ands: Graph) -> bool:
    return 0 < len(pairs) and len(ands.cone([x for pair in pairs for x in pair])) <= NODES


def _over_cycles(cycles: Cycles, pairs: Sequence[tuple[int, int]], mutant: int, work: Path) -> bool:
    """Whether pairs are the same in all states that can be, as some cycles before them show."""
    rng = random.Random(mutant)
    for now, begun in cycles.past(pairs, DEPTH):
        asked = [*now, *begun]
        if not asked:
            return True
        if not _small(asked, cycles.graph):
            return False
        if alike(asked, cycles.graph, PATTERNS, rng) and _proved({mutant: asked}, cycles.graph, work):
            return True
    return False


def prove_over_cycles(design: Path, *, top: str, count: int, mutants: Sequence[int], work: Path) -> list[int]:
    """Those of some mutants that are equivalent by proofs over several cycles, which take longer. Errors as there."""
    cycles = Cycles(_flat(design, top=top, count=count, work=work))
    proved = []
    for mutant in mutants:
        later = cycles.later(mutant)
        for pairs in (cycles.flat.differences(mutant), later):
            if pairs is not None and (not pairs or _over_cycles(cycles, pairs, mutant, work)):
                proved.append(mutant)
                break
    return proved


def _stored(recipe: Sequence[str | bytes], prove_in: Callable[[Path], list[int]]) -> frozenset[int]:
    def make(folder: Path) -> None:
        proved = json.dumps(prove_in(folder))
        (folder / "equivalent.json").write_text(proved, encoding="utf-8")
        for path in folder.iterdir():
            if path.name != "equivalent.json":
                path.unlink()

    sources = (__file__, graph.__file__, memory_writes.__file__, cycles_source.__file__)
    key = key_of(*recipe, *(Path(str(module)).read_text(encoding="utf-8") for module in sources))
    path = Store("equivalent").obtain(key, make).path / "equivalent.json"
    return frozenset(json.loads(path.read_text(encoding="utf-8")))


def equivalent(design: Path, *, top: str, count: int) -> frozenset[int]:
    """As `prove`, proved once for a design and then found.

    Raises
    ------
    FailedRun
        If Yosys fails.
    """
    recipe = (design.read_bytes(), top, str(count))
    return _stored(recipe, lambda folder: prove(design, top=top, count=count, work=folder))


def equivalent_over_cycles(design: Path, *, top: str, count: int, mutants: Sequence[int]) -> frozenset[int]:
    """As `prove_over_cycles`, proved once and then found. Errors as there."""
    recipe = (design.read_bytes(), top, str(count), str(sorted(mutants)))
    return _stored(recipe, lambda folder: prove_over_cycles(design, top=top, count=count, mutants=mutants, work=folder))
