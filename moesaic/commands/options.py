"""Options that several commands share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from moesaic.boards.fields import FIELDS
from moesaic.compiler.memory import BOARD_MEMORY, DDR_LATENCY
from moesaic.energy.baselines import Baseline, read_baseline
from moesaic.errors import InputError
from moesaic.flow.boards import AUTO, board_choices
from moesaic.golden.config import PRESETS as MODELS
from moesaic.names import ALL_TASKS

__all__ = [
    "BASELINE",
    "DEFAULT_LATENCY",
    "DEFAULT_MEMORY",
    "DEFAULT_MODEL",
    "BaselineFile",
    "Blocks",
    "Board",
    "Budget",
    "Calibrate",
    "CalibrationChoice",
    "ClockMhz",
    "Cluster",
    "Config",
    "Hidden",
    "Image",
    "Images",
    "ImagesInOne",
    "Json",
    "Latency",
    "Memory",
    "Model",
    "ModelArgument",
    "ModelOption",
    "Quiet",
    "Recentre",
    "Reconstruct",
    "Resize",
    "Resources",
    "Saif",
    "Seed",
    "Separate",
    "Set",
    "SharedCache",
    "Sim",
    "Speculate",
    "TargetDb",
    "Task",
    "Waves",
    "Weights",
    "Widths",
    "baselines",
    "is_rtl",
    "one_model",
]

DEFAULT_MODEL, DEFAULT_LATENCY, DEFAULT_MEMORY = "m3vit-tiny", DDR_LATENCY, BOARD_MEMORY

BASELINE = Path("out") / "baseline.json"  # what `moesaic baseline` writes, and `moesaic run` looks for

_MODEL = f"Model: {', '.join(MODELS)}; or a file or folder of weights; or module:function."


def _starting(names: Iterable[str]) -> Callable[[str], list[str]]:
    """For the shell: those of the names that begin as what was typed."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]  # typer knows it by this name


_models, _boards = _starting(MODELS), _starting([*board_choices(), AUTO])

Model = Annotated[str, typer.Option(help=_MODEL, autocompletion=_models)]
ModelArgument = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", help=_MODEL, show_default=DEFAULT_MODEL, autocompletion=_models),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="The same as MODEL.", show_default=False, autocompletion=_models)
]
Task = Annotated[
    str | None,
    typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.", show_default="the model's first"),
]
Board = Annotated[
    str | None,
    typer.Option(
        help=f"Board or accelerator: {', '.join(board_choices())}; a .toml file that describes a board; or '{AUTO}': "
        f"the fastest of "
        "those that hold the model.",
        show_default="micro8 for m3vit-micro, zcu102-small for what zcu102 cannot hold, else zcu102; with w16a16 the "
        "same and -wide",
        autocompletion=_boards,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Accelerator from a .toml file, such as `moesaic explore` writes.",
        show_default="the board's own",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="A field of the accelerator, such as rows=32; once for each field.",
        show_default="the board's own",
        autocompletion=_starting([f"{field}=" for field in FIELDS]),
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
    str,
    typer.Option(help="Bits of weights and activations: 'w8a8', 'w4a8' for experts with 4-bit weights, or 'w16a16'."),
]
Recentre = Annotated[
    bool,
    typer.Option("--rms-norm", help="RMSNorm in place of LayerNorm, the mean of tokens taken out of the weights."),
]
Hidden = Annotated[
    str | None,
    typer.Option(
        help="Hidden units of MLPs and experts, of which the first are used: a fraction such as 0.5, or numbers; one "
        "for all layers, or one for each, with commas between.",
        show_default="all",
    ),
]
TargetDb = Annotated[
    float | None,
    typer.Option(
        help="Give layers more bits until every block has so many decibels: those that gain most for their cycles.",
        metavar="DB",
        show_default="8 bits everywhere",
    ),
]
Budget = Annotated[
    int | None,
    typer.Option(
        help="Give layers more bits as far as they add no more than so many cycles to an image.",
        metavar="CYCLES",
        show_default="8 bits everywhere",
    ),
]
Reconstruct = Annotated[
    bool,
    typer.Option("--reconstruct", help="Fit second matrices of 4-bit experts to what the first ones' integers give."),
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        help="Images to calibrate on: a folder, a torch Dataset as module:name, or 'natural': noise with the spectra "
        "of photographs.",
        metavar="IMAGES",
        show_default="rendered street scenes",
    ),
]
CalibrationChoice = Annotated[
    str,
    typer.Option(
        "--calibration-choice",
        metavar="CHOICE",
        help="Which of the images calibrate: 'first'; or, of up to four times as many, those that give every expert of "
        "every gate 32 tokens as far as they can: 'experts', or 'experts:TOKENS'.",
        show_default="first, and others where experts would have no token at all",
    ),
]
Image = Annotated[Path | None, typer.Option(help="Input image file.", show_default="a rendered street scene")]
Images = Annotated[
    list[Path] | None,
    typer.Option("--image", help="Input image file; once for each of a batch.", show_default="rendered street scenes"),
]
ImagesInOne = Annotated[int, typer.Option("--batch", help="Images that one program computes, 1 to 8.")]
Separate = Annotated[bool, typer.Option("--separate", help="With --task all: tasks one after the other, not at once.")]
Resize = Annotated[bool, typer.Option("--resize", help="Scale an image of another size.")]
SharedCache = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Folder, or URL of fsspec, through which machines share what they build: a simulator is built once for "
        "all of them.",
        show_default="each machine's own cache",
    ),
]
Sim = Annotated[
    str,
    typer.Option(help="How far to simulate: 'functional' (the program, seconds) or 'rtl' (the hardware too, minutes)."),
]
Latency = Annotated[int, typer.Option(help="Of the DDR model, cycles.")]
Memory = Annotated[
    str,
    typer.Option(
        help="Memory to simulate: 'board' (bandwidth, refresh, rows and turns of the board's DDR), or 'ideal' (a beat "
        "for every port in every cycle)."
    ),
]
ClockMhz = Annotated[
    float | None,
    typer.Option(
        "--clock-mhz",
        metavar="MHZ",
        help="Clock by which cycles become times and energies.",
        show_default="the board's, as far as the pessimistic timing model supports it",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print report.json to standard output, and nothing else.")]
Resources = Annotated[
    bool,
    typer.Option(
        "--resources", help="Count LUTs, DSP slices and memories with Yosys, where not done before (minutes)."
    ),
]
Saif = Annotated[
    bool,
    typer.Option(
        "--saif", help="Write the RTL's switching activity for Vivado, activity.saif (a build of its own, and slower)."
    ),
]
Waves = Annotated[
    str | None,
    typer.Option(
        "--waves",
        metavar="FROM:TO",
        help="Write these cycles of the first program's run as waves.fst, with views for Surfer and GTKWave (a build "
        "of its own, and slower).",
        show_default="none",
    ),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        metavar="FILE",
        help="Times of this model on a machine of yours, from `moesaic baseline`, for the report.",
        show_default=f"{BASELINE}, if it is there",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="Run tasks on Dask workers: 'local:N' starts N on this machine, 'tcp://HOST:PORT' is a scheduler's "
        "address (docs/cluster.md).",
        show_default="one after the other, here",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show neither progress nor warnings.")]


def is_rtl(sim: str) -> bool:
    if sim not in ("functional", "rtl"):
        raise InputError(f"sim must be functional or rtl, not {sim!r}")
    return sim == "rtl"


def baselines(file: Path | None) -> tuple[Baseline, ...]:
    """What was measured on other machines: the file that was named, or the usual one, if it is there.

    Raises
    ------
    InputError
        If it cannot be read, or is another file.
    """
    if file is None and not BASELINE.is_file():
        return ()
    return (read_baseline(BASELINE if file is None else file),)


def one_model(argument: str | None, option: str | None) -> str:
    """The model, named as an argument, as an option, or not at all.

    Raises
    ------
    InputError
        If it is named twice, and not alike.
    """
    if argument is not None and option is not None and argument != option:
        raise InputError(f"model must be given once, not as {argument!r} and as {option!r}")
    return argument or option or DEFAULT_MODEL
