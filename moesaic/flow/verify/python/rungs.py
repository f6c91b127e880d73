"""Rungs of the ladder for mutants of the Python side: what must be as it is without the mutant, the cheapest first.

A rung is a function of what is given. It yields answers, each with a name; those of the unchanged modules are the right
ones. A mutant's process imports this module anew, so it imports little.
"""

import dataclasses
import functools
import hashlib
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from moesaic.compiler.batch import Batch
from moesaic.compiler.cost import estimate, part_cycles
from moesaic.compiler.dump import dump
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.manifest import check_manifest
from moesaic.compiler.memory import DdrTiming, DramTiming
from moesaic.compiler.pipeline import Compilation, compile_all
from moesaic.compiler.program_file import to_binary
from moesaic.compiler.verify import verify
from moesaic.flow.verify.python.given import Case, Given
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.saturation import Saturation
from moesaic.golden.trace import Trace
from moesaic.sim.functional import FunctionalRun, FunctionalSimulator, ProgramError

__all__ = ["GOLDEN", "RUNGS", "SIMULATOR", "Answer"]

Answer = tuple[str, str]
SIMULATOR, GOLDEN = "simulator", "golden model"  # the residuals by these two must be the same
DAMAGES = 100  # of a manifest, and of a graph
MEMORY = DdrTiming(
    120,
    DramTiming(
        rate=11.5,
        refresh=2340.0,
        recovery=105.0,
        row=9.0,
        row_bytes=1024,
        banks=8,
        to_write=4.0,
        to_read=9.0,
        posted=256,
    ),
)


def _digest(*parts: Any) -> str:
    total = hashlib.sha256()
    for part in parts:
        array = part if isinstance(part, np.ndarray) else None
        total.update(repr(part).encode() if array is None else f"{array.dtype} {array.shape}".encode())
        total.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def _compile(case: Case) -> Compilation:
    return compile_all(case.qmodel, case.config, tasks=case.batches, **case.compiled)


def _memory(case: Case) -> str:
    return _digest(_compile(case).image.memory)


def _blocks(case: Case) -> int:
    return int(case.compiled.get("blocks") or len(case.qmodel.blocks))


def _simulated(case: Case, image: ProgramImage, batch: Batch) -> tuple[FunctionalRun, list[np.ndarray]]:
    assert case.images is not None
    simulator = FunctionalSimulator(case.config, seed=3)
    simulator.load(image)
    run = simulator.run(batch.name, case.images if batch.images > 1 else case.images[0])
    residuals = [simulator.tensor(run, number + 1) for number in range(_blocks(case))]
    return run, [*residuals, image.unpack_result(run.result, batch.name)]


def _golden(case: Case, batch: Batch, golden: IntM3ViT, **how: Any) -> list[np.ndarray]:
    assert case.images is not None
    items = [golden.run(case.images[i.image], i.task, blocks=_blocks(case), **how) for i in batch.items]
    blocks = [np.concatenate(block) for block in zip(*items, strict=True)]
    return [*blocks, blocks[-1]]


def _runs(case: Case) -> Iterator[Answer]:
    """The integer model, the compiled program on the simulator."""
    golden = IntM3ViT.of(case.qmodel, case.config)
    image = None
    for batch in case.batches:
        yield f"{GOLDEN}, {case.name}, {batch.name}", _digest(*_golden(case, batch, golden))
        image = _compile(case).image if image is None else image
        run, residuals = _simulated(case, image, batch)
        yield f"{SIMULATOR}, {case.name}, {batch.name}", _digest(*residuals)
        lengths = [(routing.instruction, routing.lengths) for routing in run.routings]
        yield f"counters, {case.name}", _digest(sorted(run.counters.items()), lengths)


def network(given: Given) -> Iterator[Answer]:
    """The smallest one."""
    yield from _runs(given.cases[0])


def networks(given: Given) -> Iterator[Answer]:
    """All the others that are run, and what the integer model says on the way."""
    for case in given.cases[1:]:
        if case.images is not None:
            yield from _runs(case)
    for case in given.cases:
        if case.images is None:
            continue
        golden, trace, saturation = IntM3ViT.of(case.qmodel, case.config), Trace(), Saturation()
        task = case.batches[0].tasks[0]
        golden.run(case.images[0], task, trace=trace, saturation=saturation)
        yield f"tensors, {case.name}", _digest(*(part for name in trace for part in (name, trace[name])))
        yield f"saturation, {case.name}", _digest(vars(saturation))
        yield f"unbounded, {case.name}", _digest(*golden.run(case.images[0], task, unbounded=True))


def _said(attempt: Callable[[], Any]) -> str:
    """What an attempt gives, or the one line of why not."""
    try:
        return str(attempt())
    except (ValueError, LookupError, ProgramError) as error:  # as refusals are
        return f"{type(error).__name__}: {error}"


def _sampled(items: list[Any], seed: int) -> list[Any]:
    return random.Random(seed).sample(items, min(DAMAGES, len(items)))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value has parts, itself included."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from _leaves(part, (*path, key))


def _damaged(manifest: Any, path: tuple[Any, ...], kind: int) -> Any:
    copy = json.loads(json.dumps(manifest))
    place = copy
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    number = isinstance(old, int) and not isinstance(old, bool)
    place[path[-1]] = (old + 1, old - 1, -1, 1 << 40)[kind] if number else (None, "", [], {})[kind]
    return copy


def _manifests(image: ProgramImage) -> Iterator[Answer]:
    manifest = json.loads(json.dumps(image.manifest))
    paths = [(path, kind) for path in _leaves(manifest) for kind in range(4)]
    for path, kind in _sampled(paths, 1):
        damaged = _damaged(manifest, path, kind)
        yield f"manifest, {'.'.join(map(str, path))}", _said(functools.partial(check_manifest, damaged))


def _numbers(part: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(part) if type(getattr(part, f.name)) is int and f.init]


def _graphs(graph: Graph) -> Iterator[Answer]:
    """Graphs with a wrong number in an operation or in a tensor."""
    ops = list(graph.ops)
    places = [(index, name, step) for index, op in enumerate(ops) for name in _numbers(op) for step in (1, -1, 100)]
    for index, name, step in _sampled(places, 2):

        def attempt(index: int = index, name: str = name, step: int = step) -> str:
            number: dict[str, Any] = {name: getattr(ops[index], name) + step}
            op = dataclasses.replace(ops[index], **number)
            return f"{len(verify(graph.with_ops([*ops[:index], op, *ops[index + 1 :]])).ops)} operations"

        yield f"graph, {index}, {name} {step:+}", _said(attempt)


def _small(case: Case, divisors: tuple[int, ...]) -> Iterator[Answer]:
    """Configurations that are too small, and some that are large enough."""
    for name, value in case.config.to_dict().items():
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        for size in (value // divisor for divisor in divisors):

            def attempt(name: str = name, size: int = size) -> str:
                smaller = dataclasses.replace(case, config=case.config.replace(**{name: size}))
                return _memory(smaller)

            yield f"{case.name}, {name} {size}", _said(attempt)
    for compiled in ({"speculate": -1}, {"window_address": 1 << 40}, {"window_address": 17}, {"blocks": 0}):
        other = dataclasses.replace(case, compiled=compiled)
        yield f"{case.name}, {compiled}", _said(functools.partial(_memory, other))
    for images in (3, 7, 8):
        other = dataclasses.replace(case, batches=tuple(Batch(batch.tasks, images) for batch in case.batches))
        yield f"{case.name}, {images} images", _said(functools.partial(_memory, other))


def refusals(given: Given) -> Iterator[Answer]:
    """What must be refused, and in which words; what comes of changed programs and of legal ones."""
    simulator = FunctionalSimulator(given.program.config, seed=2)
    nano = given.cases[0]
    assert nano.images is not None
    for number, change in enumerate(given.changed):
        simulator.load(given.program)
        for address, data in (*given.program.image_parts(nano.images[0]), *change.patches):
            simulator.write(address, data)
        registers = {**given.program.registers(nano.batches[0].name), **change.overrides}

        def attempt(registers: Mapping[str, int] = registers) -> str:
            run = simulator.execute(registers)
            return _digest(simulator.memory, sorted(run.counters.items()), *(m.residual for m in run.marks))

        yield f"changed program {number}", _said(attempt)
    for task in given.tasks:
        simulator = FunctionalSimulator(given.legal.config, seed=1)
        simulator.load(given.legal)
        run = simulator.run(task)
        residuals = [mark.residual for mark in run.marks]
        yield f"legal program {task}", _digest(run.result, sorted(run.counters.items()), *residuals)
    yield from _small(nano, (2, 4, 16, 1 << 20))
    yield from _manifests(_compile(given.cases[3]).image)
    yield from _graphs(_compile(nano).scheduled[nano.batches[0].name])


def programs(given: Given) -> Iterator[Answer]:
    """The bytes of every program, the files, the texts of `compile --dump`, the cost model's estimates."""
    for case in given.cases:
        compilation = _compile(case)
        image = compilation.image
        yield f"memory, {case.name}", _digest(image.memory)
        yield f"manifest, {case.name}", _digest(json.dumps(image.manifest))
        for batch in case.batches:
            graph = compilation.scheduled[batch.name]
            for ddr in (DdrTiming(), MEMORY):
                for halved in (0, 1):

                    def tokens(op: Op, halved: int = halved) -> int:
                        return op.tokens if op.expert is None else op.tokens >> halved >> op.expert % 3

                    costs = estimate(graph, compilation.pieces, case.config, tokens, timing=case.timing, ddr=ddr)
                    yield f"estimate, {case.name}", _digest([vars(cost) for cost in costs], part_cycles(costs))
            late = estimate(
                graph, compilation.pieces, case.config, lambda op: op.tokens, timing=case.timing, prefetch=False
            )
            yield f"estimate without prefetch, {case.name}", _digest([vars(cost) for cost in late])
            texts = dump(compilation, batch.name, case.timing)
            yield f"texts, {case.name}", _digest(sorted(texts.items()))
        yield f"program.bin, {case.name}", _digest(to_binary(image))
    with tempfile.TemporaryDirectory() as folder:
        image = _compile(given.cases[0]).image
        image.save(folder)
        loaded = ProgramImage.load(folder)
        yield "program folder", _digest(loaded.memory, json.dumps(loaded.manifest))


RUNGS: Mapping[str, Callable[[Given], Iterator[Answer]]] = {
    "a network": network,
    "networks": networks,
    "programs and estimates": programs,
    "refusals": refusals,
}
