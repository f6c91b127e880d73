"""Quantise and compile a model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from moesaic.boards.configuration import Configuration
from moesaic.commands.command import examples, guarded
from moesaic.commands.from_files import from_files
from moesaic.commands.options import (
    Blocks,
    Board,
    Budget,
    Calibrate,
    CalibrationChoice,
    Config,
    Hidden,
    ImagesInOne,
    ModelArgument,
    ModelOption,
    Quiet,
    Recentre,
    Reconstruct,
    Seed,
    Separate,
    Set,
    Speculate,
    TargetDb,
    Weights,
    Widths,
    one_model,
)
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.request import Request, make_request
from moesaic.flow.stages import Stages
from moesaic.golden.image_choice import FIRST
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.names import ALL_TASKS
from moesaic.terminal import print_result

__all__ = ["EXAMPLES", "compile_"]

EXAMPLES = examples(
    "compile m3vit-micro --out out/program",
    "compile m3vit-micro --blocks 1 --dump | less",
    "compile checkpoint.pth.tar --board zcu102",
    "compile edge-moe/weights --fill-missing --seed 1",
    "compile vit.safetensors --heads 6",
)


def _print_dump(compilation: Any, request: Request) -> None:
    from moesaic.compiler.dump import dump
    from moesaic.hw.pipeline_latency import timing

    names = request.imported.report.names if request.imported is not None else {}
    if names:
        print_result("==== names\n" + "\n".join(f"  {ours:36s} {theirs}" for ours, theirs in names.items()) + "\n")
    for task in compilation.scheduled:
        for stage, text in dump(compilation, task, timing(request.accelerator)).items():
            print_result(f"==== {stage}, task {task}\n{text}\n")


@guarded
@from_files
def compile_(
    model: ModelArgument = None,
    named: ModelOption = None,
    task: Annotated[str, typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.")] = ALL_TASKS,
    batch: ImagesInOne = 1,
    separate: Separate = False,
    board: Board = None,
    config: Config = None,
    fields: Set = None,
    out: Annotated[
        Path | None, typer.Option(help="Program folder.", show_default="out/MODEL-TASK-BOARD-program")
    ] = None,
    seed: Seed = 0,
    blocks: Blocks = None,
    speculate: Speculate = None,
    widths: Widths = DEFAULT_WIDTHS,
    recentre: Recentre = False,
    hidden: Hidden = None,
    target_db: TargetDb = None,
    budget: Budget = None,
    reconstruct: Reconstruct = False,
    weights: Weights = None,
    calibrate: Calibrate = None,
    choice: CalibrationChoice = FIRST,
    dump: Annotated[
        bool, typer.Option("--dump", help="Print IR, schedule, buffers, disassembly and memory map.")
    ] = False,
    quiet: Quiet = False,
    *,
    options: ImportOptions,
) -> None:
    """Quantise and compile: write a program folder (memory image, manifest, quantised network)."""
    stages = Stages(quiet=quiet)
    request = make_request(
        model=one_model(model, named),
        task=task,
        batch=batch,
        together=not separate,
        board=board,
        accelerator=Configuration.of(config, fields),
        seed=seed,
        blocks=blocks,
        speculate=speculate,
        widths=widths,
        recentre=recentre,
        hidden=hidden,
        target_db=target_db,
        budget=budget,
        reconstruct=reconstruct,
        weights=weights,
        calibrate=calibrate,
        choice=choice,
        options=options,
        stages=stages,
    )
    from moesaic.flow import program as programs

    folder = out if out is not None else Path("out") / f"{request.name}-program"
    check_replaceable(folder, marker=programs.MARKER)
    with new_folder(folder) as new:
        program, compilation = programs.make_program(request, stages)
        programs.save_program(program, new)
    if dump:
        _print_dump(compilation, request)
    stages.say(f"program: {folder}")
