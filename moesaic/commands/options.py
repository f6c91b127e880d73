"""Options that several commands share."""

import re
from pathlib import Path
from typing import Annotated

import typer

from moesaic.flow.boards import AUTO, board_choices
from moesaic.flow.request import ALL_TASKS, InputError
from moesaic.golden.config import PRESETS as MODELS
from moesaic.golden.importers.options import ImportOptions

__all__ = [
    "DEFAULT_LATENCY", "DEFAULT_MODEL", "Blocks", "Board", "Calibrate", "Config", "FillMissing", "GateKind", "Heads", "Image", "ImageSize", "Json",
    "Latency", "Model", "ModelArgument", "Pixels", "Quiet", "Resize", "Resources", "Saif", "Seed", "Sim", "Speculate", "Task", "Tasks", "TopK",
    "Weights", "Widths", "import_options", "is_rtl",
]

DEFAULT_MODEL, DEFAULT_LATENCY = "m3vit-tiny", 100

FROM_FILES = "Models from files (what their tensors do not tell)"
_MODEL = f"Model: {', '.join(MODELS)}; or a file or folder of weights; or module:function."

Model = Annotated[str, typer.Option(help=_MODEL)]
ModelArgument = Annotated[str | None, typer.Argument(metavar="[MODEL]", help=_MODEL, show_default=DEFAULT_MODEL)]
TopK = Annotated[
    int | None, typer.Option(help="Experts per token.", show_default="as published", rich_help_panel=FROM_FILES)
]
Heads = Annotated[
    int | None, typer.Option(help="Attention heads of a block.", show_default="as published", rich_help_panel=FROM_FILES)
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        help="HEIGHTxWIDTH in pixels.", metavar="HxW", show_default="as published", rich_help_panel=FROM_FILES
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="Names of the tasks, in the order of their gates.", metavar="NAME,NAME", show_default="as published",
        rich_help_panel=FROM_FILES,
    ),
]
GateKind = Annotated[
    str | None,
    typer.Option(
        help="'noisy_vmoe' (softmax, then top-k) or 'noisy' (top-k, then softmax).", show_default="what the file says",
        rich_help_panel=FROM_FILES,
    ),
]
Pixels = Annotated[
    str | None,
    typer.Option(
        help="Normalisation of pixels: 'imagenet', 'half' (0.5 and 0.5) or 'unit' (none).", show_default="as published",
        rich_help_panel=FROM_FILES,
    ),
]
FillMissing = Annotated[
    bool, typer.Option("--fill-missing", help="Draw missing experts at random, from --seed.", rich_help_panel=FROM_FILES)
]
Task = Annotated[
    str | None,
    typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.", show_default="the model's first"),
]
Board = Annotated[
    str | None,
    typer.Option(
        help=f"Board or accelerator: {', '.join(board_choices())}; a .toml file that describes a board; or '{AUTO}': the fastest of "
        "those that hold the model.",
        show_default="micro8 for m3vit-micro, zcu102-small for what zcu102 cannot hold, else zcu102; with w16a16 the same and -wide",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Accelerator from a .toml file, such as `moesaic explore` writes.", show_default="the board's own"
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
Widths = Annotated[
    str, typer.Option(help="Bits of weights and activations: 'w8a8', 'w4a8' for experts with 4-bit weights, or 'w16a16'.")
]
Calibrate = Annotated[
    Path | None,
    typer.Option(help="Folder of images to calibrate on.", metavar="IMAGES", show_default="rendered street scenes"),
]
Image = Annotated[Path | None, typer.Option(help="Input image file.", show_default="a rendered street scene")]
Resize = Annotated[bool, typer.Option("--resize", help="Scale an image of another size.")]
Sim = Annotated[
    str,
    typer.Option(help="How far to simulate: 'functional' (the program, seconds) or 'rtl' (the hardware too, minutes)."),
]
Latency = Annotated[int, typer.Option(help="Of the DDR model, cycles.")]
Json = Annotated[bool, typer.Option("--json", help="Print report.json to standard output, and nothing else.")]
Resources = Annotated[
    bool, typer.Option("--resources", help="Count LUTs, DSP slices and memories with Yosys, where not done before (minutes).")
]
Saif = Annotated[
    bool,
    typer.Option("--saif", help="Write the RTL's switching activity for Vivado, activity.saif (a build of its own, and slower)."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def is_rtl(sim: str) -> bool:
    if sim not in ("functional", "rtl"):
        raise InputError(f"sim must be functional or rtl, not {sim!r}")
    return sim == "rtl"


def import_options(
    *,
    top_k: int | None,
    heads: int | None,
    image_size: str | None,
    tasks: str | None,
    gate: str | None,
    pixels: str | None,
    fill_missing: bool,
    seed: int,
) -> ImportOptions:
    """Options of a model from files, from what was typed.

    Raises
    ------
    InputError, ImportProblem
        If one is not of its form, or out of range.
    """
    size = None
    if image_size is not None:
        parts = re.fullmatch(r"(\d+)[xX](\d+)", image_size)
        if parts is None:
            raise InputError(f"image-size must be HEIGHTxWIDTH, such as 128x256, not {image_size!r}")
        size = int(parts.group(1)), int(parts.group(2))
    names = None if tasks is None else tuple(name.strip() for name in tasks.split(","))
    return ImportOptions(
        top_k=top_k,
        heads=heads,
        image_size=size,
        tasks=names,
        gate=gate,
        pixels=pixels,
        fill_missing=fill_missing,
        seed=seed,
    )
