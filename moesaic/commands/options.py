"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.flow.boards import board_choices
from moesaic.flow.request import ALL_TASKS, InputError
from moesaic.golden.config import PRESETS as MODELS

__all__ = [
    "DEFAULT_LATENCY", "DEFAULT_MODEL", "Blocks", "Board", "Image", "Json", "Latency", "Model", "Quiet", "Resize", "Seed", "Sim",
    "Speculate", "Task", "Weights", "is_rtl",
]

DEFAULT_MODEL, DEFAULT_LATENCY = "m3vit-tiny", 100

Model = Annotated[str, typer.Option(help=f"Model: {', '.join(MODELS)}.")]
Task = Annotated[
    str | None,
    typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.", show_default="the model's first"),
]
Board = Annotated[
    str | None,
    typer.Option(
        help=f"Board or accelerator: {', '.join(board_choices())}; or a .toml file that describes a board.",
        show_default="micro8 for m3vit-micro, zcu102-small for what zcu102 cannot hold, else zcu102",
    ),
]
Seed = Annotated[int, typer.Option(help="Of seeded weights, the sample scene and the DDR model's stalls.")]
Blocks = Annotated[int | None, typer.Option(help="Stop after so many blocks.", show_default="all")]
Speculate = Annotated[
    int | None,
    typer.Option(
        help="Experts fetched before the router has decided; 0 turns it off.", show_default="the compiler's choice"
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Parameters (.safetensors) in place of the shipped ones.")]
Image = Annotated[Path | None, typer.Option(help="Input image file.", show_default="a rendered street scene")]
Resize = Annotated[bool, typer.Option("--resize", help="Scale an image of another size.")]
Sim = Annotated[
    str,
    typer.Option(help="How far to simulate: 'functional' (the program, seconds) or 'rtl' (the hardware too, minutes)."),
]
Latency = Annotated[int, typer.Option(help="Of the DDR model, cycles.")]
Json = Annotated[bool, typer.Option("--json", help="Print report.json to standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def is_rtl(sim: str) -> bool:
    if sim not in ("functional", "rtl"):
        raise InputError(f"sim must be functional or rtl, not {sim!r}")
    return sim == "rtl"
