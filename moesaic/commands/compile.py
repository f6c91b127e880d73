"""Quantise and compile a model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import DEFAULT_MODEL, Blocks, Board, Model, Quiet, Seed, Speculate, Weights
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.request import ALL_TASKS, Request, make_request
from moesaic.flow.stages import Stages

__all__ = ["EXAMPLES", "compile_"]

EXAMPLES = examples(
    "compile --model m3vit-micro --out out/program",
    "compile --model m3vit-micro --blocks 1 --dump | less",
)


def _print_dump(compilation: Any, request: Request) -> None:
    from moesaic.compiler.dump import dump
    from moesaic.hw.timing import timing

    for task in request.tasks:
        for stage, text in dump(compilation, task, timing(request.config)).items():
            print(f"==== {stage}, task {task}\n{text}\n")


@guarded
def compile_(
    model: Model = DEFAULT_MODEL,
    task: Annotated[str, typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.")] = ALL_TASKS,
    board: Board = None,
    out: Annotated[
        Path | None, typer.Option(help="Program folder.", show_default="out/MODEL-TASK-BOARD-program")
    ] = None,
    seed: Seed = 0,
    blocks: Blocks = None,
    speculate: Speculate = None,
    weights: Weights = None,
    dump: Annotated[
        bool, typer.Option("--dump", help="Print IR, schedule, buffers, disassembly and memory map.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Quantise and compile: write a program folder (memory image, manifest, quantised network)."""
    request = make_request(
        model=model, task=task, board=board, seed=seed, blocks=blocks, speculate=speculate, weights=weights
    )
    from moesaic.flow import program as programs

    folder = out if out is not None else Path("out") / f"{request.name}-program"
    check_replaceable(folder, marker=programs.MARKER)
    stages = Stages(quiet=quiet)
    with new_folder(folder) as new:
        program, compilation = programs.make_program(request, stages)
        programs.save_program(program, new)
    if dump:
        _print_dump(compilation, request)
    stages.say(f"program: {folder}")
