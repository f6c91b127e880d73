"""The simulate stage: the integer model, the functional simulator and the RTL on images, and whether they agree."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.compiler.batch import Item
from moesaic.compiler.memory import IDEAL, DdrTiming
from moesaic.flow.program import Program
from moesaic.flow.stages import Stages
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.numerics import IntArray
from moesaic.golden.saturation import Count, Saturation
from moesaic.golden.trace import Trace
from moesaic.hw.export import accelerator_verilog
from moesaic.sim.compare import Mismatch, compare
from moesaic.sim.ddr import memory_plusargs
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator
from moesaic.sim.waves import Window

__all__ = ["Difference", "Residuals", "TaskOutcome", "execute"]

OUTPUT = "output"  # the final residual, as it lies in DDR


@dataclass(frozen=True)
class Residuals:
    """What one model computed for all items of a program: residuals [items * tokens, dim] after the embedding and after
    each block, and output in DDR.

    `output` is None if the model has no DDR, or stopped with an error.
    """

    marks: list[IntArray]
    output: IntArray | None

    def of(self, item: int, items: int) -> "Residuals":
        """Of one of `items` items."""

        def mine(residual: IntArray) -> IntArray:
            tokens = len(residual) // items
            return residual[item * tokens : (item + 1) * tokens]

        return Residuals([mine(mark) for mark in self.marks], None if self.output is None else mine(self.output))


@dataclass(frozen=True)
class Difference:
    """Two models that do not agree.

    Parameters
    ----------
    models : str
        Such as "RTL, integer golden".
    mismatch : Mismatch
    item : Item or None
        Of which item; None if the program has one alone.
    """

    models: str
    mismatch: Mismatch
    item: Item | None = None

    @property
    def text(self) -> str:
        """In words, with the item."""
        return str(self.mismatch) if self.item is None else f"{self.item}: {self.mismatch}"


@dataclass(frozen=True)
class TaskOutcome:
    """Everything that was computed and measured by one program.

    Parameters
    ----------
    task : str
        Name of the program: its task, or `all`.
    items : tuple of Item
        What it computes.
    golden, functional : Residuals
    rtl : RtlResult or None
        None if the RTL was not simulated.
    experts : dict of block name to tuple of int
        Tokens in each expert's queue, from the functional simulator.
    counters : mapping
        Of the functional simulator.
    agreement : list of dict
        Integer against float, by block, of the task that is farthest; all None where they were not compared.
    differences : list of Difference
    saturation : mapping of tensor to Count
        Of the integer model.
    """

    task: str
    items: tuple[Item, ...]
    golden: Residuals
    functional: Residuals
    rtl: RtlResult | None
    experts: dict[str, tuple[int, ...]]
    counters: Mapping[str, int]
    agreement: list[dict[str, Any]]
    differences: list[Difference]
    saturation: Mapping[str, Count]

    @property
    def output(self) -> IntArray | None:
        """The final residual: the RTL's (None after an error), or the functional simulator's if there was no RTL."""
        return self.functional.output if self.rtl is None else self.rtl.output

    @property
    def outputs(self) -> list[tuple[Item, IntArray | None]]:
        """Of each item its part of the output."""
        whole, count = self.output, len(self.items)
        parts = [None] * count if whole is None else np.split(whole, count)
        return list(zip(self.items, parts, strict=True))


def differences(
    names: Sequence[str], models: Mapping[str, Residuals], steps: Sequence[float], items: Sequence[Item]
) -> list[Difference]:
    """Where each model differs from the first, item by item and tensor by tensor."""
    found: list[Difference] = []
    for number, item in enumerate(items):
        mine = {name: residuals.of(number, len(items)) for name, residuals in models.items()}
        found += _differences(names, mine, steps, item if len(items) > 1 else None)
    return found


def _differences(
    names: Sequence[str], models: Mapping[str, Residuals], steps: Sequence[float], item: Item | None
) -> list[Difference]:
    """Of one item.

    Parameters
    ----------
    names : sequence of str
        Of the marks.
    models : mapping of name to Residuals
        The first is the reference; its output is its last mark.
    steps : sequence of float
        Value of one unit of each mark.
    """
    (first, reference), *others = models.items()
    wanted = [*zip(names, reference.marks, steps, strict=True), (OUTPUT, reference.marks[-1], steps[-1])]
    found = []
    for name, residuals in others:
        got = [*residuals.marks, *([] if residuals.output is None else [residuals.output])]
        for position, (tensor, expected, step) in enumerate(wanted):
            if position >= len(got) or (tensor == OUTPUT and residuals.output is None):
                empty = np.zeros((0, expected.shape[1]), expected.dtype)
                mismatch = dataclasses.replace(
                    _certain(compare(tensor, empty, expected, step)), note="was not computed"
                )
                found.append(Difference(f"{name}, {first}", mismatch, item))
            elif (mismatch_or_none := compare(tensor, got[position], expected, step)) is not None:
                found.append(Difference(f"{name}, {first}", mismatch_or_none, item))
    return found


def _certain(mismatch: Mismatch | None) -> Mismatch:
    assert mismatch is not None
    return mismatch


def _golden(program: Program, images: IntArray, items: Sequence[Item]) -> tuple[Residuals, Mapping[str, Count]]:
    """Item by item."""
    saturation, config = Saturation(), program.request.accelerator
    model, found = IntM3ViT.of(program.qmodel, config), []
    for item in items:
        trace = Trace(only=("embed",))
        blocks = model.run(
            images[item.image], item.task, blocks=program.request.blocks, trace=trace, saturation=saturation
        )
        found.append([trace["embed"], *blocks])
    return Residuals([np.concatenate(marks) for marks in zip(*found, strict=True)], None), saturation.counts


def _agreement(program: Program, images: IntArray, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Integers against float over all images, of the task that is farthest."""
    request, network = program.request, program.compiled_from
    by_task = [
        agreement(network.model, IntM3ViT.of(program.qmodel, request.accelerator), images, task, blocks=request.blocks)
        for task in tasks
    ]
    return [
        {
            name: value if isinstance(value, str) or value is None else min(row[name] for row in rows)
            for name, value in rows[0].items()
        }
        for rows in zip(*by_task, strict=True)
    ]


def _not_compared(program: Program) -> list[dict[str, Any]]:
    """Rows of `agreement` that say nothing."""
    unknown = dict.fromkeys(("sqnr_db", "cosine", "routing_agreement"))
    return [
        {"name": entry["name"], "kind": entry["kind"], **unknown} for entry in program.image.manifest["tensors"][1:]
    ]


def _functional(
    program: Program, simulator: FunctionalSimulator, images: IntArray, task: str
) -> tuple[Residuals, dict[str, tuple[int, ...]], dict[str, int]]:
    run = simulator.run(task, images)
    entries = program.image.task(task)["marks"]
    experts: dict[str, tuple[int, ...]] = {}
    # The accelerator may have more queues than a mixture has experts.
    counts = {block.name: block.routed[1] for block in program.qmodel.blocks if block.routed is not None}
    for routing in run.routings:  # routers append, and the last one has them all
        block = next(entry["name"] for entry in entries if entry["instruction"] >= routing.instruction)
        experts[block] = routing.lengths[: counts[block]]
    marks = [simulator.tensor(run, position) for position in range(len(run.marks))]
    return Residuals(marks, program.image.unpack_result(run.result, task)), experts, run.counters


def _rtl(
    program: Program,
    images: IntArray,
    stages: Stages,
    work: Path,
    ddr: DdrTiming,
    cache: Path | None,
    *,
    saif: bool,
    waves: Window | None,
) -> list[RtlResult]:
    request = program.request
    simulator = RtlSimulator(
        request.accelerator,
        memory_bytes=len(program.image.memory),
        base=program.image.address,
        cache=cache,
        saif=saif,
        waves=waves,
    )
    with stages.stage("verilog", f"Verilog of {request.board}"):
        accelerator_verilog(request.accelerator, assertions=True, cache=cache)
    with stages.stage("build", "simulator (Verilator and C++; minutes the first time)"):
        simulator.build()
    total = len(request.runs) * (request.blocks + 1)
    with stages.stage("rtl", "RTL simulation"), stages.following(work / "marks.jsonl", total):
        return simulator.run(
            program.image,
            [RtlRun(batch.name, image=images) for batch in request.runs],
            work_dir=work,
            seed=request.seed + 1,
            plusargs=memory_plusargs(ddr, request.accelerator),
        )


def execute(
    program: Program,
    image: IntArray,
    stages: Stages,
    *,
    rtl: bool,
    work: Path,
    ddr: DdrTiming = IDEAL,
    cache: Path | None = None,
    quality: bool = True,
    saif: bool = False,
    waves: Window | None = None,
) -> list[TaskOutcome]:
    """Run all tasks of a program on images.

    Parameters
    ----------
    program : Program
    image : [3, height, width] uint8, or [images, 3, height, width]
        As many as the program takes.
    stages : Stages
    rtl : bool
        Simulate the RTL too.
    work : Path
        Folder for the simulation's files.
    ddr : DdrTiming
        Of the simulated memory.
    cache : Path or None
        Of builds.
    quality : bool
        Also compare integers with float.
    saif : bool
        Leave the RTL's switching activity in `work` (`sim.rtl.SAIF`); another build, and slower.
    waves : Window or None
        Leave these cycles of the first run in `work` (`sim.waves.WAVES`); the same.

    Raises
    ------
    ForeignWeights, ToolMissing, BuildFailed, SimulationFailed, ProgramError
    """
    request, qmodel = program.request, program.qmodel
    names = [entry["name"] for entry in program.image.manifest["tensors"]]
    steps = [qmodel.embed_step, *(block.residual_step for block in qmodel.blocks[: request.blocks])]
    if quality:
        with stages.stage("belonging", "quantised weights against the float ones"):
            _ = program.belonging  # golden model, program and RTL all come from the quantised network
    simulator = FunctionalSimulator(request.accelerator, seed=request.seed)
    simulator.load(program.image)
    outcomes, images = [], image if image.ndim == 4 else image[None]
    for batch in request.runs:
        title = ", ".join(batch.tasks)
        with stages.stage("golden", f"integer golden model, {title}"):
            golden, saturation = _golden(program, images, batch.items)
        with stages.stage("functional", f"functional simulation of the program, {title}"):
            functional, experts, counters = _functional(program, simulator, images, batch.name)
        rows = _not_compared(program)
        if quality and program.network is not None:
            with stages.stage("accuracy", f"integers against float, {title}"):
                rows = _agreement(program, images, batch.tasks)
        outcomes.append(
            TaskOutcome(batch.name, batch.items, golden, functional, None, experts, counters, rows, [], saturation)
        )
    results: Sequence[RtlResult | None] = (
        _rtl(program, images, stages, work, ddr, cache, saif=saif, waves=waves) if rtl else [None] * len(outcomes)
    )
    finished = []
    for outcome, result in zip(outcomes, results, strict=True):
        models = {"integer golden": outcome.golden, "functional simulator": outcome.functional}
        if result is not None:
            models["RTL"] = Residuals(result.marks, result.output)
        found = differences(names, models, steps, outcome.items)
        finished.append(dataclasses.replace(outcome, rtl=result, differences=found))
    return finished
