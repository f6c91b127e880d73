"""Measured figures that the documentation quotes: `python -m moesaic.report.results out/*/report.json`."""

import argparse
import json
import platform
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moesaic.boards.hardware import hardware_digest
from moesaic.errors import InputError
from moesaic.report.model import Report
from moesaic.report.stored import read_numbers

__all__ = ["RESULTS", "add_results", "main", "plain_command", "result_of"]

RESULTS = Path("docs/results.json")
_SILENT = ("--quiet", "--json")  # options that change nothing that is measured


def plain_command(command: str) -> str:
    """A command without the options that change no figure."""
    words = [word for word in shlex.split(command) if word not in _SILENT and not word.startswith("--out=")]
    if "--out" in words:
        del words[words.index("--out") : words.index("--out") + 2]
    return shlex.join(words)


def processor() -> str:
    """What computed the float network that was quantised: others round its sums differently, and the odd token on the
    edge between two experts goes the other way.
    """
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found is not None else platform.machine()


def result_of(report: Report) -> dict[str, Any]:
    """What is kept of a report: an entry of the file.

    Raises
    ------
    InputError
        If the run was not on the RTL, or not bit exact.
    """
    if report.first.cycles is None or not report.bit_exact:
        raise InputError(f"report must be of a bit exact run on the RTL, not of {report.command!r}")
    return {
        "command": plain_command(report.command),
        "hardware": hardware_digest(),
        "processor": processor(),
        "memory": report.memory,
        "clock_mhz": report.clock_mhz,
        "roofline_cycles": report.first.roofline.bound_cycles,
        "tasks": {
            task: {
                "cycles": entry.cycles,
                "items": len(entry.items),
                "model_cycles": entry.model_cycles["image"].cycles,
                "cycles_ideal": entry.cycles_ideal,
                "fraction": entry.roofline.fraction,
                "latency_ms": entry.latency_ms,
            }
            for task, entry in report.tasks.items()
        },
    }


def add_results(reports: Sequence[Report], known: dict[str, Any]) -> dict[str, Any]:
    """The file's content with these reports in place of those of the same commands, in the order of the commands; a
    figure of an earlier state goes when its command has been run again.
    """
    fresh = {entry["command"]: entry for entry in map(result_of, reports)}
    runs = {entry["command"]: entry for entry in known["runs"]} | fresh
    earlier = [entry for entry in known["earlier"] if entry["command"] not in fresh]
    return {"runs": [runs[command] for command in sorted(runs)], "earlier": earlier}


def main() -> None:
    """Add the reports that are named to the file."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.report.results", description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="report.json of runs, or what `--json` printed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to bring up to date")
    given = parser.parse_args()
    known = (
        json.loads(given.results.read_text(encoding="utf-8"))
        if given.results.is_file()
        else {"runs": [], "earlier": []}
    )
    done = add_results([read_numbers(path) for path in given.reports], known)
    given.results.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
