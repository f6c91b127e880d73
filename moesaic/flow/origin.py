"""origin.json of a program folder: what it was compiled from, as data that is checked and never run."""

from pathlib import Path
from typing import Any

from moesaic.compiler.batch import MOST_IMAGES
from moesaic.compiler.image import ProgramImage, ProgramImageError
from moesaic.golden.config import PRESETS
from moesaic.golden.finer import FinerLayer
from moesaic.golden.frontend.source import is_function
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.layers.linear import FINER
from moesaic.golden.qmodel import WIDTHS
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.json_file import read_json
from moesaic.names import ALL_TASKS
from moesaic.schema import (
    Anything,
    Choice,
    Flag,
    Listed,
    Mapped,
    Maybe,
    Name,
    Number,
    SchemaError,
    Table,
    Text,
    Whole,
    fields_of,
)

__all__ = ["FILE", "read_origin", "unknown_network"]

FILE = "origin.json"
_MOST = 4 << 20  # bytes
_LINE = Text(r"[^\x00-\x1f\x7f]+", title="a line of text")
_SEED = Whole(high=(1 << 31) - 1)
_ORIGIN = Table(
    {
        "model": _LINE,
        "import_options": fields_of(
            ImportOptions, seed=_SEED, tasks=Maybe(Listed(Name(), 1, 64)), image_size=Maybe(Listed(Whole(1), 2, 2))
        ),
        "board": Maybe(Text(r"[^\x00-\x1f\x7f]*", title="a line of text")),
        "accelerator": Maybe(fields_of(AcceleratorConfig, name=Name())),
        "tasks": Listed(Name(), 1, 64),
        "batch": Whole(1, MOST_IMAGES),
        "together": Flag(),
        "seed": _SEED,
        "blocks": Whole(1, 1024),
        "speculate": Maybe(Whole(high=1 << 16)),
        "weights": Maybe(_LINE),
        "parameters_sha256": Text(r"[0-9a-f]{64}", title="64 hexadecimal digits"),
        "network_sha256": Text(r"[0-9a-f]{64}", title="64 hexadecimal digits"),
        "estimated_cycles": Mapped(Number(0), most=64),
    },
    {
        "import": Maybe(Anything(most=1 << 16)),
        "widths": Choice(tuple(WIDTHS)),
        "recentre": Flag(),
        "hidden": Maybe(Text(r"[0-9., ]+", 4096, "numbers with commas between")),
        "target_db": Maybe(Number(0, 100)),
        "budget": Maybe(Whole()),
        "reconstruct": Flag(),
        "choice": Text(r"first|experts(:[0-9]{1,7})?", title="a choice of images"),
        "finer": Listed(fields_of(FinerLayer, finer=Choice(FINER))),
        "calibration": Table(
            {},
            {
                "calibrated_on": Maybe(Text()),
                "skipped": Listed(Mapped(Text(), most=8), most=1 << 20),
                "warnings": Listed(Text()),
            },
            open=True,
        ),
    },
    open=True,
)


def read_origin(folder: Path, image: ProgramImage) -> dict[str, Any]:
    """What origin.json of a program folder says, of the kinds and sizes that it must have.

    Raises
    ------
    ProgramImageError
        If it cannot be read, a field is missing or wrong, or it is of another program than the manifest.
    """
    found: dict[str, Any] = read_json(folder / FILE, most=_MOST, what=FILE, error=ProgramImageError)
    try:
        _ORIGIN.check(found, "origin")
    except SchemaError as error:
        raise ProgramImageError(f"{FILE}: {error}") from error
    tasks = sorted(name for name in image.tasks if name != ALL_TASKS)
    for what, said, compiled in (
        ("tasks", sorted(found["tasks"]), tasks),
        ("batch", found["batch"], image.images),
        ("together", found["together"] and len(tasks) > 1, ALL_TASKS in image.tasks),
        ("blocks", found["blocks"], image.manifest["blocks"]),
    ):
        if said != compiled:
            raise ProgramImageError(f"{FILE}: {what} must be those of the manifest, {compiled!r}, not {said!r}")
    return found


def unknown_network(origin: dict[str, Any]) -> str:
    """Why the float network that a program was compiled from is not at hand; empty if it is.

    A program folder is data: where its model is made by code, that code is run only for who names it again.
    """
    model, weights = origin["model"], origin["weights"]
    if model in PRESETS:
        there = weights is None or Path(weights).is_file()
        return "" if there else f"its weights {weights!r} are not there: put them back to compare it"
    if is_function(model):
        return f"it is made by code, {model!r}, which a program folder does not run: pass --model {model} to compare it"
    if not Path(model).is_absolute() or not Path(model).exists():
        return f"its weights {model!r} are not there: pass --model PATH to compare it"
    return ""
