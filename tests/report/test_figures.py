"""Every count of cycles in README and docs is one that a run gave: docs/results.json keeps them."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from report.samples import a_report, a_task

from moesaic.boards.board import board_names, load_board
from moesaic.errors import InputError
from moesaic.report.results import RESULTS, add_results, plain_command, result_of, with_times

ROOT = Path(__file__).parents[2]
KNOWN: dict[str, Any] = json.loads((ROOT / RESULTS).read_text(encoding="utf-8"))
PAGES = ("README.md", "docs/results.md", "docs/status.md", "docs/verification.md", "docs/boards.md")
LARGE = 40_000  # below it are counts of other things
AGAIN = f"run it again, then: python -m moesaic.report.results out/*/report.json (keeps {RESULTS})"


def numbers(text: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(r"\b\d{1,3}(?:,\d{3})+\b", text)]


def for_each_item(entry: dict[str, Any]) -> set[int]:
    """Cycles of a program divided by its items, where it has several."""
    tasks = [task for task in entry["tasks"].values() if task["items"] > 1]
    return {round(task["cycles"] / task["items"]) for task in tasks}


@pytest.mark.parametrize("page", PAGES)
def test_every_large_number_is_a_figure_of_a_run(page: str) -> None:
    known = {cycles for entry in KNOWN["earlier"] for cycles in entry["cycles"]}
    known |= {cycles for entry in KNOWN["expected"] for cycles in entry["cycles"]}
    known |= {entry["roofline_cycles"] for entry in KNOWN["runs"]}
    for entry in KNOWN["runs"]:
        known |= {task[kind] for task in entry["tasks"].values() for kind in ("cycles", "model_cycles")}
        known |= for_each_item(entry)
    known |= {campaign["cases"] for campaign in json.loads((ROOT / "docs/signoff.json").read_text())["campaigns"]}
    known |= {int(amount) for name in board_names() for amount in load_board(name).budget.to_dict().values()}
    strange = {number for number in numbers((ROOT / page).read_text(encoding="utf-8")) if number >= LARGE} - known
    assert not strange, f"in no run: {sorted(strange)}; {AGAIN}"


def rows_of(page: str, command: str) -> list[str]:
    """Rows of tables whose last cell is a command."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("|") and line.rstrip(" |").endswith(f"`{command}`")]


@pytest.mark.parametrize("entry", KNOWN["runs"], ids=lambda entry: entry["command"])
def test_rows_are_what_their_command_gives(entry: dict[str, Any]) -> None:
    (row,) = rows_of("docs/results.md", entry["command"])
    asked = "make run" if entry["command"] == "moesaic run --task all" else entry["command"]
    tasks = list(entry["tasks"].values())
    for line in [row, *rows_of("README.md", asked)]:
        figures = [number for number in numbers(line) if number >= LARGE and number not in for_each_item(entry)]
        assert figures == [task["cycles"] for task in tasks][: len(figures)] and figures, AGAIN
        assert set(re.findall(r"\b0\.\d\d\b(?! ms)", line)) <= {f"{task['fraction']:.2f}" for task in tasks}, AGAIN


@pytest.mark.parametrize("page", PAGES)
def test_times_are_at_a_clock_that_is_supported(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert with_times(text, KNOWN) == text, "tell them anew: python -m moesaic.report.results"
    for line in text.splitlines():
        assert not re.search(r"\d ms\b", line) or " MHz" in line, f"at which clock? {line}"


def test_a_time_of_another_clock_is_found() -> None:
    entry = {"command": "run a", "board": "micro8", "memory": "board", "clock_mhz": 100.0}
    known = {"runs": [entry | {"tasks": {"a": {"cycles": 100_000}, "b": {"cycles": 200_000}}}]}
    rows = "| 100,000 and 200,000 ({}) | `run a` |\n| 100,000 ({}) | `run a` |\n"
    told = with_times(rows.format("0.1 ms at 1 MHz", "9 ms at 2 MHz"), known)
    assert told == rows.format("1.000 and 2.000 ms at 100 MHz", "1.000 ms at 100 MHz")


def test_the_readme_stays_a_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Results")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(text.splitlines()) <= 120 and 0 < len(rows) <= 6
    missing = [line for line in rows if not re.search(r"\| `[^`]+` \|$", line)]
    assert not missing, "a row names the command that gives it"


def test_the_makefile_runs_what_the_readme_says() -> None:
    assert "moesaic run $(or $(ARGS),--task all)" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_only_exact_runs_on_the_rtl_are_kept() -> None:
    report = a_report(command="moesaic run --quiet --out 'a b' --task all --json")
    known = {"runs": [{"command": "z"}], "earlier": [{"command": "moesaic run --task all", "cycles": [9]}]}
    done = add_results([report], known)
    assert [entry["command"] for entry in done["runs"]] == ["moesaic run --task all", "z"] and done["earlier"] == []
    assert done["runs"][0]["tasks"]["depth"] == {
        "cycles": 7,
        "items": 1,
        "model_cycles": 8,
        "cycles_ideal": 7,
        "fraction": 0.5,
    }
    for wrong in ({"tasks": {"depth": a_task(cycles=None)}}, {"bit_exact": False}):
        with pytest.raises(InputError, match="bit exact run on the RTL"):
            result_of(dataclasses.replace(report, **wrong))
    assert plain_command("moesaic run --out=x --model a") == "moesaic run --model a"
