"""What each idea of the accelerator is worth: the same network with one of them taken away, on the RTL."""

from dataclasses import dataclass, replace
from typing import Annotated

from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pipeline import EVERYTHING, compile_all
from moesaic.errors import InputError
from moesaic.flow.energy import run_energy
from moesaic.flow.execute import execute
from moesaic.flow.layers import layer_works
from moesaic.flow.model_cycles import task_model
from moesaic.flow.program import Program
from moesaic.flow.resources import ReportedResources, report_resources
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Job, Runner
from moesaic.golden.numerics import IntArray
from moesaic.records import Count
from moesaic.schema import Name
from moesaic.scratch import scratch

__all__ = ["VARIANTS", "Ablation", "AblationRow", "Variant", "ablate"]


@dataclass(frozen=True)
class Variant:
    """A program with something taken away.

    Parameters
    ----------
    name, title : str
    options : CompileOptions
    speculate : int or None
        As in the request, if None.
    dense : bool
        All experts for all tokens.
    needs_experts : bool
        There is nothing to take away from a network without experts.
    """

    name: str
    title: str
    options: CompileOptions = EVERYTHING
    speculate: int | None = None
    dense: bool = False
    needs_experts: bool = False


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """What a variant took.

    Parameters
    ----------
    name, title : str
    bit_exact : bool
    cycles : int or None
        Measured; None without RTL.
    model_cycles : int
        By the analytic model.
    bytes_read : int
        Through the weight ports.
    array_busy : int or None, cycles
    chip_mj, ddr_mj, energy_error : float
        Estimated.
    """

    name: str
    title: str
    bit_exact: bool
    cycles: int | None
    model_cycles: int
    bytes_read: int
    array_busy: int | None
    chip_mj: float
    ddr_mj: float
    energy_error: float


@dataclass(frozen=True)
class Ablation:
    """The variants of one task; the first has nothing taken away."""

    task: Annotated[str, Name()]
    variants: Annotated[tuple[AblationRow, ...], Count(1, 64)]


VARIANTS = (
    Variant("all", "everything on"),
    Variant("no_speculation", "experts wait for the router", speculate=0, needs_experts=True),
    Variant("no_prefetch", "weights wait for the instruction before", CompileOptions(prefetch=False), speculate=0),
    Variant("norm_pass", "LayerNorm in a pass of its own", CompileOptions(normalise_on_read=False)),
    Variant("no_attention_reordering", "keys and values read again for every query", CompileOptions(query_group=1)),
    Variant(
        "no_token_reordering",
        "experts loaded as tokens come",
        CompileOptions(token_group=1),
        speculate=0,
        needs_experts=True,
    ),
    Variant("dense", "dense layers of all experts' parameters", dense=True, needs_experts=True),
)


def _program(program: Program, variant: Variant, task: str) -> Program:
    request = program.request
    speculate = request.speculate if variant.speculate is None else variant.speculate
    qmodel = program.qmodel.as_dense() if variant.dense else program.qmodel
    if not variant.options.normalise_on_read:
        qmodel = qmodel.reading_stored()
    compilation = compile_all(
        qmodel,
        request.accelerator,
        tasks=[task],
        blocks=request.blocks,
        speculate=speculate,
        seed=request.seed,
        options=variant.options,
    )
    return replace(
        program,
        request=request.replace(tasks=(task,), speculate=speculate),
        qmodel=qmodel,
        image=compilation.image,
        graphs=compilation.scheduled,
        options=variant.options,
    )


@dataclass(frozen=True)
class _Asked:
    """What is asked of every variant."""

    program: Program
    image: IntArray
    task: str
    resources: ReportedResources
    rtl: bool


def _measure(asked: _Asked, variant: Variant, stages: Stages) -> AblationRow:
    """One variant on the image."""
    with stages.stage(f"ablate_{variant.name}", variant.title):
        changed = _program(asked.program, variant, asked.task)
    with scratch() as work:
        outcome = execute(changed, asked.image, stages, rtl=asked.rtl, work=work, quality=False)[0]
    counters = {} if outcome.rtl is None else outcome.rtl.counters
    works = layer_works(task_model(changed, asked.task), outcome.experts)
    found = run_energy(
        works,
        asked.resources,
        changed.request.accelerator,
        changed.request.board_origin,
        instruction_bytes=counters.get("fetch_bytes", outcome.counters["FETCH_BYTES"]),
        measured=outcome.rtl is not None,
    )
    assert found.energy is not None
    return AblationRow(
        name=variant.name,
        title=variant.title,
        bit_exact=not outcome.differences,
        cycles=counters.get("cycles"),
        model_cycles=round(sum(work.cycles for work in works)),
        bytes_read=outcome.counters["WEIGHT_BYTES"],
        array_busy=counters.get("array_busy"),
        chip_mj=found.energy.chip_mj,
        ddr_mj=found.energy.ddr_mj,
        energy_error=found.energy_error,
    )


def ablate(
    program: Program, image: IntArray, task: str, stages: Stages, *, rtl: bool = True, runner: Runner | None = None
) -> Ablation:
    """Run every variant on one image.

    Parameters
    ----------
    program : Program
    image : [3, height, width] uint8
    task : str
    stages : Stages
    rtl : bool
        Simulate the RTL; without it cycles are the analytic model's alone.
    runner : Runner, optional
        Where variants are run; here, one after the other, if not given.

    Raises
    ------
    InputError
        If the program has no such task.
    """
    if task not in program.request.tasks:
        raise InputError(f"task must be one of {', '.join(program.request.tasks)}, not {task!r}")
    resources = report_resources(program.request.accelerator, program.request.board_origin, stages)
    variants = [v for v in VARIANTS if program.request.model.most_experts or not v.needs_experts]
    need = SimulatorNeed.of(program.image)
    job = Job(
        name="ablate",
        title=f"{len(variants)} variants",
        function=_measure,
        common=_Asked(replace(program, network=None), image, task, resources, rtl),
        items=variants,
        needs=lambda variant: need if rtl else None,
        aloud=True,
    )
    return Ablation(task, tuple((runner or InProcess()).run(job, stages)))
