"""The main job as far as its outcome: an input image, and what every model made of it for every task."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.boards.synthesis.mapping import find_yosys
from moesaic.compiler.cost import DDR_LATENCY
from moesaic.errors import InputError
from moesaic.flow.execute import TaskOutcome, execute
from moesaic.flow.folder import check_space
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

__all__ = ["ACTIVITY", "Input", "Options", "Outcome", "check", "outcome_of", "read_input"]

_MIB = 1 << 20
_BUILD_SPACE = 256 * _MIB  # a simulator of the largest accelerator, while it is made
ACTIVITY = "activity.saif"  # as the build.tcl of a board's project looks for it


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run, beside what.

    Parameters
    ----------
    image : Path or None
        Input; None renders the sample scene of the request's seed into a file.
    resize : bool
        Scale an image of another size.
    out : Path
        Result folder.
    rtl : bool
        Simulate the RTL, not only the program.
    latency : int, cycles
        Of the DDR model.
    command : str
        For the report: what repeats this.
    resources : bool
        Let Yosys count what the accelerator takes, where that has not been done before.
    saif : bool
        Write the RTL's switching activity for Vivado, `ACTIVITY` in the result folder.
    """

    image: Path | None = None
    resize: bool = False
    out: Path
    rtl: bool = True
    latency: int = DDR_LATENCY
    command: str = "moesaic run"
    resources: bool = False
    saif: bool = False


@dataclass(frozen=True)
class Input:
    """An image.

    Parameters
    ----------
    pixels : [channels, height, width] uint8
    where : str
        Where it comes from, for the report.
    scene : Scene or None
        Of a rendered one: with classes and distances.
    """

    pixels: np.ndarray[Any, Any]
    where: str
    scene: Scene | None


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
    saif : Totals or None
        What `ACTIVITY` in the result folder holds, if it was asked for.
    """

    program: Program
    options: Options
    given: Input
    tasks: Sequence[TaskOutcome]
    resources: ReportedResources
    saif: Totals | None


def check(request: Request, options: Options) -> None:
    """What can be known to go wrong before any work.

    Raises
    ------
    InputError, ToolMissing, SynthesisMissing
    """
    if options.latency < 2:
        raise InputError(f"latency must be at least 2 cycles, not {options.latency!r}")
    check_space(options.out, 64 * _MIB + 4 * request.model.weight_bytes)
    if options.saif and not options.rtl:
        raise InputError("saif must come with --sim rtl: only the RTL has signals that switch")
    if options.resources:
        find_yosys()
    if options.rtl:
        find_compiler()
        find_verilator()
        check_space(Path(tempfile.gettempdir()), _BUILD_SPACE)


def _read(path: Path, image: Image, *, resize: bool) -> np.ndarray[Any, Any]:
    try:
        return read_image(path, *image.size_and_channels, resize=resize)
    except ImageError as error:
        raise InputError(str(error).replace("pass resize", "pass --resize")) from error
    except OSError as error:
        raise InputError(f"image must be a readable image file, not {str(path)!r} ({error.strerror})") from error


def read_input(request: Request, options: Options, sample: Path) -> Input:
    """The image that was asked for, or the sample of the request's seed, which is left in the file `sample`."""
    image = request.model.image
    if options.image is not None:
        return Input(_read(options.image, image, resize=options.resize), options.image.name, None)
    write_sample(sample, image.size, request.seed, image.channels)
    pixels = _read(sample, image, resize=False)
    if not are_scenes(image.channels):
        return Input(pixels, f"noise with natural spectra, seed {request.seed}", None)
    return Input(pixels, f"rendered street scene, seed {request.seed}", render(request.seed, image.size))


def outcome_of(program: Program, given: Input, options: Options, stages: Stages, folder: Path) -> Outcome:
    """Simulate and compare. The simulation's files stay in `simulation` in the folder."""
    accelerator, work = program.request.accelerator, folder / "simulation"
    tasks = execute(
        program, given.pixels, stages, rtl=options.rtl, work=work, latency=options.latency, saif=options.saif
    )
    activity = None
    if options.saif:
        with stages.stage("saif", f"switching activity, {ACTIVITY}"):
            activity = place_saif(work / SAIF, folder / ACTIVITY, stretch=1e3 / accelerator.clock_mhz / CYCLE_NS)
    resources = report_resources(accelerator, program.request.board_origin, stages, count=options.resources)
    _tidy(work)
    return Outcome(program=program, options=options, given=given, tasks=tasks, resources=resources, saif=activity)


def _tidy(work: Path) -> None:
    """Only the log stays: what the dumps hold is in the outcome."""
    for path in sorted(work.glob("*")) if work.is_dir() else ():
        if path.is_file() and path.name != "simulation.log":
            path.unlink()
    for path in sorted((work / "program").glob("*")):
        path.unlink()
    if (work / "program").is_dir():
        (work / "program").rmdir()
