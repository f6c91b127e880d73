"""A Vivado build beside a report: ratios, the file that keeps them, the page, and the command."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from report.samples import a_report, a_task
from typer.testing import CliRunner
from vivadoreports import pynq_z2, write_build

from moesaic.boards.board import load_board
from moesaic.boards.resources import Resources
from moesaic.boards.vendor.report_text import VendorError
from moesaic.cli import app
from moesaic.errors import InputError
from moesaic.flow.energy import MeanPower
from moesaic.golden.image_io import write_image
from moesaic.report import html
from moesaic.report.chart import Chart
from moesaic.report.model import Report
from moesaic.report.stored import DATA, INPUT, write_report
from moesaic.report.task_model import ModelCycles
from moesaic.report.vivado import FILE, Comparison, compare, comparison_text, read_comparison

BOARD = load_board("pynq-z2")
CYCLES = {part: ModelCycles(8, None) for part in ("embed", "blocks.0", "result", "image")}


def the_report() -> Report:
    """Of a run for the PYNQ-Z2."""
    amount = Resources(lut=27_000, ff=31_020, dsp=180, bram36=90)
    resources = dataclasses.replace(
        a_report().resources, **amount.to_dict(), board="pynq-z2", judged_by="pynq-z2", part=BOARD.part
    )
    return a_report(
        board="pynq-z2",
        board_origin="pynq-z2",
        accelerator=BOARD.accelerator,
        config_hash=BOARD.accelerator.hash,
        clock_mhz=80.0,
        resources=resources,
        timing=dataclasses.replace(a_report().timing, pessimistic_mhz=80.0, optimistic_mhz=120.0),
        tasks={"depth": a_task(power_w=MeanPower(static=0.2, dynamic=0.4, ddr=0.3))},
    )


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A result folder and a build; its pictures are not drawn, which takes long."""
    result, build = tmp_path / "result", tmp_path / "build"
    result.mkdir()
    # Without energies, of which the page says much that a sample lacks.
    write_report(dataclasses.replace(the_report(), tasks={"depth": a_task(model_cycles=CYCLES)}), result)
    np.savez(result / DATA)
    write_image(result / INPUT, np.zeros((3, 8, 8), np.uint8))
    write_build(pynq_z2(), build)
    monkeypatch.setattr(html, "task_charts", lambda *_: ())
    monkeypatch.setattr(Chart, "write", lambda chart, folder: "<svg/>")
    return result, build


def figures(comparison: Comparison) -> dict[str, tuple[float | None, float, float | None]]:
    return {figure.kind: (figure.estimated, figure.measured, figure.ratio) for figure in comparison.figures}


def test_ratios(folders: tuple[Path, Path]) -> None:
    comparison = compare(the_report(), folders[1])
    assert figures(comparison) == {
        "lut": (27_000, 29_700, 1.1),
        "ff": (31_020, 31_020, 1.0),
        "dsp": (180, 180, 1.0),
        "bram36": (90, 89.5, 0.9944),
        "uram": (0, 0, None),
        "clock_long_nets": (80.0, 108.0147, 1.3502),
        "clock_short_nets": (120.0, 108.0147, 0.9001),
        "power_dynamic": (0.5, 0.701, 1.402),  # 0.4 W at 80 MHz are 0.5 W at the build's 100
        "power_static": (0.2, 0.158, 0.79),
        "power": (0.7, 0.859, 1.2271),
    }
    assert [figure.difference for figure in comparison.figures][:5] == ["+10.0 %", "+0.0 %", "+0.0 %", "-0.6 %", "–"]
    assert comparison.measured.met and comparison.measured.chip_w == 2.271
    assert [doubt.split(":")[0] for doubt in comparison.doubts] == ["power is from Vivado's default toggle rates"]


def test_what_is_given_away_names_no_machine(folders: tuple[Path, Path]) -> None:
    text = comparison_text(compare(the_report(), folders[1]))
    assert str(folders[1]) not in text and "Ubuntu" not in text and "here" not in text


def test_nothing_is_lost(folders: tuple[Path, Path]) -> None:
    result, build = folders
    comparison = compare(the_report(), build)
    (result / FILE).write_text(comparison_text(comparison), encoding="utf-8")
    assert read_comparison(result, the_report()) == comparison


def without_power(build: Path) -> None:
    (build / "build" / "power.txt").unlink()
    (build / "build" / "pynq-z2.hwh").unlink()


def not_listed(build: Path) -> None:
    path = build / "build" / "power.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("  accelerator_0", "  another_0    "), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "doubts", "last"),
    [
        (without_power, ["there is no report of power", "there is no handoff file"], "clock_short_nets"),
        (not_listed, ["the report of power does not list the accelerator", "power is from"], "power_static"),
    ],
)
def test_what_is_not_known_is_said(
    change: Callable[[Path], None], doubts: list[str], last: str, folders: tuple[Path, Path]
) -> None:
    change(folders[1])
    comparison = compare(the_report(), folders[1])
    assert list(figures(comparison))[-1] == last
    for doubt, begin in zip(comparison.doubts, doubts, strict=True):
        assert doubt.startswith(begin)


def test_command(folders: tuple[Path, Path]) -> None:
    result, build = folders
    done = CliRunner().invoke(app, ["report", str(result), "--vivado", str(build)])
    assert done.exit_code == 0, done.stderr
    assert "+10.0 %" in done.stdout and "1.100" in done.stdout and "timing of clk_fpga_0 met" in done.stdout
    page = (result / "report.html").read_text(encoding="utf-8")
    assert 'href="#vivado"' in page and "+10.0 %" in page and "Vivado 2020.2" in page
    assert json.loads((result / FILE).read_text(encoding="utf-8"))["figures"][0]["ratio"] == 1.1
    again = CliRunner().invoke(app, ["report", str(result)])  # the folder keeps it
    assert again.exit_code == 0 and (result / "report.html").read_text(encoding="utf-8") == page
    asked = CliRunner().invoke(app, ["report", str(result), "--vivado", str(build), "--json"])
    assert json.loads(asked.stdout) == json.loads((result / FILE).read_text(encoding="utf-8"))
    alone = CliRunner().invoke(app, ["report", str(result), "--json"])
    assert alone.exit_code == 2 and "json must come with --vivado" in alone.stderr


def test_a_damaged_build_leaves_the_folder_as_it_was(folders: tuple[Path, Path]) -> None:
    result, build = folders
    path = build / "build" / "timing.txt"
    path.write_text(path.read_text(encoding="utf-8")[:2_000], encoding="utf-8")
    before = {file: file.read_bytes() for file in result.iterdir()}
    done = CliRunner().invoke(app, ["report", str(result), "--vivado", str(build)])
    assert done.exit_code == 2 and "timing.txt, line " in done.stderr and done.stderr.count("\n") == 1
    assert {file: file.read_bytes() for file in result.iterdir()} == before


def test_builds_of_something_else(folders: tuple[Path, Path]) -> None:
    result, build = folders
    with pytest.raises(InputError, match="a run that is compared with Vivado must be for a board, not for 'micro8'"):
        compare(a_report(), build)
    with pytest.raises(VendorError, match="the device must be xczu9eg-ffvb1156-2-e, as zcu102 has"):
        compare(dataclasses.replace(the_report(), board_origin="zcu102"), build)
    with pytest.raises(InputError, match="vivado must be a build of configuration 0{12}, as the run has"):
        compare(dataclasses.replace(the_report(), config_hash="0" * 64), build)
    other = dataclasses.replace(compare(the_report(), build), config_hash="0" * 64)
    (result / FILE).write_text(comparison_text(other), encoding="utf-8")
    with pytest.raises(InputError, match="must be of this run's accelerator: remove it"):
        read_comparison(result, the_report())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": 1', '"format": 2', "comparison.format must be 1, not 2"),
        ('"kind": "ff"', '"kind": "lut"', "kinds of comparison.figures must differ"),
        ('"kind": "ff"', '"kind": "<b>"', r"figures\[1\].kind must be 'lut' or"),
        ('"vivado": "2020.2"', '"vivado": "<script>"', "comparison.vivado must be a version of Vivado"),
        ('"met": true', '"met": 1', "comparison.measured.met must be true or false"),
        ('"rows": 8', '"rows": 7', "rows must be"),
    ],
)
def test_a_damaged_file_is_refused(old: str, new: str, message: str, folders: tuple[Path, Path]) -> None:
    result, build = folders
    text = comparison_text(compare(the_report(), build))
    assert old in text
    (result / FILE).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_comparison(result, the_report())
