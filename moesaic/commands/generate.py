"""Write the accelerator, or a whole project for a board."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.boards.configuration import Configuration
from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Config, Quiet, Seed, Set, Speculate, Weights, Widths
from moesaic.errors import InputError
from moesaic.flow.boards import AUTO, board_choices, configured, find_board
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.hw.spec.presets import PRESETS
from moesaic.names import ALL_TASKS

__all__ = ["EXAMPLES", "generate"]

EXAMPLES = examples(
    "generate --board zcu102 --out out/zcu102",
    "generate --board pynq-z2 --model m3vit-micro --out out/pynq",
    "generate --board my-board.toml --accelerator kv260 --out out/mine",
    "generate --board zcu102 --config out/explore/1.toml --model m3vit-tiny",
    "generate --board micro8 --rtl-only --out out/rtl",
)


def _board_of(model: str | None, stages: Stages, *, seed: int, rtl_only: bool) -> str:
    """The board that suits the model best."""
    if model is None or rtl_only:
        raise InputError("board must be named if there is no model to choose it for, not 'auto'")
    from moesaic.flow.auto import choose

    network = make_request(model=model, seed=seed).model
    return choose(network, stages, boards_only=True)


@guarded
def generate(
    board: Annotated[
        str,
        typer.Option(help=f"Board: {', '.join(board_choices())} (bare accelerators with --rtl-only), or a .toml file."),
    ] = "zcu102",
    config: Config = None,
    fields: Set = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write.", show_default="out/BOARD")] = None,
    model: Annotated[
        str | None, typer.Option(help=f"Also compile this model: {', '.join(MODELS)}.", show_default="none")
    ] = None,
    task: Annotated[str, typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.")] = ALL_TASKS,
    accelerator: Annotated[
        str | None,
        typer.Option(help=f"Another accelerator for the board: {', '.join(PRESETS)}.", show_default="the board's own"),
    ] = None,
    rtl_only: Annotated[
        bool, typer.Option("--rtl-only", help="Only Verilog and IP component, for a block design of your own.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="If OUT holds other things, or results of Vivado, rename it to OUT.old-1 first."),
    ] = False,
    seed: Seed = 0,
    speculate: Speculate = None,
    widths: Widths = DEFAULT_WIDTHS,
    weights: Weights = None,
    quiet: Quiet = False,
) -> None:
    """Write a Vivado project for a board: Verilog, block design, constraints, registers; with --model its
    program too.
    """
    stages = Stages(quiet=quiet)
    if board == AUTO:
        board = _board_of(model, stages, seed=seed, rtl_only=rtl_only)
    asked = Configuration.of(config, fields)
    if asked is not None and accelerator is not None:
        raise InputError(f"accelerator must not be given beside a configuration, not {accelerator!r}")
    found, sizes = (find_board(board), None) if asked is None else configured(board, asked)
    if accelerator is not None and accelerator not in PRESETS:
        raise InputError(f"accelerator must be one of {', '.join(PRESETS)}, not {accelerator!r}")
    if found is None and not rtl_only:
        raise InputError(f"board must be a board to make a project, not the bare accelerator {board!r}: use --rtl-only")
    if rtl_only and model is not None:
        raise InputError(f"model must not be given with --rtl-only, not {model!r}")
    from moesaic.boards.fit_bound import check_fit
    from moesaic.flow import generate as generator

    name = board if found is None else found.name
    folder = out if out is not None else Path("out") / (f"{name}-rtl" if rtl_only else name)
    if sizes is None:
        sizes = PRESETS[board] if found is None else found.accelerator
    if found is not None and accelerator is not None:
        check_fit(found, PRESETS[accelerator])
        found = found.replace(accelerator=PRESETS[accelerator])
        sizes = found.accelerator
    elif accelerator is not None:
        sizes = PRESETS[accelerator]
    if rtl_only or found is None:
        generator.generate_rtl(sizes, folder, stages, force=force)
        return
    request = None
    if model is not None:
        request = make_request(
            model=model,
            task=task,
            together=True,
            board=accelerator or board,
            accelerator=asked,
            seed=seed,
            speculate=speculate,
            widths=widths,
            weights=weights,
        )
    generator.generate_project(found, folder, stages, request=request, force=force)
