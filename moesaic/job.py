"""The main job whole: from a request, or from a compiled program, to a result folder with its report."""

from pathlib import Path

from moesaic.errors import InputError
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.program import Program, make_program, save_program
from moesaic.flow.request import Request
from moesaic.flow.run import Input, Options, check, outcome_of, read_input
from moesaic.flow.stages import Stages
from moesaic.report.model import Report
from moesaic.report.result_folder import fill
from moesaic.report.stored import INPUT, MARKER, read_report

__all__ = ["results_folder", "run", "simulate"]

_PROGRAM = "program"


def results_folder(request: Request, *, rtl: bool) -> Path:
    """Where results go if nothing else is asked for; those without the RTL have a folder of their own."""
    return Path("out") / (request.name if rtl else f"{request.name}-functional")


def _has_cycles(folder: Path) -> bool:
    """Whether an earlier result was measured on the RTL."""
    try:
        return read_report(folder).first.cycles is not None
    except InputError:  # no result, or a damaged one
        return False


def _check(request: Request, options: Options) -> None:
    check_replaceable(options.out, marker=MARKER)
    if not options.rtl and _has_cycles(options.out):
        raise InputError(
            f"out must be another folder than {str(options.out)!r}, which holds cycles of the RTL: a functional run "
            "has none to put in their place; remove that folder, or name another with --out"
        )
    check(request, options)


def run(request: Request, options: Options, stages: Stages) -> Report:
    """Quantise, compile, simulate, compare and report; the folder appears when all is done.

    Raises
    ------
    InputError, ToolMissing, CompileError, WeightError, BuildFailed, SimulationFailed, ProgramError, OSError
    """
    _check(request, options)
    with new_folder(options.out) as folder:
        given = read_input(request, options, folder / INPUT)
        program, _ = make_program(request, stages)
        save_program(program, folder / _PROGRAM)
        return fill(folder, outcome_of(program, given, options, stages, folder), stages)


def simulate(program: Program, options: Options, stages: Stages, *, given: Input | None = None) -> Report:
    """`run` from a program that is compiled already, on the images that are `given` or those that the options name."""
    _check(program.request, options)
    with new_folder(options.out) as folder:
        if given is None:
            given = read_input(program.request, options, folder / INPUT)
        return fill(folder, outcome_of(program, given, options, stages, folder), stages)
