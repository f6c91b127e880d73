"""The generate stage: a folder for Vivado - Verilog, IP component, project, and the program if a model is named."""

import json
from pathlib import Path

import moesaic
from moesaic.boards.board import Board
from moesaic.boards.fit_bound import check_fit
from moesaic.boards.project.rtl import VERILOG, annotated_verilog, write_rtl
from moesaic.boards.project.write import ProgramFacts, write_ip, write_project
from moesaic.errors import InputError
from moesaic.flow.folder import new_folder
from moesaic.flow.own_folder import check_place, set_aside, write_sums
from moesaic.flow.program import Program, make_program, save_program
from moesaic.flow.request import Request
from moesaic.flow.runtime import write_runtime
from moesaic.flow.stages import Stages
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["VERILOG", "generate_project", "generate_rtl"]

_ANY_PART = "xczu9eg-ffvb1156-2-e"  # the packager wants a device; the component is for any


def _write_rtl(accelerator: AcceleratorConfig, new: Path, stages: Stages, *, part: str) -> None:
    with stages.stage("verilog", f"Verilog of {accelerator.name}"):
        verilog = annotated_verilog(accelerator)
    sources = write_rtl(verilog, accelerator, new, version=moesaic.__version__)
    write_ip(accelerator, new, part=part, sources=sources)
    (new / "config.json").write_text(
        json.dumps({**accelerator.to_dict(), "hash": accelerator.hash}, indent=1) + "\n", encoding="utf-8"
    )


def _finish(new: Path, folder: Path, stages: Stages, *, force: bool) -> None:
    """List what was written; make sure that nothing else is in its place by now."""
    write_sums(new)
    check_place(folder, force=force)
    moved = set_aside(folder) if force else None
    if moved is not None:
        stages.say(f"moved aside: {folder} is now {moved}")


def generate_rtl(accelerator: AcceleratorConfig, folder: Path, stages: Stages, *, force: bool = False) -> None:
    """Write the accelerator for a block design of the user's own: Verilog, IP component, `config.json`.

    Raises
    ------
    InputError, ExportError, OSError
    """
    check_place(folder, force=force)
    with new_folder(folder) as new:
        _write_rtl(accelerator, new, stages, part=_ANY_PART)
        _finish(new, folder, stages, force=force)
    stages.say(f"Verilog: {folder / VERILOG}")


def generate_project(
    board: Board,
    folder: Path,
    stages: Stages,
    *,
    request: Request | None = None,
    program: Program | None = None,
    force: bool = False,
) -> None:
    """Write a Vivado project for a board.

    Parameters
    ----------
    board : Board
    folder : Path
    stages : Stages
    request : Request, optional
        A model to compile for it, into `program/`, with what runs it on the board in `runtime/`.
    program : Program, optional
        The same, compiled already.
    force : bool
        Move a folder of other things aside.

    Raises
    ------
    FitError
        If the accelerator is too large for the board.
    InputError, CompileError, ExportError, OSError
    """
    check_place(folder, force=force)
    check_fit(board)
    with new_folder(folder) as new:
        facts = None
        if request is not None and program is None:
            program, _ = make_program(request, stages)
        if program is not None:
            request = program.request
            size, limit = len(program.image.memory), board.memory.window_bytes
            if size > limit:
                raise InputError(
                    f"program of {request.model.name} must be at most {limit:,} bytes, the DDR window of "
                    f"{board.name}, not {size:,}"
                )
            (new / "program").mkdir()
            save_program(program, new / "program")
            (new / "runtime").mkdir()
            write_runtime(new / "runtime")
            facts = ProgramFacts(request.model.name, ", ".join(request.tasks), program.image.address, size)
        _write_rtl(board.accelerator, new, stages, part=board.part)
        write_project(board, new, version=moesaic.__version__, program=facts)
        _finish(new, folder, stages, force=force)
    stages.say(f"project: vivado -mode batch -source {folder / 'build.tcl'}")
