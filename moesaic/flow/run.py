"""The main job: from a request and an image file to a result folder."""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.boards.synthesis.mapping import find_yosys
from moesaic.errors import InputError
from moesaic.flow.appraise import appraise
from moesaic.flow.execute import execute
from moesaic.flow.folder import check_replaceable, check_space, new_folder
from moesaic.flow.program import Program, make_program, save_program
from moesaic.flow.request import Request
from moesaic.flow.resources import report_resources
from moesaic.flow.stages import Stages
from moesaic.golden.image_io import ImageError, read_image, write_image, write_sample
from moesaic.golden.training.scenes import Scene, render
from moesaic.report.data import save_data
from moesaic.report.html import PAGE, render_html
from moesaic.report.maps import write_maps
from moesaic.report.numbers import report
from moesaic.report.outputs import module_outputs
from moesaic.report.stored import DATA, INPUT, MARKER, read_report, write_report
from moesaic.sim.rtl import SAIF
from moesaic.sim.rtl_run import CYCLE_NS
from moesaic.sim.saif import place_saif
from moesaic.sim.tools import find_compiler, find_verilator

__all__ = ["ACTIVITY", "DDR_LATENCY", "Options", "results_folder", "run", "simulate"]

DDR_LATENCY = 100  # cycles, of the DDR model if nothing else is asked for
_MIB = 1 << 20
_BUILD_SPACE = 256 * _MIB  # a simulator of the largest accelerator, while it is made
_PROGRAM = "program"
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
class _Input:
    pixels: np.ndarray[Any, Any]
    where: str
    scene: Scene | None


def results_folder(request: Request, *, rtl: bool) -> Path:
    """Where results go if nothing else is asked for; those without the RTL have a folder of their own."""
    return Path("out") / (request.name if rtl else f"{request.name}-functional")


def _has_cycles(folder: Path) -> bool:
    """Whether an earlier result was measured on the RTL."""
    try:
        return read_report(folder).get("cycles") is not None
    except InputError:  # no result, or a damaged one
        return False


def _check(request: Request, options: Options) -> None:
    """What can be known to go wrong before any work."""
    if options.latency < 2:
        raise InputError(f"latency must be at least 2 cycles, not {options.latency!r}")
    check_replaceable(options.out, marker=MARKER)
    if not options.rtl and _has_cycles(options.out):
        raise InputError(
            f"out must be another folder than {str(options.out)!r}, which holds cycles of the RTL: a functional run "
            "has none to put in their place; remove that folder, or name another with --out"
        )
    check_space(options.out, 64 * _MIB + 4 * request.model.weight_bytes)
    if options.saif and not options.rtl:
        raise InputError("saif must come with --sim rtl: only the RTL has signals that switch")
    if options.resources:
        find_yosys()
    if options.rtl:
        find_compiler()
        find_verilator()
        check_space(Path(tempfile.gettempdir()), _BUILD_SPACE)


def _read(path: Path, size: tuple[int, int], *, resize: bool) -> np.ndarray[Any, Any]:
    try:
        return read_image(path, size, resize=resize)
    except ImageError as error:
        raise InputError(str(error).replace("pass resize", "pass --resize")) from error
    except OSError as error:
        raise InputError(f"image must be a readable image file, not {str(path)!r} ({error.strerror})") from error


def _input(request: Request, options: Options, folder: Path) -> _Input:
    size = request.model.image_size
    if options.image is not None:
        return _Input(_read(options.image, size, resize=options.resize), options.image.name, None)
    write_sample(folder / INPUT, size, request.seed)
    pixels = _read(folder / INPUT, size, resize=False)
    return _Input(pixels, f"rendered street scene, seed {request.seed}", render(request.seed, size))


def _finish(program: Program, options: Options, stages: Stages, given: _Input, folder: Path) -> dict[str, Any]:
    """Simulate, compare, and fill the result folder."""
    work = folder / "simulation"
    outcomes = execute(
        program, given.pixels, stages, rtl=options.rtl, work=work, latency=options.latency, saif=options.saif
    )
    activity = None
    if options.saif:
        with stages.stage("saif", f"switching activity, {ACTIVITY}"):
            board_ns = 1e3 / program.request.config.clock_mhz
            activity = place_saif(work / SAIF, folder / ACTIVITY, stretch=board_ns / CYCLE_NS)
    resources = report_resources(program.request.config, program.request.board_origin, stages, count=options.resources)
    with stages.stage("report", "report"):
        write_image(folder / INPUT, given.pixels)
        pictures = write_maps(program, outcomes, given.pixels, given.scene, folder)
        save_data(folder / DATA, outcomes)
        result = report(
            program,
            outcomes,
            wall_s=stages.wall_s,
            image=given.where,
            latency=options.latency,
            command=options.command,
            total_s=stages.elapsed,
            resources=resources,
        )
        appraise(result, program, outcomes)
        result["saif"] = None if activity is None else {"file": ACTIVITY, **dataclasses.asdict(activity)}
        result["pictures"] = pictures
        result["outputs"] = module_outputs(program, outcomes, given.pixels)
        for path in sorted(work.glob("*")) if work.is_dir() else ():  # the log stays; dumps are in data.npz
            if path.is_file() and path.name != "simulation.log":
                path.unlink()
        for path in sorted((work / "program").glob("*")):
            path.unlink()
        if (work / "program").is_dir():
            (work / "program").rmdir()
        write_report(result, folder)
        (folder / PAGE).write_text(render_html(folder), encoding="utf-8")
    return result


def run(request: Request, options: Options, stages: Stages) -> dict[str, Any]:
    """Quantise, compile, simulate, compare and report; the folder appears when all is done.

    Returns
    -------
    dict
        What report.json holds.

    Raises
    ------
    InputError, ToolMissing, CompileError, WeightError, BuildFailed, SimulationFailed, ProgramError, OSError
    """
    _check(request, options)
    with new_folder(options.out) as folder:
        given = _input(request, options, folder)
        program, _ = make_program(request, stages)
        save_program(program, folder / _PROGRAM)
        return _finish(program, options, stages, given, folder)


def simulate(program: Program, options: Options, stages: Stages) -> dict[str, Any]:
    """`run` from a program that is compiled already."""
    _check(program.request, options)
    with new_folder(options.out) as folder:
        given = _input(program.request, options, folder)
        return _finish(program, options, stages, given, folder)
