"""The main job as far as its outcome: input images, and what every model made of them for every task."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.boards.synthesis.mapping import find_yosys
from moesaic.compiler.memory import BOARD_MEMORY, DDR_LATENCY
from moesaic.energy.baselines import Baseline
from moesaic.errors import InputError
from moesaic.flow.conditions import Conditions, conditions_of
from moesaic.flow.execute import TaskOutcome, execute
from moesaic.flow.folder import check_space
from moesaic.flow.forecast import forecast
from moesaic.flow.program import Program
from moesaic.flow.request import Request
from moesaic.flow.resources import ReportedResources, report_resources
from moesaic.flow.stages import Stages
from moesaic.golden.image_io import ImageError, read_image, write_sample
from moesaic.golden.nodes import Image
from moesaic.golden.sample_images import are_scenes
from moesaic.golden.training.scenes import Scene, render
from moesaic.sim.rtl import SAIF
from moesaic.sim.rtl_run import CYCLE_NS
from moesaic.sim.saif import Totals, place_saif
from moesaic.sim.tools import find_compiler, find_verilator
from moesaic.sim.waves import WAVES, Window, check_headers, instruction_names, keep, token_names, write_views

__all__ = ["ACTIVITY", "Input", "Options", "Outcome", "check", "outcome_of", "read_input"]

_MIB = 1 << 20
_BUILD_SPACE = 256 * _MIB  # a simulator of the largest accelerator, while it is made
_MARGIN = 1.2  # a run may take longer than the model says
ACTIVITY = "activity.saif"  # as the build.tcl of a board's project looks for it


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run, beside what.

    Parameters
    ----------
    images : sequence of Path
        Inputs, as many as the request's batch; none renders sample scenes, from that of the request's seed on.
    resize : bool
        Scale an image of another size.
    out : Path
        Result folder.
    rtl : bool
        Simulate the RTL, not only the program.
    memory : str
        The memory that is simulated: `board` or `ideal` (`flow.conditions`).
    latency : int, cycles
        Of that memory.
    clock_mhz : float or None
        By which cycles become times and energies; None: what the pessimistic timing model supports.
    command : str
        For the report: what repeats this.
    resources : bool
        Let Yosys count what the accelerator takes, where that has not been done before.
    saif : bool
        Write the RTL's switching activity for Vivado, `ACTIVITY` in the result folder.
    waves : Window or None
        Cycles of the first program that are written as waves, with views of them, into the result folder.
    baselines : sequence of Baseline
        What was measured on machines of the user's, for the report.
    """

    images: Sequence[Path] = ()
    resize: bool = False
    out: Path
    rtl: bool = True
    memory: str = BOARD_MEMORY
    latency: int = DDR_LATENCY
    clock_mhz: float | None = None
    command: str = "moesaic run"
    resources: bool = False
    saif: bool = False
    waves: Window | None = None
    baselines: Sequence[Baseline] = ()


@dataclass(frozen=True)
class Input:
    """The images of a run.

    Parameters
    ----------
    pixels : [images, channels, height, width] uint8
    where : str
        Where they come from, for the report.
    scenes : sequence of Scene or None
        Of rendered ones: with classes and distances.
    """

    pixels: np.ndarray[Any, Any]
    where: str
    scenes: Sequence[Scene | None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that a report is made from.

    Parameters
    ----------
    program : Program
    options : Options
    given : Input
    tasks : sequence of TaskOutcome
        In the order in which they ran.
    resources : ReportedResources
    conditions : Conditions
        Memory and clock.
    saif : Totals or None
        What `ACTIVITY` in the result folder holds, if it was asked for.
    """

    program: Program
    options: Options
    given: Input
    tasks: Sequence[TaskOutcome]
    resources: ReportedResources
    conditions: Conditions
    saif: Totals | None


def conditions_under(request: Request, options: Options) -> Conditions:
    """Memory and clock that were asked for.

    Raises
    ------
    InputError
    """
    return conditions_of(
        request.accelerator,
        request.board_origin,
        memory=options.memory,
        clock_mhz=options.clock_mhz,
        latency=options.latency,
    )


def check(request: Request, options: Options) -> None:
    """What can be known to go wrong before any work.

    Raises
    ------
    InputError, ToolMissing, SynthesisMissing
    """
    conditions_under(request, options)
    check_space(options.out, 64 * _MIB + 4 * request.model.weight_bytes)
    if options.saif and not options.rtl:
        raise InputError("saif must come with --sim rtl: only the RTL has signals that switch")
    if options.waves is not None:
        _check_waves(request, options, options.waves)
    if options.resources:
        find_yosys()
    if options.rtl:
        find_compiler()
        find_verilator()
        check_space(Path(tempfile.gettempdir()), _BUILD_SPACE)


def _check_waves(request: Request, options: Options, window: Window) -> None:
    if not options.rtl:
        raise InputError("waves must come with --sim rtl: only the RTL has signals")
    if options.saif:
        raise InputError("waves must come without --saif: each is a simulator of its own")
    check_headers()
    room = window.bytes_of(request.accelerator)
    check_space(options.out, room)
    check_space(Path(tempfile.gettempdir()), room)


def _read(path: Path, image: Image, *, resize: bool) -> np.ndarray[Any, Any]:
    try:
        return read_image(path, *image.size_and_channels, resize=resize)
    except ImageError as error:
        raise InputError(str(error).replace("pass resize", "pass --resize")) from error
    except OSError as error:
        raise InputError(f"image must be a readable image file, not {str(path)!r} ({error.strerror})") from error


def read_input(request: Request, options: Options, sample: Path) -> Input:
    """The images that were asked for, or samples from the request's seed on; the first is left in the file `sample`.

    Raises
    ------
    InputError
        If one cannot be read, or they are not as many as the batch.
    """
    image = request.model.image
    if options.images:
        if len(options.images) != request.batch:
            raise InputError(
                f"image must be given {request.batch} times for a batch of {request.batch}, "
                f"not {len(options.images)} times"
            )
        pixels = [_read(path, image, resize=options.resize) for path in options.images]
        return Input(np.stack(pixels), ", ".join(path.name for path in options.images), [None] * len(pixels))
    pixels, seeds = [], range(request.seed, request.seed + request.batch)
    for seed in reversed(seeds):
        write_sample(sample, image.size, seed, image.channels)
        pixels.insert(0, _read(sample, image, resize=False))
    named = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    if not are_scenes(image.channels):
        return Input(np.stack(pixels), f"noise with natural spectra, {named}", [None] * len(pixels))
    what = "rendered street scene" if len(seeds) == 1 else "rendered street scenes"
    return Input(np.stack(pixels), f"{what}, {named}", [render(seed, image.size) for seed in seeds])


def outcome_of(program: Program, given: Input, options: Options, stages: Stages, folder: Path) -> Outcome:
    """Simulate and compare. The simulation's files stay in `simulation` in the folder."""
    accelerator, work = program.request.accelerator, folder / "simulation"
    conditions = conditions_under(program.request, options)
    if conditions.timing.warning:
        stages.warn(conditions.timing.warning)
    _check_end(program, options, conditions)
    tasks = execute(
        program,
        given.pixels,
        stages,
        rtl=options.rtl,
        work=work,
        ddr=conditions.ddr,
        saif=options.saif,
        waves=options.waves,
    )
    if options.waves is not None:
        _keep_waves(program, tasks[0], options.waves, stages, folder)
    activity = None
    if options.saif:
        with stages.stage("saif", f"switching activity, {ACTIVITY}"):
            activity = place_saif(work / SAIF, folder / ACTIVITY, stretch=1e3 / accelerator.clock_mhz / CYCLE_NS)
    resources = report_resources(accelerator, program.request.board_origin, stages, count=options.resources)
    _tidy(work)
    return Outcome(
        program=program,
        options=options,
        given=given,
        tasks=tasks,
        resources=resources,
        conditions=conditions,
        saif=activity,
    )


def _check_end(program: Program, options: Options, conditions: Conditions) -> None:
    """A window that cannot be reached is refused before the simulation."""
    if (window := options.waves) is None:
        return
    first = program.request.runs[0].name
    expected = forecast(program.graphs[first], program.request.accelerator, ddr=conditions.ddr).cycles
    if window.first > _MARGIN * expected:
        raise InputError(
            f"waves must begin before the run of {first} ends, at about cycle {expected:,.0f}, not at {window.first:,}"
        )


def _keep_waves(program: Program, task: TaskOutcome, window: Window, stages: Stages, folder: Path) -> None:
    with stages.stage("waves", f"waves of cycles {window.first:,} to {window.end:,}, {WAVES}"):
        found = keep(folder / "simulation" / WAVES, folder)
        if found:
            names = instruction_names(program.image, task.task), token_names(program.image)
            write_views(folder, program.request.accelerator, *names)
    cycles = 0 if task.rtl is None else task.rtl.counters.get("cycles", 0)
    if not found:
        stages.warn(f"waves were not written: the run ended at cycle {cycles:,}, before cycle {window.first:,}")
    elif cycles < window.end:
        stages.warn(f"waves end with the run, at cycle {cycles:,}, and not at {window.end:,}")


def _tidy(work: Path) -> None:
    """Only the log stays: what the dumps hold is in the outcome."""
    for path in sorted(work.glob("*")) if work.is_dir() else ():
        if path.is_file() and path.name != "simulation.log":
            path.unlink()
    for path in sorted((work / "program").glob("*")):
        path.unlink()
    if (work / "program").is_dir():
        (work / "program").rmdir()
