"""Resources in a report: what was counted before, what Yosys cannot map, and the estimate in the place of both."""

import dataclasses
from pathlib import Path

import pytest

from moesaic.boards import estimate
from moesaic.boards.board import load_board
from moesaic.boards.estimate import counted, shipped
from moesaic.flow import resources, synth
from moesaic.flow.resources import ReportedResources, judge, report_resources
from moesaic.flow.stages import Stages
from moesaic.hw.spec.presets import PRESETS

DESIGN = """module accelerator(clk, i, o);
  input clk;
  input [7:0] i;
  output [7:0] o;
  reg [7:0] o;
  wire [7:0] t;
  broken  part (
    .clk(clk),
    .i(i),
    .o(t)
  );
  always @(posedge clk) o <= t + 8'h01;
endmodule
module broken(clk, i, o);
  input clk;
  input [7:0] i;
  output [7:0] o;
  reg [7:0] o;
  always @(posedge clk) o <= %s;
endmodule
"""
QUIET = Stages(quiet=True)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(resources, "shipped", lambda config, **_: None)


def ask(monkeypatch: pytest.MonkeyPatch, body: str, *, count: bool) -> ReportedResources:
    monkeypatch.setattr(synth, "accelerator_verilog", lambda config, **_: DESIGN % body)
    monkeypatch.setattr(resources, "known_verilog", lambda config, **_: DESIGN % body)
    return report_resources(PRESETS["zcu102"], "zcu102", QUIET, count=count)


def test_what_was_never_counted_is_estimated() -> None:
    found = report_resources(PRESETS["zcu102"], "zcu102", QUIET)
    assert found.source == "estimate" and "`--resources`" in found.note
    assert found.fits is True and found.part == load_board("zcu102").part
    assert 2048 <= found.dsp <= 2520 and found.budget.dsp == 2520
    assert found.lut == sum(amount.lut for amount in found.units.values())


@pytest.mark.parametrize(
    ("name", "board", "fits"),
    [("micro8", "kv260", True), ("zcu102-small", "zcu102", True), ("zcu102-wide", "zcu102", True)],
)
def test_a_preset_that_is_no_board_is_held_against_one(name: str, board: str, fits: bool) -> None:
    found = report_resources(PRESETS[name], name, QUIET)
    assert (found.board, found.judged_by, found.fits) == (name, board, fits)
    assert found.budget.lut == load_board(board).budget.lut and found.part == load_board(board).part
    assert found.percent["bram36"] == round(100 * found.bram36 / found.budget.bram36, 1)


def test_every_preset_is_judged() -> None:
    assert {type(report_resources(config, name, QUIET).fits) for name, config in PRESETS.items()} == {bool}


def test_what_no_board_holds_is_held_against_the_largest() -> None:
    huge = dataclasses.replace(PRESETS["micro16"], name="huge", rows=64, lanes=64, activation_words=1 << 16)
    assert judge(huge, "huge").name == "zcu102"
    assert report_resources(huge, "", QUIET).fits is False


def test_counts_that_came_along_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(entry for entry in counted() if entry.config.name == "zcu102")
    monkeypatch.setattr(resources, "shipped", shipped)
    monkeypatch.setattr(estimate, "hardware_digest", lambda: entry.hardware)
    found = report_resources(dataclasses.replace(PRESETS["zcu102"], clock_mhz=200), "zcu102", QUIET)
    assert found.source == "synthesis" and found.lut == entry.total.lut
    monkeypatch.setattr(estimate, "hardware_digest", lambda: "another")
    assert report_resources(PRESETS["zcu102"], "zcu102", QUIET).source == "estimate"


def test_counts_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, "i ^ 3", count=False).source == "estimate"
    counted = ask(monkeypatch, "i ^ 3", count=True)
    assert counted.source == "synthesis" and counted.ff == 16 and not counted.incomplete and counted.fits
    assert ask(monkeypatch, "i ^ 3", count=False) == counted
    assert ask(monkeypatch, "i ^ 5", count=False).source == "estimate"  # another design


def test_a_module_that_yosys_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask(monkeypatch, "nothing(i)", count=True)
    assert found.incomplete and list(found.unmapped) == ["broken"] and found.fits is True
    assert found.ff == 8  # of the other
