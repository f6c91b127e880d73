"""A result folder as data: what report.json must look like, and files that stay inside the folder."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from moesaic.errors import InputError
from moesaic.flow.folder import put_file
from moesaic.json_file import read_json
from moesaic.records import from_plain, to_plain
from moesaic.report.model import FORMAT, Report
from moesaic.schema import Anything, SchemaError, Table, Whole

__all__ = [
    "DATA",
    "INPUT",
    "MARKER",
    "NUMBERS",
    "PICTURES",
    "plain_report",
    "read_numbers",
    "read_picture",
    "read_report",
    "write_report",
]

NUMBERS, DATA, INPUT = "report.json", "data.npz", "input.png"
MARKER = NUMBERS  # by which a result folder is known
PICTURES = {"accelerator": "accelerator", "float": "float model", "truth": "ground truth"}

_MOST_NUMBERS, _MOST_PICTURE = 16 << 20, 64 << 20  # bytes
_PNG = b"\x89PNG\r\n\x1a\n"
# What the first task's figures are called at the top of report.json, where scripts look for them first.
_SAME = (
    "cycles",
    "cycles_per_item",
    "apart_cycles",
    "cycles_ideal",
    "cycles_ideal_is",
    "estimated_cycles",
    "model_cycles",
    "macs",
    "weight_bytes",
    "weight_bytes_read",
    "speculated_bytes_dropped",
    "roofline",
    "latency_ms",
    "fps",
    "blocks",
    "units",
    "array",
    "experts_used",
    "tokens_per_expert",
    "power_w",
    "energy_mj_per_frame",
    "energy_error",
    "energy",
)
_ITEMS = "items"
_BY_TASK = "worst_case"  # at the top: that of every task


def plain_report(report: Report) -> dict[str, Any]:
    """What report.json holds: the report, and at the top once more the figures of its first task, and all items."""
    plain = to_plain(report)
    first = plain["tasks"][report.first.task]
    cases = {task: entry[_BY_TASK] for task, entry in plain["tasks"].items()}
    items = [item for entry in plain["tasks"].values() for item in entry[_ITEMS]]
    return {"format": FORMAT, **plain, **{name: first[name] for name in _SAME}, _ITEMS: items, _BY_TASK: cases}


def _report(plain: dict[str, Any], where: Path) -> Report:
    Anything(depth=12, most=1 << 16).check(plain, "report")
    Table({"format": Whole()}, open=True).check(plain, "report")
    if plain["format"] != FORMAT:
        again = f"; it is of another version of Moesaic: run {plain.get('command')!r} again"
        raise InputError(f"format of {str(where)!r} must be {FORMAT}, not {plain['format']!r}{again}")
    derived = {"format", *_SAME, _ITEMS, _BY_TASK}
    report = from_plain(Report, {name: value for name, value in plain.items() if name not in derived}, "report")
    for task, entry in report.tasks.items():
        if task != entry.task:
            raise SchemaError(f"task of report.tasks.{task} must be {task!r}, not {entry.task!r}")
    return report


def read_numbers(path: Path) -> Report:
    """The report in a file: report.json of a result folder, or what `--json` printed.

    Raises
    ------
    InputError
        If it is damaged or of another version, or says of itself what cannot be.
    """
    plain: dict[str, Any] = read_json(path, most=_MOST_NUMBERS, what="report", error=InputError)
    try:
        return _report(plain, path)
    except InputError:
        raise
    except ValueError as error:  # a shape that is wrong, or an accelerator that cannot be
        raise InputError(f"{str(path)!r} must be a report, not a damaged file ({error})") from error


def read_report(folder: Path) -> Report:
    """The report of a result folder.

    Raises
    ------
    InputError
        If there is none, or as `read_numbers`, or if it has pictures that are not its own.
    """
    path = folder / NUMBERS
    if not path.is_file():
        raise InputError(f"folder must hold a {NUMBERS} that `moesaic run` wrote, not {str(folder)!r}")
    report = read_numbers(path)
    for task, files in report.pictures.items():
        for what, name in files.items():
            if task not in report.labels or what not in PICTURES or name != f"{task}-{what}.png":
                raise InputError(f"pictures of {str(path)!r} must be TASK-WHAT.png beside it, not {name!r}")
    return report


def write_report(report: Report, folder: Path) -> None:
    """Write report.json of a result folder, whole or not at all."""
    put_file(folder / NUMBERS, (json.dumps(plain_report(report), indent=1, allow_nan=False) + "\n").encode())


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
