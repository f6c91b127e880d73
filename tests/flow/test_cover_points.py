"""Cover points: what they are, by the names in a module's text, and which of them a simulation meets."""

from pathlib import Path

import pytest

from moesaic.flow.verify.cover_points import ERRORS, cover_points, with_cover_points
from moesaic.flow.verify.coverage_points import CHECK, read_hits
from moesaic.hw.export import TOP, accelerator_verilog
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.stream.states import States
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog, verilog_modules
from moesaic.sim.build import build
from moesaic.sim.verilated import run

TEXT = """// module moesaic_thing
module moesaic_thing(
  clk, i__valid, i__ready, o__valid, o__ready
);
  input clk;
  input i__valid;
  output i__ready;
  output o__valid;
  input o__ready;
  reg [7:0] storage [1:0];
  reg [1:0] level = 2'h0;
  reg in_idle = 1'h1;
  reg in_busy = 1'h0;
  reg in_lost = 1'h0;
  wire idle_to_busy;
  reg busy_to_idle;
  wire busy_to_lost;
  wire lost_to_found;

  assign i__ready = level != 2;
  assign o__valid = level != 0;
  assign idle_to_busy = i__valid;
  assign busy_to_lost = in_busy & in_idle;
  always_comb busy_to_idle = level == 0;
  always_ff @(posedge clk) begin
    level <= level + (i__valid & i__ready) - (o__valid & o__ready);
    in_idle <= in_idle ? ~idle_to_busy : in_busy & busy_to_idle;
    in_busy <= in_idle ? idle_to_busy : in_busy & ~busy_to_idle;
  end
endmodule

// module other
module other(
  clk
);
  input clk;
  reg in_place = 1'h0;
endmodule
"""
BENCH = """
module testbench(input aclk, input push, input pop);
  wire ready, valid;
  moesaic_thing dut(.clk(aclk), .i__valid(push), .i__ready(ready), .o__valid(valid), .o__ready(pop));
endmodule
"""
STREAMS = {f"{end}_{what}" for end in "io" for what in ("moves", "waits", "starves")} | {"both_wait"}
STATES = {"state_idle", "state_busy", "state_lost", "arc_idle_to_busy", "arc_busy_to_idle", "arc_busy_to_lost"}


def test_what_a_module_must_meet() -> None:
    modules = verilog_modules(TEXT)
    points = cover_points("moesaic_thing", modules["moesaic_thing"])
    assert set(points) == STREAMS | {"empty", "full"} | STATES
    assert (points["full"], points["i_waits"], points["o_starves"]) == (
        "level == 2",
        "i__valid & ~i__ready",
        "~o__valid & o__ready",
    )
    assert points["both_wait"] == "i__valid & ~i__ready & o__valid & ~o__ready"
    assert not cover_points("other", modules["other"])  # one register of that name is no state machine
    text = with_cover_points(TEXT, ["other"])
    assert text == TEXT
    text = with_cover_points(TEXT, ["moesaic_thing"])
    assert [line for line in text.split("\n") if "cover property" not in line] == TEXT.split("\n")
    assert text.count("cover property") == len(points)


def test_what_a_simulation_meets(tmp_path: Path) -> None:
    text = with_cover_points(TEXT, ["moesaic_thing"])
    simulator = build(text + BENCH, top="testbench", extra_args=["--coverage-user"])
    here = [Path(__file__).parent]
    run(simulator, test_module="cover_bench", work_dir=tmp_path, python_path=here)
    hits = read_hits(tmp_path / "coverage.dat", text, frozenset(["moesaic_thing"]))
    assert {point.kind for point in hits} == {"cover"}
    missed = {point.place for point, hit in hits.items() if not hit}
    assert missed == {"o_starves", "state_lost", "arc_busy_to_lost"}


def _ways(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Labels of the ways out of the states of each machine, by the hardware's own description."""
    found: list[set[str]] = []
    close = States.close

    def note(states: States) -> None:
        found.append({f"arc_{start}_to_{end}" for start, end in states._ways if start != end})
        close(states)

    monkeypatch.setattr(States, "close", note)
    to_verilog(Accelerator(PRESETS["micro8"]), name=TOP, assertions=True)
    return found


def test_the_accelerator_has_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = verilog_modules(accelerator_verilog(PRESETS["micro8"], assertions=True))
    points = {name: cover_points(name, text) for name, text in modules.items() if not CHECK.search(name)}
    labels = [label for found in points.values() for label in found]
    assert sum(label.startswith("error_") for label in labels) == sum(map(len, ERRORS.values()))
    assert sum(map(len, _ways(monkeypatch))) == sum(label.startswith("arc_") for label in labels)
    machines = ("accelerator_store", "load", "loader", "fetch", "walk", "supervisor")
    for name in machines:
        assert sum(label.startswith("arc_") for label in points[f"moesaic_{name}"]) >= 3
    assert sum(label == "full" for label in labels) == sum(label == "empty" for label in labels) >= 10
