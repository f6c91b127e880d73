"""Mutants: made by Yosys behind a number, proved equivalent or tried in forks of one simulation, and sorted."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from moesaic.errors import FailedRun
from moesaic.flow.verify.equivalence import prove, prove_over_cycles
from moesaic.flow.verify.host_trials import host_trials
from moesaic.flow.verify.ladder import Truth
from moesaic.flow.verify.memory_writes import only_what_is_written
from moesaic.flow.verify.mutants import Climb, Mutant, watched
from moesaic.flow.verify.mutation import check_truths, sort
from moesaic.flow.verify.mutator import mutants_wanted
from moesaic.flow.verify.nano import nano
from moesaic.flow.verify.passes import run_passes
from moesaic.flow.verify.trial import Trial, runs_trial
from moesaic.sim.build import build
from moesaic.sim.verilated import run

DESIGN = """(* src = "hw/adder.py:1" *)
module adder(clk, a, b, o);
  input clk;
  input [3:0] a;
  input [3:0] b;
  output [3:0] o;
  (* src = "hw/adder.py:7" *)
  reg [3:0] o;
  always @(posedge clk) o <= a + b;
  always @* assert (a != 4'd15);
endmodule
"""
KNOWN = """module top(input clk, input [15:0] mutant, input [15:0] a, input b, output reg [3:0] o = 0);
  reg fixed = 0;
  wire unused = mutant == 1 ? ~b : b;
  wire tied = mutant == 2 ? a[0] & fixed : 1'b0;
  wire real_one = mutant == 3 ? ~a[1] : a[1];
  wire redundant = mutant == 4 ? a[2] : (a[2] & b) | (a[2] & ~b);
  wire rare = mutant == 5 ? a == 16'hBEEF : 1'b0;
  always @(posedge clk) begin
    fixed <= fixed & b;
    o <= {rare, redundant, real_one, tied};
    assert (unused == b);
  end
endmodule
"""

# Mutant 1 shows if both of `even` and `odd` are 1, two cycles later; 2 in `left`, where `right` is 1 too; 3 only while
# `young`; 4 in `left` without `right`; 5 in `idle`, which counts a cycle after `used`; 6 before; 7 in what keeps it.
STATES = """module top(input clk, input [15:0] mutant, input a, input b, output reg [5:0] o = 0);
  reg even = 0, odd = 0, even_later = 0, odd_later = 0, left = 0, right = 0, young = 1, idle = 0, used = 0, kept = 0;
  reg early = 0, kept_used = 0;
  always @(posedge clk) begin
    even <= a & b; odd <= a & ~b; even_later <= even; odd_later <= odd;
    o[0] <= even_later & odd_later & mutant == 1 | a;
    left <= (mutant == 2 & a & b) | (mutant == 4 & b) | (a & ~b);
    right <= a & b;
    o[1] <= left | right;
    young <= 0;
    o[2] <= young & mutant == 3;
    used <= a;
    idle <= a ? b : (mutant == 5) ^ b;
    o[3] <= used & idle;
    early <= b ? a : (mutant == 6) ^ a;
    o[4] <= used & early;
    kept <= kept ^ b ^ (mutant == 7 & a);
    kept_used <= ~a;
    o[5] <= kept_used & kept;
  end
endmodule
"""

# o = stop ? 0 : stop ? x : go. Mutant 1 never takes the first side, mutant 2 always.
NESTED = """module \\top
  wire input 1 \\clk
  wire width 16 input 2 \\mutant
  wire input 3 \\stop
  wire input 4 \\start
  wire output 5 \\o
  wire \\first
  wire \\second
  wire \\go
  wire \\outer
  wire \\never
  wire \\always
  wire \\inner
  cell $eq \\c1
    parameter \\A_SIGNED 0
    parameter \\A_WIDTH 16
    parameter \\B_SIGNED 0
    parameter \\B_WIDTH 16
    parameter \\Y_WIDTH 1
    connect \\A \\mutant
    connect \\B 16'0000000000000001
    connect \\Y \\first
  end
  cell $eq \\c2
    parameter \\A_SIGNED 0
    parameter \\A_WIDTH 16
    parameter \\B_SIGNED 0
    parameter \\B_WIDTH 16
    parameter \\Y_WIDTH 1
    connect \\A \\mutant
    connect \\B 16'0000000000000010
    connect \\Y \\second
  end
  cell $_ANDNOT_ \\c3
    connect \\A \\start
    connect \\B \\stop
    connect \\Y \\go
  end
  cell $_ANDNOT_ \\c4
    connect \\A \\stop
    connect \\B \\first
    connect \\Y \\never
  end
  cell $_OR_ \\c5
    connect \\A \\never
    connect \\B \\second
    connect \\Y \\always
  end
  cell $mux \\c6
    parameter \\WIDTH 1
    connect \\A \\go
    connect \\B 1'x
    connect \\S \\stop
    connect \\Y \\inner
  end
  cell $mux \\c7
    parameter \\WIDTH 1
    connect \\A \\inner
    connect \\B 1'0
    connect \\S \\always
    connect \\Y \\o
  end
end
"""

READ = """module top(input clk, input [15:0] mutant, input [1:0] a, input b, output reg o = 0, output reg p = 0);
  reg [3:0] partly = 0;
  reg fixed = 0, first = 0, second = 0;
  wire [1:0] twice = fixed ? {second, first} : 2'd0;
  always @(posedge clk) begin
    partly <= {mutant == 1 ? ~partly[3] : partly[3] ^ a[1], partly[2:1], mutant == 2 ? ~a[0] : a[0]};
    o <= partly[0];
    fixed <= mutant == 3 ? b : fixed & b;
    first <= mutant == 4 ? ~a[1] : a[1];
    second <= first ^ (mutant == 5);
    p <= ^twice ^ (mutant == 6 ? second : a[0]);
  end
endmodule
"""


def test_mutants_of_a_small_design(tmp_path: Path) -> None:
    """All in one text, none of the checks changed, each with its line; the same seed gives the same ones."""
    (tmp_path / "source.sv").write_text(DESIGN)
    job = {"source": "source.sv", "out": "out.sv", "list": "list.txt", "top": "adder", "count": "12", "seed": "3"}
    job["design"] = "out.il"
    for _ in range(2):
        command = [sys.executable, "-m", "moesaic.flow.verify.mutator"]
        done = subprocess.run(command, input=json.dumps(job), text=True, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        texts = (tmp_path / "out.sv").read_text(), (tmp_path / "list.txt").read_text()
    mutants = [Mutant.of(line) for line in texts[1].splitlines()]
    assert len(mutants) == 12 and {mutant.module for mutant in mutants} == {"adder"}
    assert all(place.startswith("hw/adder.py:") for mutant in mutants for place in mutant.places)
    assert any(mutant.places for mutant in mutants) and len(set(map(str, mutants))) == 12
    text = watched(texts[0])
    assert text.count("testbench.reached[") == 12 and "input [15:0] mutant" in text
    assert all(f"testbench.reached[{number}] = 1;" in text for number in range(1, 13))
    clocks = [n for n, mutant in enumerate(mutants, start=1) if mutant.wire == "clk[0]"]
    assert all(f"if (1) testbench.reached[{n}]" in text for n in clocks)


def test_reads_without_a_clock_have_no_enable() -> None:
    """Yosys writes no Verilog of one that has: such mutants make place for others, and numbers have no gap."""
    read = "mutate -ctrl mutant 16 {} -mode inv -module m -cell $memrd$\\kept$a.sv:1$2 -port {} -portbit 0"
    commands = [read.format(k + 1, port) for k, port in enumerate(("DATA", "EN", "ADDR", "CLK", "DATA", "ADDR"))]
    wanted = [read.format(k + 1, port) for k, port in enumerate(("DATA", "ADDR", "DATA"))]
    assert mutants_wanted("\n".join(commands), 3) == "".join(f"{command}\n" for command in wanted)


def test_a_mutant_by_its_command() -> None:
    line = (
        "mutate -ctrl mutant 16 4 -mode cnot1 -module moesaic_feeder -cell $add$1 -port A -portbit 3 -ctrlbit 2 "
        "-wire next -wirebit 5 -src hw/engine/feeder.py:39 -src source.sv:9.2-9.7 -src hw/engine/feeder.py:39"
    )
    assert str(Mutant.of(line)) == "cnot1 of feeder.next[5] (hw/engine/feeder.py:39)"
    line = (
        "mutate -ctrl mutant 16 5 -mode inv -module moesaic_gate -cell $and$1 -port Y -portbit 0 -src source.sv:1.1-1.2"
    )
    assert str(Mutant.of(line)) == "inv of gate.Y[0] (no line)"


def test_what_is_proved_equivalent(tmp_path: Path) -> None:
    """Logic that only a check looks at, behind a constant register, and redundant; but not a difference in one of
    65,536 cases.
    """
    (tmp_path / "known.v").write_text(KNOWN)
    passes = ["read_verilog -sv known.v", "proc", "write_rtlil known.il"]
    run_passes(passes, cwd=tmp_path, what="read")
    assert prove(tmp_path / "known.il", top="top", count=5, work=tmp_path) == [1, 2, 4]


def test_proofs_over_several_cycles(tmp_path: Path) -> None:
    """What differs in states that are never, or in a register that nothing sees then; not what differs in the first
    cycles only, in a register that is seen, or that keeps the difference.
    """
    (tmp_path / "known.v").write_text(STATES)
    passes = ["read_verilog -sv known.v", "proc", "write_rtlil known.il"]
    run_passes(passes, cwd=tmp_path, what="read")
    assert prove(tmp_path / "known.il", top="top", count=7, work=tmp_path) == []
    asked = range(1, 8)
    assert prove_over_cycles(tmp_path / "known.il", top="top", count=7, mutants=asked, work=tmp_path) == [1, 2, 5]


def test_an_undefined_side_of_a_choice_is_the_other(tmp_path: Path) -> None:
    """A `case` in a `case` looks at the same bit twice; where it does not matter which way the outer one goes, the
    inner one says it, and what that has where it is never looked at counts for nothing.
    """
    (tmp_path / "known.il").write_text(NESTED)
    assert prove(tmp_path / "known.il", top="top", count=2, work=tmp_path) == [1]


def test_what_nobody_reads_is_no_difference(tmp_path: Path) -> None:
    """A bit of a register behind which there is nothing; registers that are looked at while a constant one is 1. But
    not a neighbour of such a bit, nor what makes that register no constant, nor what reads the others all the same.
    """
    (tmp_path / "read.v").write_text(READ)
    run_passes(["read_verilog -sv read.v", "proc", "write_rtlil read.il"], cwd=tmp_path, what="read")
    assert prove(tmp_path / "read.il", top="top", count=6, work=tmp_path) == [1, 4, 5]


def test_a_memory_takes_what_it_writes() -> None:
    """Two write ports of two bits, one with an enable for each bit, in every case: 0 in place of what is not written,
    and the address while anything is.
    """
    enable, data, address = [2, 3, 4, 4], [5, 6, 7, "1"], [8, 9, 8, 10]
    pins = {"WR_EN": enable, "WR_DATA": data, "WR_ADDR": address, "RD_DATA": [11]}
    memory = {"type": "$mem_v2", "parameters": {"WIDTH": "10", "ABITS": "10"}, "connections": pins}
    cells = only_what_is_written({"cells": {"m": memory, "other": {"type": "$_NOT_", "connections": {"A": [20]}}}})[
        "cells"
    ]
    taken, gates = (
        cells.pop("m")["connections"],
        [cell["connections"] | {"type": cell["type"]} for cell in cells.values()],
    )
    assert taken["RD_DATA"] == [11] and min(gate["Y"][0] for gate in gates if "Y" in gate) > 20
    for case in range(1 << 9):
        nets: dict[object, int] = {"1": 1} | {net: case >> net - 2 & 1 for net in range(2, 11)}
        for gate in gates[1:]:
            (a,), (b,) = gate["A"], gate["B"]
            nets[gate["Y"][0]] = nets[a] & nets[b] if gate["type"] == "$_AND_" else nets[a] | nets[b]
        assert [nets[net] for net in taken["WR_DATA"]] == [nets[e] & nets[d] for e, d in zip(enable, data, strict=True)]
        written = [nets[2] | nets[3]] * 2 + [nets[4]] * 2
        assert [nets[net] for net in taken["WR_ADDR"]] == [w & nets[a] for w, a in zip(written, address, strict=True)]


def test_trials_in_forks(tmp_path: Path) -> None:
    """Each mutant is noticed where it first can be, by what differs, and none has anything of the one before."""
    trials = [
        Trial("first", (("write", 0, 5), ("irq",), ("pin",), ("read", 0), ("idle",))),
        Trial("second", (("poke", 16, "00" * 16), ("write", 0, 9), ("wait", 20), ("pin",), ("dump", 0, 16), ("bus",))),
    ]
    first, second = _outcomes(trials, [1, 2, 3, 4, 5, 6, 7], tmp_path)
    assert first["reached"] == [1, 2, 3, 4, 7] and second["reached"] == [1, 2, 3, 4, 5, 6, 7]
    assert first["found"] == [[1, "read 0"], [2, "irq"], [3, "write 0"], [4, "same"], [7, "irq"]]
    assert second["found"] == [[4, "dump 0"], [5, ""], [6, "pin"], [0, "same"]]
    assert (tmp_path / "right_1.bin").read_text() == f"{7:032x}"


def _outcomes(trials: list[Trial], mutants: list[int], folder: Path) -> list[dict[str, object]]:
    """Of the bench."""
    job = {"mutants": mutants, "trials": [asdict(trial) for trial in trials], "base": 0, "limit": 100}
    (folder / "job.json").write_text(json.dumps(job))
    env = {"MOESAIC_JOB": str(folder / "job.json")}
    simulator = build(Path(__file__).with_name("mutants_bench.sv").read_text(), top="testbench")
    run(simulator, test_module="moesaic.flow.verify.mutant_run", work_dir=folder, env=env, timeout_s=300)
    found: list[dict[str, object]] = json.loads((folder / "outcome.json").read_text())
    return found


def test_counters_carry(tmp_path: Path) -> None:
    """Through all their bits, the highest of which nothing else reaches."""
    before = Trial("short", (("wait", 3), ("read", 8)))
    outcomes = _outcomes([before, Trial("carry", (("counters", (1 << 63) - 1), *before.steps))], [8], tmp_path)
    assert [outcome["reached"] for outcome in outcomes] == [[8], [8]]
    assert [outcome["found"] for outcome in outcomes] == [[[8, "same"]], [[8, "read 8"], [0, "same"]]]


def test_a_register_that_must_have_a_value(tmp_path: Path) -> None:
    """Of the right hardware it is known, of a mutant it is looked at as by any read."""
    write = ("write", 0, 5)
    good = [Trial("known", (write, ("expect", 0, 5, True), ("expect", 0, 4, False)))]
    assert _outcomes(good, [1], tmp_path)[0]["found"] == [[1, "expect 0"], [0, "same"]]
    for wrong in (("expect", 0, 4, True), ("expect", 0, 5, False)):
        with pytest.raises(FailedRun, match="must"):
            _outcomes([Trial("wrong", (write, wrong))], [1], tmp_path)


def test_how_mutants_are_sorted() -> None:
    climb = Climb({2: (0, "irq"), 3: (1, ""), 4: (1, "read 20")}, {5: (0, 1), 6: ()})
    assert sort(range(1, 7), frozenset({1}), climb, ["a run", "host"]) == {
        1: "proved equivalent",
        2: "noticed: a run",
        3: "noticed: an assertion, or the end of the simulation",
        4: "noticed: host",
        5: "not noticed",
        6: "not reached by any trial",
    }


def test_the_right_hardware_is_held_to_the_golden_model(tmp_path: Path) -> None:
    network = nano()
    program, region = network.program, network.program.region("result")
    memory = bytearray(program.memory)
    good = SimpleNamespace(unpack_result=lambda data: np.frombuffer(data, np.uint8), region=program.region)
    good.address = program.address
    low = region.address - program.address
    truth = Truth("a run", good, np.frombuffer(bytes(memory[low : low + region.bytes]), np.uint8))
    (tmp_path / "right_1.bin").write_bytes(memory)
    check_truths([truth], ["other", "a run"], tmp_path)
    memory[low] ^= 1
    (tmp_path / "right_1.bin").write_bytes(memory)
    with pytest.raises(FailedRun, match="bit exact in trial 'a run'"):
        check_truths([truth], ["other", "a run"], tmp_path)


def test_runs_as_steps() -> None:
    """The result is overwritten before each run, registers that hold a value are not written again, patches undone."""
    network = nano()
    trial = runs_trial("two", network.program, [network.patched("compute", 3, bytes(32)), network.run()])
    starts = [place for place, step in enumerate(trial.steps) if step[:3] == ("write", 0x10, 1)]
    assert len(starts) == 2
    pokes = [step for step in trial.steps if step[0] == "poke"]
    assert [step[1] for step in pokes].count(network.program.region("result").address) == 2
    patched = [step[2] for step in pokes if step[1] == network.place("compute", 3)]
    assert patched == ["00" * 32, network.bytes_of("compute", 3).hex()]
    writes = [sum(step[0] == "write" for step in part) for part in (trial.steps[: starts[0]], trial.steps[starts[0] :])]
    assert writes[0] > 20 and writes[1] == 3  # the two commands to start, and an interrupt to clear
    names = [trial.name for trial in host_trials(network)]
    assert len(names) == len(set(names)) == 6
