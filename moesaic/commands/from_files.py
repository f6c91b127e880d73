"""Options of models from files, for every command that takes a model."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from moesaic.errors import InputError
from moesaic.golden.importers.options import ImportOptions

__all__ = ["from_files", "import_options"]

_PANEL = "Models from files (what their tensors do not tell)"

TopK = Annotated[
    int | None, typer.Option(help="Experts per token.", show_default="as published", rich_help_panel=_PANEL)
]
Heads = Annotated[
    int | None, typer.Option(help="Attention heads of a block.", show_default="as published", rich_help_panel=_PANEL)
]
ImageSize = Annotated[
    str | None,
    typer.Option(help="HEIGHTxWIDTH in pixels.", metavar="HxW", show_default="as published", rich_help_panel=_PANEL),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="Names of the tasks, in the order of their gates.",
        metavar="NAME,NAME",
        show_default="as published",
        rich_help_panel=_PANEL,
    ),
]
GateKind = Annotated[
    str | None,
    typer.Option(
        help="'noisy_vmoe' (softmax, then top-k) or 'noisy' (top-k, then softmax).",
        show_default="what the file says",
        rich_help_panel=_PANEL,
    ),
]
Pixels = Annotated[
    str | None,
    typer.Option(
        help="Normalisation of pixels: 'imagenet', 'half' (0.5 and 0.5), 'unit' (byte / 255) or 'fixed8' (byte / 256).",
        show_default="as published",
        rich_help_panel=_PANEL,
    ),
]
StateDict = Annotated[
    str | None,
    typer.Option(
        help="Which of a file's sets of weights: 'model', 'model_ema', 'teacher'...",
        metavar="NAME",
        show_default="averaged weights or a teacher's before others",
        rich_help_panel=_PANEL,
    ),
]
FillMissing = Annotated[
    bool, typer.Option("--fill-missing", help="Draw missing experts at random, from --seed.", rich_help_panel=_PANEL)
]


def import_options(
    *,
    top_k: TopK = None,
    heads: Heads = None,
    image_size: ImageSize = None,
    tasks: Tasks = None,
    gate: GateKind = None,
    pixels: Pixels = None,
    state_dict: StateDict = None,
    fill_missing: FillMissing = False,
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
        state_dict=state_dict,
        fill_missing=fill_missing,
        seed=seed,
    )


def from_files(function: Callable[..., None]) -> Callable[..., None]:
    """A command that has the options of models from files too; its function, which has a `seed`, gets them as
    `options`.
    """
    signature = inspect.signature(function)
    own = [parameter for name, parameter in signature.parameters.items() if name != "options"]
    added = [
        parameter.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name, parameter in inspect.signature(import_options).parameters.items()
        if name != "seed"
    ]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        typed = {parameter.name: given.pop(parameter.name) for parameter in added}
        function(**given, options=import_options(**typed, seed=given["seed"]))

    # What typer reads.
    vars(command)["__signature__"] = signature.replace(parameters=[*own, *added])
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
    return command
