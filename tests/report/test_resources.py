"""Resources in a report: what was counted before, what Yosys cannot map, and the estimate in the place of both."""

from pathlib import Path
from typing import Any

import pytest

from moesaic.boards.board import load_board
from moesaic.flow import resources, synth
from moesaic.flow.resources import report_resources
from moesaic.flow.stages import Stages
from moesaic.hw.spec.config import PRESETS

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


def ask(monkeypatch: pytest.MonkeyPatch, body: str, *, count: bool) -> dict[str, Any]:
    monkeypatch.setattr(synth, "accelerator_verilog", lambda config, **_: DESIGN % body)
    monkeypatch.setattr(resources, "known_verilog", lambda config, **_: DESIGN % body)
    return report_resources(PRESETS["zcu102"], "zcu102", QUIET, count=count)


def test_what_was_never_counted_is_estimated() -> None:
    found = report_resources(PRESETS["zcu102"], "zcu102", QUIET)
    assert found["source"] == "estimate" and "moesaic synth --board zcu102" in found["note"]
    assert found["fits"] is True and found["part"] == load_board("zcu102").part
    assert 2048 <= found["dsp"] <= 2520 and found["budget"]["dsp"] == 2520
    assert found["lut"] == sum(amount["lut"] for amount in found["units"].values())
    bare = report_resources(PRESETS["micro8"], "micro8", QUIET)
    assert bare["budget"] is None and bare["fits"] is None and bare["percent"] is None and bare["lut"] > 0


def test_counts_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, "i ^ 3", count=False)["source"] == "estimate"
    counted = ask(monkeypatch, "i ^ 3", count=True)
    assert counted["source"] == "synthesis" and counted["ff"] == 16 and not counted["incomplete"] and counted["fits"]
    assert ask(monkeypatch, "i ^ 3", count=False) == counted
    assert ask(monkeypatch, "i ^ 5", count=False)["source"] == "estimate"  # another design


def test_a_module_that_yosys_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask(monkeypatch, "nothing(i)", count=True)
    assert found["incomplete"] and list(found["unmapped"]) == ["broken"] and found["fits"] is None
    assert found["ff"] == 8  # of the other
