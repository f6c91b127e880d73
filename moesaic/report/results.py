"""Measured figures that the documentation quotes: `python -m moesaic.report.results out/*/report.json`."""

import argparse
import json
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moesaic.boards.hardware import hardware_digest
from moesaic.compiler.memory import IDEAL_MEMORY
from moesaic.errors import InputError
from moesaic.flow.boards import accelerator_of
from moesaic.flow.conditions import conditions_of
from moesaic.report.model import Report
from moesaic.report.stored import read_numbers

__all__ = ["PAGES", "RESULTS", "add_results", "main", "plain_command", "result_of", "times_of", "with_times"]

RESULTS = Path("docs/results.json")
PAGES = (Path("README.md"), Path("docs/results.md"))
_TIMES = re.compile(r"((?:\d{1,3}(?:,\d{3})+(?: and )?)+)[^()|]* \(([^()]* ms at [0-9.]+ MHz)\)")
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
        "board": report.board_origin,
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
    return {**known, "runs": [runs[command] for command in sorted(runs)], "earlier": earlier}


def clock_of(entry: Mapping[str, Any]) -> float:
    """MHz at which the cycles of an entry are told as milliseconds: what the timing model supports for its accelerator
    today. Cycles with a board's memory belong to the clock of their run.
    """
    if entry["memory"] != IDEAL_MEMORY:
        return float(entry["clock_mhz"])
    return conditions_of(accelerator_of(entry["board"])[2], entry["board"]).timing.used_mhz


def times_of(entry: Mapping[str, Any], tasks: int) -> str:
    """Milliseconds of the first so many tasks of an entry, and at which clock."""
    clock = clock_of(entry)
    times = [f"{task['cycles'] / clock / 1e3:.3f}" for task in entry["tasks"].values()][:tasks]
    return f"{' and '.join(dict.fromkeys(times))} ms at {clock:g} MHz"


def with_times(page: str, known: Mapping[str, Any]) -> str:
    """A page whose rows of tables tell the times that `times_of` gives, behind the cycles that they are of."""
    lines, entries = [], {entry["command"]: entry for entry in known["runs"]}
    for line in page.splitlines(keepends=True):
        command = re.search(r"`([^`]+)` \|$", line.rstrip())
        if line.startswith("|") and command and command[1] in entries and (found := _TIMES.search(line)):
            tasks = len(re.findall(r"\d,\d{3}\b", found[1]))
            line = f"{line[: found.start(2)]}{times_of(entries[command[1]], tasks)}{line[found.end(2) :]}"
        lines.append(line)
    return "".join(lines)


def main() -> None:
    """Add the reports that are named to the file, and tell today's times on the pages."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.report.results", description=__doc__)
    parser.add_argument("reports", nargs="*", type=Path, help="report.json of runs, or what `--json` printed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to bring up to date")
    parser.add_argument("--pages", nargs="*", type=Path, default=PAGES, help="pages that tell times of runs")
    given = parser.parse_args()
    known = (
        json.loads(given.results.read_text(encoding="utf-8"))
        if given.results.is_file()
        else {"runs": [], "earlier": []}
    )
    done = add_results([read_numbers(path) for path in given.reports], known)
    given.results.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    for page in given.pages:
        page.write_text(with_times(page.read_text(encoding="utf-8"), done), encoding="utf-8")


if __name__ == "__main__":
    main()
