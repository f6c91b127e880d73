"""Write the accelerator."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Quiet
from moesaic.flow.request import InputError
from moesaic.flow.stages import Stages
from moesaic.hw.spec.config import PRESETS as BOARDS

__all__ = ["EXAMPLES", "generate"]

EXAMPLES = examples("generate --board zcu102 --out out/rtl", "generate --board micro8 --rtl-only")


@guarded
def generate(
    board: Annotated[str, typer.Option(help=f"Accelerator: {', '.join(BOARDS)}.")] = "zcu102",
    out: Annotated[Path | None, typer.Option(help="Folder to write.", show_default="out/BOARD-rtl")] = None,
    rtl_only: Annotated[
        bool, typer.Option("--rtl-only", help="Write accelerator.v and its configuration, no register map.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the accelerator as Verilog for synthesis, with its configuration and register map."""
    if board not in BOARDS:
        raise InputError(f"board must be one of {', '.join(BOARDS)}, not {board!r}")
    from moesaic.flow import generate as generator

    folder = out if out is not None else Path("out") / f"{board}-rtl"
    generator.generate(BOARDS[board], folder, Stages(quiet=quiet), rtl_only=rtl_only)
