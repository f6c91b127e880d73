"""The best configurations of an exploration on RTL: real weights, a whole image, and how far the estimate was off."""

from collections.abc import Callable
from pathlib import Path

from moesaic.compiler.memory import DdrTiming
from moesaic.flow.execute import execute
from moesaic.flow.exploration import Confirmed, Exploration
from moesaic.flow.explore import Found, Point
from moesaic.flow.explore_work import Question
from moesaic.flow.model_cycles import task_model
from moesaic.flow.program import make_program
from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.golden.sample_images import sample_images
from moesaic.scratch import scratch
from moesaic.sim.verilated import SimulationFailed

__all__ = ["confirm", "confirm_front"]


def confirm(request: Request, point: Point, stages: Stages, work: Path, *, ddr: DdrTiming) -> Confirmed:
    """Run sample scenes, as many as its programs compute, on one configuration.

    Raises
    ------
    ToolMissing, CompileError, BuildFailed, SimulationFailed
    """
    request = request.replace(
        accelerator=point.choice.accelerator,
        board=point.choice.accelerator.name,
        configured=True,
        speculate=point.choice.speculate,
        widths=point.choice.widths,
        batch=point.choice.batch,
    )
    program, _ = make_program(request, stages)
    seeds = range(request.seed, request.seed + request.batch)
    images = sample_images(seeds, *request.model.image.size_and_channels)
    (outcome,) = execute(program, images, stages, rtl=True, work=work, ddr=ddr)
    if outcome.rtl is None or not outcome.rtl.counters:
        raise SimulationFailed(
            f"run of {request.board} must end without error, not with {outcome.rtl and outcome.rtl.error}"
        )
    cycles = int(outcome.rtl.counters["cycles"])
    routed = round(max(cost.end for cost in task_model(program, outcome.task, ddr=ddr).costs(outcome.experts)))
    return Confirmed(
        cycles=cycles,
        error=point.forecast.cycles / cycles - 1,
        routed_cycles=routed,
        routed_error=routed / cycles - 1,
        bit_exact=not outcome.differences,
    )


def confirm_front(
    request: Request, found: Found, count: int, stages: Stages, keep: Callable[[Exploration], None], question: Question
) -> Exploration:
    """The fastest `count` configurations of the front, one after the other: the exploration with what `confirm` found
    of them. `keep` is given it after each, for the next takes minutes.
    """
    exploration = found.exploration
    for kept, point in list(zip(exploration.front, found.best, strict=True))[:count]:
        stages.say(f"{kept.number}: {kept.name}", style="bold")
        with scratch() as work:
            confirmed = confirm(request, point, stages, work, ddr=question.ddr(point.choice.accelerator.clock_mhz))
        exploration = exploration.with_confirmed(kept.number, confirmed)
        keep(exploration)
    return exploration
