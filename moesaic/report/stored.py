"""A result folder as data: what report.json must look like, and files that stay inside the folder."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from moesaic.errors import InputError
from moesaic.flow.folder import put_file
from moesaic.json_file import read_json
from moesaic.report.numbers import FORMAT
from moesaic.schema import Anything, Choice, Flag, Listed, Mapped, Maybe, Name, Number, SchemaError, Table, Text, Whole

__all__ = ["DATA", "INPUT", "MARKER", "NUMBERS", "PICTURES", "read_picture", "read_report", "write_report"]

NUMBERS, DATA, INPUT = "report.json", "data.npz", "input.png"
MARKER = NUMBERS  # by which a result folder is known
PICTURES = {"accelerator": "accelerator", "float": "float model", "truth": "ground truth"}

_MOST_NUMBERS, _MOST_PICTURE = 16 << 20, 64 << 20  # bytes
_PNG = b"\x89PNG\r\n\x1a\n"
_BLOCKS, _EXPERTS, _LAYERS, _TASKS = 256, 64, 4096, 64
_NUMBER = Number()
_MAYBE = Maybe(_NUMBER)
_PART = Text(r"[A-Za-z0-9._-]+", 200, "a name with dots")
_LINE = Text(r"[^\x00-\x08\x0e-\x1f]*", title="text")
_STATES = Maybe(Mapped(_NUMBER))
_MEASURED = {"cycles": _MAYBE, "bytes_read": _MAYBE, "array": _STATES}
_BLOCK = Table(
    {
        "name": _PART,
        "kind": _PART,
        **_MEASURED,
        "macs": _NUMBER,
        "sqnr_db": _MAYBE,
        "cosine": _MAYBE,
        "routing_agreement": _MAYBE,
        "bit_exact": Flag(),
    },
    open=True,
)
_ROOFLINE = Table({"arithmetic_cycles": _NUMBER, "ddr_cycles": _NUMBER, "bound_cycles": _NUMBER, "fraction": _MAYBE})
_TASK = Table(
    {
        "task": Name(),
        "bit_exact": Flag(),
        "mismatches": Whole(),
        "differences": Listed(Mapped(Anything())),
        "cycles": _MAYBE,
        "model_cycles": Mapped(Table({"cycles": _NUMBER, "error": _MAYBE}), _PART),
        "macs": _NUMBER,
        "weight_bytes": _NUMBER,
        "roofline": _ROOFLINE,
        "embedding": Table({**_MEASURED, "macs": _NUMBER, "bit_exact": Flag()}),
        "result": Table({**_MEASURED, "bit_exact": Flag()}),
        "blocks": Listed(_BLOCK, 1, _BLOCKS),
        "layers": Listed(Mapped(Anything(), _PART), most=_LAYERS),
        "tokens_per_expert": Mapped(Listed(Whole(), most=_EXPERTS), _PART, _BLOCKS),
    },
    open=True,
)
_REPORT = Table(
    {
        "format": Choice((FORMAT,)),
        "model": Name(),
        "board": Name(),
        "command": _LINE,
        "bit_exact": Flag(),
        "blocks_run": Whole(1, _BLOCKS),
        "depth": Whole(1, _BLOCKS),
        "tokens": _NUMBER,
        "dim": _NUMBER,
        "clock_mhz": Number(0),
        "config": Table(
            {"rows": Whole(1, 1 << 10), "lanes": Whole(1, 1 << 10), "port_bits": Whole(8, 1 << 10)}, open=True
        ),
        "ddr": Table({"bytes_per_cycle": Number(1), "latency_cycles": Number(0)}),
        "compared": Listed(Text(most=64), 1, 8),
        "violations": Listed(_LINE),
        "tasks": Mapped(_TASK, most=_TASKS),
        "pictures": Mapped(Mapped(Text()), most=_TASKS),
        "worst_case": Mapped(Anything(), most=_TASKS),
        "peers": Listed(Mapped(Anything()), most=64),
        "ablation": Maybe(Table({"task": Name(), "variants": Listed(Mapped(Anything()), 1, 64)})),
        "wall_s": Mapped(_NUMBER),
    },
    open=True,
)


def read_report(folder: Path) -> dict[str, Any]:
    """report.json of a result folder.

    Raises
    ------
    InputError
        If there is none, or it is damaged or of another version, or says of itself what cannot be.
    """
    path = folder / NUMBERS
    if not path.is_file():
        raise InputError(f"folder must hold a {NUMBERS} that `moesaic run` wrote, not {str(folder)!r}")
    report: dict[str, Any] = read_json(path, most=_MOST_NUMBERS, what="report", error=InputError)
    try:
        Anything(depth=12, most=1 << 16).check(report, "report")
        Table({"format": Whole()}, open=True).check(report, "report")
        if report["format"] != FORMAT:
            again = f"; it is of another version of Moesaic: run {report.get('command')!r} again"
            raise InputError(f"format of {str(path)!r} must be {FORMAT}, not {report['format']!r}{again}")
        _REPORT.check(report, "report")
    except SchemaError as error:
        raise InputError(f"{str(path)!r} must be a report, not a damaged file ({error})") from error
    for task, files in report["pictures"].items():
        for what, name in files.items():
            if task not in report["tasks"] or what not in PICTURES or name != f"{task}-{what}.png":
                raise InputError(f"pictures of {str(path)!r} must be TASK-WHAT.png beside it, not {name!r}")
    return report


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write report.json of a result folder, whole or not at all."""
    put_file(folder / NUMBERS, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def read_picture(path: Path) -> bytes:
    """A PNG that lies in its folder itself: no link to a file elsewhere, which a page would give away.

    Raises
    ------
    InputError
        If it is anything else.
    OSError
        If it cannot be read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_PICTURE:
            raise InputError(f"picture must be a file of at most {_MOST_PICTURE:,} bytes, not {str(path)!r}")
        data = file.read(_MOST_PICTURE)
    if not data.startswith(_PNG):
        raise InputError(f"picture must be a PNG, not {str(path)!r}")
    return data
