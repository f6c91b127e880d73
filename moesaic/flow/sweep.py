"""Bandwidth of attention against the height of the array: one block of a network on RTL for each number of rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moesaic.errors import InputError
from moesaic.flow.execute import execute
from moesaic.flow.folder import check_space
from moesaic.flow.program import Program, make_program
from moesaic.flow.request import Request
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.tasks import InProcess, Job, Runner
from moesaic.golden.sample_images import sample_images
from moesaic.scratch import scratch
from moesaic.sim.tools import find_compiler, find_verilator

__all__ = ["Point", "sweep_rows"]


@dataclass(frozen=True)
class Point:
    """Counters of one array.

    Parameters
    ----------
    rows, lanes : int
    cycles : int
        Spent on scores and on probabilities times values.
    words : int
        Read from the activation memory meanwhile.
    stationary_words : int
        Read to fill stationary blocks with keys and values.
    bit_exact : bool
        Integer golden = functional simulator = RTL.
    """

    rows: int
    lanes: int
    cycles: int
    words: int
    stationary_words: int
    bit_exact: bool

    @property
    def words_per_cycle(self) -> float:
        """Activation words read per cycle of attention."""
        return self.words / self.cycles


def _requests(request: Request, rows: Sequence[int]) -> list[Request]:
    result = []
    for height in rows:
        try:
            accelerator = request.accelerator.replace(
                name=f"{request.accelerator.name}-{height}x{request.accelerator.lanes}", rows=height
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        result.append(request.replace(accelerator=accelerator, board=accelerator.name))
    return result


def _measure(common: None, program: Program, stages: Stages) -> Point:
    request = program.request
    image = sample_images([request.seed], *request.model.image.size_and_channels)[0]
    with scratch() as work:
        (outcome,) = execute(program, image, stages, rtl=True, work=work, quality=False)
    if outcome.rtl is None or not outcome.rtl.counters:
        raise InputError(f"run of {request.board} must end without error, not with {outcome.rtl and outcome.rtl.error}")
    counters = outcome.rtl.counters
    return Point(
        request.accelerator.rows,
        request.accelerator.lanes,
        counters["attention_cycles"],
        counters["attention_words_read"],
        counters["stationary_words_read"],
        not outcome.differences,
    )


def sweep_rows(
    request: Request, rows: Sequence[int], folder: Path, stages: Stages, *, runner: Runner | None = None
) -> list[Point]:
    """Build an array for each number of rows, and run a block on it.

    Parameters
    ----------
    request : Request
    rows : sequence of int
    folder : Path
        Where results will go: there must be room.
    stages : Stages
    runner : Runner, optional
        Where arrays are built and run; here, one after the other, if not given.

    Raises
    ------
    InputError, ToolMissing, CompileError, BuildFailed, SimulationFailed
    """
    if not rows or len(set(rows)) != len(rows):
        raise InputError(f"rows must be different numbers, not {list(rows)!r}")
    requests = _requests(request, sorted(rows))
    find_compiler()
    find_verilator()
    check_space(folder, 64 << 20)

    def compiled() -> Iterator[Program]:
        for variant in requests:
            stages.say(f"{variant.accelerator.rows} x {variant.accelerator.lanes}", style="bold")
            program, _ = make_program(variant, stages)
            yield replace(program, network=None)

    job = Job(
        name="sweep",
        title=f"RTL of {len(requests)} arrays",
        function=_measure,
        common=None,
        items=compiled(),
        needs=lambda program: SimulatorNeed.of(program.image),
        aloud=True,
    )
    return (runner or InProcess()).run(job, stages)
