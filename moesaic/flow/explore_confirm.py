"""The best configurations of an exploration on RTL: real weights, a whole image, and how far the estimate was off."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from moesaic.compiler.memory import DdrTiming
from moesaic.flow.execute import execute
from moesaic.flow.exploration import Confirmed, Exploration
from moesaic.flow.explore import Found, Point
from moesaic.flow.explore_work import Question
from moesaic.flow.model_cycles import task_model
from moesaic.flow.program import Program, make_program
from moesaic.flow.request import Request
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Job, Runner
from moesaic.golden.sample_images import sample_images
from moesaic.scratch import scratch
from moesaic.sim.verilated import SimulationFailed

__all__ = ["confirm_front"]


@dataclass(frozen=True)
class _Asked:
    """A configuration, compiled.

    Parameters
    ----------
    program : Program
    cycles : float
        As the exploration has them.
    ddr : DdrTiming
    """

    program: Program
    cycles: float
    ddr: DdrTiming


def _configured(request: Request, point: Point) -> Request:
    return request.replace(
        accelerator=point.choice.accelerator,
        board=point.choice.accelerator.name,
        configured=True,
        speculate=point.choice.speculate,
        widths=point.choice.widths,
        batch=point.choice.batch,
    )


def _confirm(common: None, asked: _Asked, stages: Stages) -> Confirmed:
    """Run sample scenes, as many as its program computes, on one configuration."""
    program, request = asked.program, asked.program.request
    seeds = range(request.seed, request.seed + request.batch)
    images = sample_images(seeds, *request.model.image.size_and_channels)
    with scratch() as work:
        (outcome,) = execute(program, images, stages, rtl=True, work=work, ddr=asked.ddr, quality=False)
    if outcome.rtl is None or not outcome.rtl.counters:
        raise SimulationFailed(
            f"run of {request.board} must end without error, not with {outcome.rtl and outcome.rtl.error}"
        )
    cycles = int(outcome.rtl.counters["cycles"])
    routed = round(max(cost.end for cost in task_model(program, outcome.task, ddr=asked.ddr).costs(outcome.experts)))
    return Confirmed(
        cycles=cycles,
        error=asked.cycles / cycles - 1,
        routed_cycles=routed,
        routed_error=routed / cycles - 1,
        bit_exact=not outcome.differences,
    )


def confirm_front(
    request: Request,
    found: Found,
    count: int,
    stages: Stages,
    keep: Callable[[Exploration], None],
    question: Question,
    *,
    runner: Runner | None = None,
) -> Exploration:
    """The fastest `count` configurations of the front on RTL: the exploration with what was found of them.

    Parameters
    ----------
    request : Request
    found : Found
    count : int
    stages : Stages
    keep : callable of Exploration
        Given it after each configuration, for the next takes minutes.
    question : Question
    runner : Runner, optional
        Where they are simulated; here, one after the other, if not given.

    Raises
    ------
    ToolMissing, CompileError, BuildFailed, SimulationFailed
    """
    exploration = found.exploration
    chosen = list(zip(exploration.front, found.best, strict=True))[:count]

    def compiled() -> Iterator[_Asked]:
        for kept, point in chosen:
            stages.say(f"{kept.number}: {kept.name}", style="bold")
            program, _ = make_program(_configured(request, point), stages)
            ddr = question.ddr(point.choice.accelerator.clock_mhz)
            yield _Asked(replace(program, network=None), point.forecast.cycles, ddr)

    def take(number: int, confirmed: Confirmed) -> None:
        nonlocal exploration
        exploration = exploration.with_confirmed(chosen[number][0].number, confirmed)
        keep(exploration)

    job = Job(
        name="confirm",
        title=f"RTL of {len(chosen)} configurations",
        function=_confirm,
        common=None,
        items=compiled(),
        needs=lambda asked: SimulatorNeed.of(asked.program.image),
        aloud=True,
    )
    if chosen:
        (runner or InProcess()).run(job, stages, done=take)
    return exploration
