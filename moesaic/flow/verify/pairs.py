"""Random networks on random configurations: refused by name before any long work, or equal to the integer model."""

import math
import random
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moesaic.compiler.check import check
from moesaic.compiler.pipeline import Compilation, compile_all, compile_batch
from moesaic.errors import InputError
from moesaic.flow.model_cycles import TaskModel, stream_pieces
from moesaic.flow.stages import Stages
from moesaic.flow.verify.campaign import Campaign, Chunk, Failure
from moesaic.flow.verify.configurations import random_configuration
from moesaic.flow.verify.networks import Model, random_model
from moesaic.golden.hollow import check_finer, hollow_model
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.numerics import IntArray
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.compare import compare
from moesaic.sim.functional import FunctionalRun, FunctionalSimulator

__all__ = ["EQUAL", "PAIRS", "Made", "ends", "expected", "make", "try_pair"]

CHUNK = 20
LANES = (4, 8, 8, 16, 16, 32, 64)

EQUAL = "equal"
NO_NETWORK = "refused: no network"
NO_FIT = "refused: does not fit"
NO_RANGE = "refused: out of range in calibration"

_TRACEBACKS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    Warning,
)


class Refused(Exception):
    """A pair that must not be run, and where that was found."""


class Wrong(Exception):
    """A pair that does not end as it must."""


@dataclass(frozen=True)
class Made:
    """A pair that is to be run.

    Parameters
    ----------
    model : Model
    qmodel : QuantModel
    compilation : Compilation
    images : uint8 [images, channels, height, width]
        Calibration has not seen them.
    """

    model: Model
    qmodel: QuantModel
    compilation: Compilation
    images: IntArray


def _named(stage: str, error: InputError) -> Refused:
    """A refusal, if it is one that a user can read."""
    text = str(error)
    if not text or "\n" in text or "Error" in text or text.startswith("'"):
        raise Wrong(f"a refusal must be one line in words, not {text!r}") from error
    return Refused(stage)


def make(draw: Callable[[], Model], config: AcceleratorConfig) -> Made:
    """Draw, check, quantise, compile: a pair, or why not.

    Raises
    ------
    Refused
        With the ending as its text.
    Wrong
        If what fits as long as it is all zeros is refused later, or the message is none for a user.
    """
    try:
        model = draw()
        network = model.network
        hollow = hollow_model(network, model.expert_bits, model.finer)
        check_finer(network, model.finer)
    except InputError as error:
        raise _named(NO_NETWORK, error) from error
    stored = not model.options.normalise_on_read
    given: dict[str, Any] = {"blocks": model.blocks, "speculate": model.speculate, "options": model.options}
    try:
        tasks = model.batch.tasks
        check(hollow, config, tasks=tasks, blocks=model.blocks)
        compile_batch(
            hollow, config, model.batch, **given | {"options": replace(model.options, normalise_on_read=True)}
        )
    except InputError as error:
        raise _named(NO_FIT, error) from error
    rng = np.random.default_rng(model.seed)
    images = rng.integers(0, 256, (2 + model.batch.images, *network.image.shape), dtype=np.uint8)
    try:
        qmodel = quantize(
            model.floats(),
            images[:2],
            weights="seeded",
            compensate=False,
            acc_bits=config.acc_bits,
            expert_bits=model.expert_bits,
            finer=model.finer,
        )
    except InputError as error:
        raise _named(NO_RANGE, error) from error
    try:
        read = qmodel.reading_stored() if stored else qmodel
        compilation = compile_all(read, config, tasks=[model.batch], **given)
    except InputError as error:
        if stored:  # only for measurements, and asked for when the rest is known to fit
            raise _named(NO_FIT, error) from error
        raise Wrong(f"refused after calibration: {error}") from error
    return Made(model, read, compilation, images[2:])


def expected(made: Made, config: AcceleratorConfig) -> list[IntArray]:
    """Residuals [items * tokens, dim] after every block, by the integer golden model."""
    golden = IntM3ViT.of(made.qmodel, config)
    batch = made.model.batch
    items = [golden.run(made.images[item.image], item.task, blocks=made.model.blocks) for item in batch.items]
    return [np.concatenate(block) for block in zip(*items, strict=True)]


def differences(name: str, found: Iterator[IntArray], wanted: list[IntArray]) -> None:
    """`Wrong` naming the first value that differs."""
    for number, (got, block) in enumerate(zip(found, wanted, strict=True)):
        mismatch = compare(f"{name}, blocks.{number}", got, block)
        if mismatch is not None:
            raise Wrong(str(mismatch))


def _cost(made: Made, run: FunctionalRun) -> None:
    """The analytic model must have an opinion."""
    batch, image = made.model.batch, made.compilation.image
    graph = made.compilation.scheduled[batch.name]
    mixtures = [block for block in made.qmodel.network.mixtures if block < made.model.blocks]
    routings: dict[str, list[int]] = {}
    for block, found in zip(_blocks_of(made), run.routings, strict=True):
        lengths = routings.setdefault(f"blocks.{block}", [0] * len(found.lengths))
        routings[f"blocks.{block}"] = [max(a, b) for a, b in zip(lengths, found.lengths, strict=True)]
    if len(routings) != len(mixtures):
        raise Wrong(f"routers must be of blocks {mixtures}, not {sorted(routings)}")
    model = TaskModel(graph, stream_pieces(image, graph), image.config, made.model.options.prefetch)
    ends = [cost.end for cost in model.costs(routings)]
    if not ends or not all(math.isfinite(end) and end > 0 for end in ends):
        raise Wrong(f"estimated cycles must be positive and finite, not {ends[-1:]}")


def _blocks_of(made: Made) -> list[int]:
    """The block of each router, in the order of the program."""
    graph = made.compilation.scheduled[made.model.batch.name]
    return [op.block for op in graph.ops if op.fields.get("top_k")]


def _functional(made: Made, config: AcceleratorConfig) -> None:
    simulator = FunctionalSimulator(config, seed=made.model.seed)
    simulator.load(made.compilation.image)
    batch = made.model.batch
    run = simulator.run(batch.name, made.images if batch.images > 1 else made.images[0])
    wanted = expected(made, config)
    differences("simulator", (simulator.tensor(run, number + 1) for number in range(len(wanted))), wanted)
    output = made.compilation.image.unpack_result(run.result, batch.name)
    mismatch = compare("result", output, wanted[-1])
    if mismatch is not None:
        raise Wrong(str(mismatch))
    _cost(made, run)


def ends(attempt: Callable[[], None]) -> tuple[str, str]:
    """How a pair ends, and what is wrong with that; empty if nothing is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            attempt()
    except Refused as refusal:
        return str(refusal), ""
    except Wrong as problem:
        return "wrong", str(problem)
    except _TRACEBACKS as error:  # what a user would see
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rpartition('moesaic/')[2]}:{last.lineno}"
        return "traceback", f"{type(error).__name__} in {where}: {' '.join(str(error).split())[:500]}"
    return EQUAL, ""


def try_pair(seed: int, number: int) -> tuple[str, str, str]:
    """How the pair of that number ends, what is wrong with that, and what it is."""
    rng = random.Random(f"{seed} {number}")
    most = rng.choice((200, 800, 65537))  # small memories make short chunks
    config = random_configuration(rng, lanes=LANES, draws=rng.choice((1, 3, 3, 5)), most=most)
    drawn: list[Model] = []

    def draw() -> Model:
        drawn.append(random_model(rng, config))
        return drawn[-1]

    ending, problem = ends(lambda: _functional(make(draw, config), config))
    return ending, problem, f"{drawn[-1] if drawn else 'no network'} on {config}"


def _chunk(shared: Mapping[str, int], item: tuple[int, int], stages: Stages) -> Chunk:
    seed, number = item
    endings: Counter[str] = Counter()
    failures = []
    for case in range(number * CHUNK, (number + 1) * CHUNK):
        ending, problem, what = try_pair(seed, case)
        endings[ending] += 1
        if problem:
            failures.append(Failure(case, what, f"seed {seed}, case {case}: {problem}"))
    return Chunk(number, CHUNK, dict(sorted(endings.items())), tuple(failures))


PAIRS = Campaign(
    name="pairs",
    title="random networks on random configurations",
    chunk_cases=CHUNK,
    prepare=dict,
    function=_chunk,
    need=lambda _: None,
)
