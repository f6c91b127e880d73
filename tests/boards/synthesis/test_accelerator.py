"""A whole accelerator synthesised; what cannot be mapped, what does not fit, what is missing."""

import importlib.metadata
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.boards.board import board_names, load_board
from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.budget import Fit, candidates, largest_fitting
from moesaic.boards.synthesis.mapping import SynthesisFailed, SynthesisMissing, run_yosys
from moesaic.boards.synthesis.modules import split_modules
from moesaic.boards.synthesis.synthesise import Synthesis, synthesise, synthesise_verilog
from moesaic.children import Children
from moesaic.errors import InputError
from moesaic.flow.stages import Stages
from moesaic.flow.synth import fit_report, synth, write_page
from moesaic.hw.spec.presets import PRESETS

MICRO = PRESETS["micro8"]
GOOD = """module accelerator(clk, i, o);
  input clk;
  input [7:0] i;
  output [7:0] o;
  reg [7:0] o;
  wire [7:0] t;
  \\broken  part (
    .clk(clk),
    .i(i),
    .o(t)
  );
  always @(posedge clk) o <= t + 8'h01;
endmodule
"""
PART = """module broken(clk, i, o);
  input clk;
  input [7:0] i;
  output [7:0] o;
  reg [7:0] o;
  {body}
endmodule
"""


@pytest.fixture(scope="module")
def micro() -> Synthesis:
    return synthesise(MICRO, family="zynqmp", uram=False)


@pytest.mark.slow  # until its modules are cached
def test_every_module_is_mapped_and_the_units_add_up(micro: Synthesis) -> None:
    assert micro.complete
    total = Resources()
    for amount in micro.units.values():
        total = total + amount
    assert total == micro.total


@pytest.mark.slow  # until its modules are cached
def test_products_and_memories_are_those_of_a_calculation(micro: Synthesis) -> None:
    units = micro.units
    assert units["array"].dsp == MICRO.rows * MICRO.lanes // 2  # two products each
    assert units["requantisers"].dsp == MICRO.rows + 1  # and one for the extra key
    assert units["extra key"].dsp == MICRO.lanes
    # Blocks of 512 x 64: activations 4160 x 64, keys and values 2176 x 64, residual 1088 x 128; maxima 4160 x 9, halves
    # of 2048 x 9.
    memories = 9 + 5 + 3 * 2 + 3 * 0.5
    small = units["memories and core"].bram36 - memories
    assert 0 <= small <= 4  # LayerNorm sums, softmax state
    assert units["weight stream"].bram36 == 2  # 256 words of 16 bytes: 512 x 72, twice


@pytest.mark.slow  # until its modules are cached
def test_paths_are_found_and_named(micro: Synthesis) -> None:
    found = micro.timing(10)
    assert len(found.paths) == 10
    delays = [path.delay for path in found.paths]
    assert delays == sorted(delays, reverse=True)
    for path in found.paths:
        assert path.delay == pytest.approx(sum(step.net + step.cell for step in path.steps))
        assert path.module.startswith("accelerator") or path.module in micro.modules
    assert {"s_axil_wdata", "m_axi_w0_rdata"} <= found.inputs.keys()
    assert "m_axi_w0_araddr" in found.outputs


def test_a_module_that_yosys_refuses_is_named_and_the_rest_is_counted(tmp_path: Path) -> None:
    wrong = synthesise_verilog(
        GOOD + PART.format(body="always @(posedge clk) o <= nothing(i);"), family="zynqmp", uram=False, cache=tmp_path
    )
    assert not wrong.complete
    assert list(wrong.failures) == ["broken"]
    assert "nothing" in wrong.failures["broken"]
    assert wrong.total.ff == 8
    with pytest.raises(ValueError, match="every module must be mapped for paths, but 'broken' is not"):
        wrong.timing()
    latch = synthesise_verilog(
        GOOD + PART.format(body="always @* if (clk) o = i;"), family="zynqmp", uram=False, cache=tmp_path
    )
    assert list(latch.failures) == ["broken"]
    assert "cells must be mapped to a device that is known here, not 'LD" in latch.failures["broken"]


def test_results_are_found_again(tmp_path: Path) -> None:
    text = GOOD + PART.format(body="always @(posedge clk) o <= i ^ {i[0], i[7:1]};")
    first = synthesise_verilog(text, family="zynqmp", uram=False, cache=tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert len(files) == 9  # counts, netlist, record and lock of two modules; when old ones were looked for
    second = synthesise_verilog(text, family="zynqmp", uram=False, cache=tmp_path)
    assert second.total == first.total == Resources(lut=first.total.lut, ff=16)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files
    # A damaged entry is made again.
    for path in files:
        path.write_bytes(b"{")
    assert synthesise_verilog(text, family="zynqmp", uram=False, cache=tmp_path).total == first.total


def test_what_runs_can_be_stopped() -> None:
    modules = split_modules(PART.format(body="always @(posedge clk) o <= i;"))
    children = Children()
    with ThreadPoolExecutor(max_workers=1) as pool:
        started = time.monotonic()
        running = pool.submit(run_yosys, children, ["broken"], modules, ["exec -- sleep 300"])
        while not children.running and not running.done():
            time.sleep(0.05)
        children.stop()
        with pytest.raises(SynthesisFailed, match="Yosys ended with status -9 on broken"):
            running.result()
        assert time.monotonic() - started < 100
        with pytest.raises(SynthesisFailed):
            run_yosys(children, ["broken"], modules, ["exec -- sleep 300"])  # nothing begins any more


def test_without_yosys_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(SynthesisMissing, match=r"synthesis needs Yosys as a library; type: pip install pyosys"):
        synthesise_verilog(
            GOOD + PART.format(body="always @(posedge clk) o <= i;"), family="zynqmp", uram=False, cache=tmp_path
        )


# --- fit ---


def test_a_bare_accelerator_is_held_against_every_board_of_its_family() -> None:
    text = GOOD + PART.format(body="always @(posedge clk) o <= i ^ {i[0], i[7:1]};")
    small = synthesise_verilog(text, family="zynqmp", uram=False)
    boards = {name for name in board_names() if load_board(name).system.fabric == "zynqmp"}
    assert fit_report(small, MICRO, None)["fits_on"] == dict.fromkeys(boards, True)
    huge = replace(small, places={name: 10**6 * count for name, count in small.places.items()})
    assert fit_report(huge, MICRO, None)["fits_on"] == dict.fromkeys(boards, False)
    unknown = replace(small, failures={"broken": "not mapped"})
    assert fit_report(unknown, MICRO, None)["fits_on"] == dict.fromkeys(boards, None)


def test_each_resource_against_the_budget() -> None:
    fit = Fit(Resources(lut=50, ff=120, dsp=3, bram36=1.5), Resources(lut=100, ff=100, dsp=4, bram36=10))
    assert not fit.fits
    assert [(line.title, line.percent, line.excess) for line in fit.lines] == [
        ("LUT", 50.0, 0),
        ("FF", 120.0, 20),
        ("DSP", 75.0, 0),
        ("BRAM36", 15.0, 0),
        ("URAM", 0.0, 0),
    ]
    assert Fit(Resources(uram=1), Resources()).lines[-1].percent == float("inf")


@pytest.mark.slow  # until its modules are cached
def test_too_large_says_what_by_how_much_and_what_would_fit(micro: Synthesis) -> None:
    total = micro.total
    board = load_board("zcu102")
    small = board.replace(
        budget=Resources(lut=total.lut, ff=total.ff, dsp=total.dsp, bram36=total.bram36), accelerator=PRESETS["zcu102"]
    )
    names = [config.name for config in candidates(small, PRESETS["zcu102"])]
    assert "micro8" in names and "zcu102" not in names  # larger ones are ruled out by what they need at least
    best = largest_fitting(small.replace(budget=total), MICRO.replace(rows=8, lanes=16, name="x"))
    assert best is not None and best[0].name == "micro8"
    assert largest_fitting(board.replace(budget=Resources(lut=1)), MICRO) is None
    report = fit_report(
        micro,
        MICRO,
        board.replace(budget=Resources(lut=total.lut - 5, ff=total.ff, dsp=total.dsp, bram36=total.bram36)),
    )
    assert report["fits"] is False
    assert report["excess"] == {"lut": 5}


@pytest.mark.slow  # until its modules are cached
def test_the_stage_writes_what_it_says(tmp_path: Path, micro: Synthesis) -> None:
    report = synth(MICRO, None, Stages(quiet=True), timing=3, out=tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "synthesis.json").read_text())
    assert saved == json.loads(json.dumps(report))
    assert saved["resources"]["lut"] == micro.total.lut
    timing = saved["timing"]
    assert len(timing["paths"]) == 3
    assert timing["asked_mhz"] == 300
    assert 0 < timing["pessimistic_mhz"] < timing["optimistic_mhz"]
    assert all(path["optimistic_ns"] < path["delay_ns"] for path in timing["paths"])
    assert ("pessimistic" in timing["warning"]) == (timing["pessimistic_mhz"] < 300 <= timing["optimistic_mhz"])
    assert "## 1: " in (tmp_path / "out" / "timing.md").read_text()
    page = tmp_path / "page.md"
    page.write_text("# A\n<!-- synth micro8 -->\nold\n<!-- end micro8 -->\nafter\n")
    write_page(page, report)
    text = page.read_text()
    assert "old" not in text and text.endswith("<!-- end micro8 -->\nafter\n")
    assert f"| **total** | {micro.total.lut:,} |" in text
    page.write_text("# A\n")
    with pytest.raises(InputError, match=r"must have the lines <!-- synth micro8 --> and <!-- end micro8 -->"):
        write_page(page, report)
