"""Mutants: made by Yosys behind a number, proved equivalent or tried in forks of one simulation, and sorted."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moesaic.errors import FailedRun
from moesaic.flow.stages import Stages
from moesaic.flow.verify import mutation
from moesaic.flow.verify.campaign import Failure
from moesaic.flow.verify.equivalence import prove, prove_over_cycles
from moesaic.flow.verify.host_trials import host_trials
from moesaic.flow.verify.ladder import Ladder, Rung, Truth
from moesaic.flow.verify.memory_writes import only_what_is_written
from moesaic.flow.verify.mutants import PER_BUILD, Climb, Mutant, Mutants, watched
from moesaic.flow.verify.mutation import LISTED, MUTATION, WRONGLY, check_truths, excused, sort
from moesaic.flow.verify.mutator import mutants_wanted
from moesaic.flow.verify.nano import nano
from moesaic.flow.verify.passes import run_passes
from moesaic.flow.verify.trial import Trial, runs_trial
from moesaic.flow.verify.tried import CONFIG
from moesaic.golden import numerics
from moesaic.hw.export import TOP
from moesaic.hw.spec import isa
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog
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

# Behind a reset `full` is 0, so that `held` takes `a` in the next cycle; `seen` is seen then, and `stuck` holds on.
UNRESET = """module top(input clk, input [15:0] mutant, input rst, input a, input b, output reg [2:0] o = 0);
  reg full = 0, held = 0, seen = 0, stuck = 0;
  always @(posedge clk) begin
    full <= rst ? 0 : b;
    held <= rst ? (mutant == 1 & held) : full ? held : a;
    seen <= rst ? (mutant == 2 & seen) : full ? seen : a;
    stuck <= rst ? (mutant == 3 & stuck) : full | b ? stuck : a;
    o <= rst ? 0 : {stuck & full, seen, held & full};
  end
endmodule
"""

# Of the words, nobody reads the highest bit but the sum that is written there.
COLUMNS = """module top(input clk, input [15:0] mutant, input [1:0] p, input [1:0] q, input [3:0] a, output [2:0] o);
  reg [2:0] o = 0;
  reg [3:0] words [0:3];
  wire [3:0] word = words[p];
  wire [3:0] sum = {word[3] ^ (mutant == 2), word[2] ^ (mutant == 1), word[1:0]} + a;
  wire [3:0] twice = mutant == 3 ? {sum[3:1], ~sum[0]} : sum;
  always @(posedge clk) begin
    words[q] <= twice;
    o <= word[2:0];
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
    mutants = [Mutant.of(line, DESIGN.splitlines()) for line in texts[1].splitlines()]
    assert len(mutants) == 12 and {mutant.module for mutant in mutants} == {"adder"}
    assert all(place.startswith("hw/adder.py:") for mutant in mutants for place in mutant.places)
    assert any(mutant.places for mutant in mutants) and len(set(map(str, mutants))) == 12
    assert {mutant.statement for mutant in mutants} <= set(map(str.strip, DESIGN.splitlines()))
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
    lines = ["module gate;", "  if (a)", "    next <= a;"]
    line = (
        "mutate -ctrl mutant 16 4 -mode cnot1 -module moesaic_feeder -cell $add$1 -port A -portbit 3 -ctrlbit 2 "
        "-wire next -wirebit 5 -src hw/engine/feeder.py:39 -src source.sv:3.2-3.7 -src source.sv:2.1-3.7 "
        "-src hw/engine/feeder.py:39"
    )
    assert str(Mutant.of(line, lines)) == "cnot1 by 2 of feeder.next[5] in `if (a)` (hw/engine/feeder.py:39)"
    line = (
        "mutate -ctrl mutant 16 5 -mode inv -module moesaic_gate -cell $and$1 -port Y -portbit 0 -src source.sv:3.1-3.2"
    )
    assert str(Mutant.of(line, lines)) == "inv of gate.Y[0] in `next <= a;`"


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


def test_proofs_of_what_is_not_reset(tmp_path: Path) -> None:
    """A register that holds its own value in a reset, and takes another before anything sees it; not one that is seen
    at once, nor one that goes on holding it.
    """
    (tmp_path / "known.v").write_text(UNRESET)
    passes = ["read_verilog -sv known.v", "proc", "write_rtlil known.il"]
    run_passes(passes, cwd=tmp_path, what="read")
    assert prove(tmp_path / "known.il", top="top", count=3, work=tmp_path) == []
    asked = range(1, 4)
    assert prove_over_cycles(tmp_path / "known.il", top="top", count=3, mutants=asked, work=tmp_path) == [1]


def test_columns_of_a_memory_that_nobody_reads(tmp_path: Path) -> None:
    """Nor what comes of them in the memory itself; but one that is read, and one that is added to such a one."""
    (tmp_path / "known.v").write_text(COLUMNS)
    passes = ["read_verilog -sv known.v", "proc", "write_rtlil known.il"]
    run_passes(passes, cwd=tmp_path, what="read")
    assert prove(tmp_path / "known.il", top="top", count=3, work=tmp_path) == [2]


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


def test_numbers_and_watchdogs_are_set_by_themselves(tmp_path: Path) -> None:
    """The one to a value, the other by what it loses; counters that carry are left alone, and leave them alone."""
    steps = (
        ("counters", 0x55, "numbers"),
        *(("expect", 12, 0x55, True), ("expect", 16, 1000, True), ("expect", 8, 0, True)),
        ("counters", 990, "watchdog"),
        *(("expect", 12, 0x55, True), ("expect", 16, 10, True)),
        ("counters", 7 << 60),
        *(("expect", 12, 0x55, True), ("expect", 16, 10, True), ("expect", 8, 7 << 28, True)),
    )
    assert _outcomes([Trial("set", steps)], [1], tmp_path)[0]["found"] == [[0, "same"]]


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


def test_two_climbs_are_one() -> None:
    """What cheap trials leave climbs on; trials are numbered on."""
    first = Climb({1: (1, "irq")}, {1: (0, 1), 2: (), 3: (2,)})
    both = mutation._both(first, 3, Climb({3: (0, "dump 0")}, {2: (1,), 3: (0, 1)}))
    assert both == Climb({1: (1, "irq"), 3: (3, "dump 0")}, {1: (0, 1), 2: (4,), 3: (2, 3, 4)})


def test_what_is_proved_does_not_climb_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant 1 is proved at once, 2 noticed by a cheap trial, 3 proved then, 4 noticed by a network, 5 by nothing."""
    trial = Trial("t", ())
    truth: Any = SimpleNamespace(program=None)
    steps = Ladder((Rung("cheap", (trial,)), Rung("network", (trial,))), 1, (truth,), bytes(5))
    mutants = Mutants("", (Mutant("inv", "m", "w[0]", (), ""),) * 5, Path("design"))
    climbed = []

    def climb(_steps: object, rungs: tuple[Rung, ...], _simulator: object, asked: list[int]) -> Climb:
        climbed.append((rungs[0].name, list(asked)))
        found = {"cheap": {2: (0, "irq")}, "network": {4: (0, "irq")}}[rungs[0].name]
        return Climb(found, {mutant: (0,) for mutant in asked})

    def over_cycles(*_: object, mutants: list[int], **__: object) -> frozenset[int]:
        assert mutants == [3, 4, 5]
        return frozenset({3})

    monkeypatch.setattr(mutation, "_climb", climb)
    monkeypatch.setattr(mutation, "equivalent", lambda *_, **__: frozenset({1}))
    monkeypatch.setattr(mutation, "equivalent_over_cycles", over_cycles)
    monkeypatch.setattr(mutation, "MutantSimulator", lambda *_, **__: None)
    monkeypatch.setattr(mutation.SimulatorNeed, "of", lambda _: SimpleNamespace(accelerator=None, base=0))
    assert mutation.endings_of(steps, mutants, range(1, 6)) == {
        1: "proved equivalent",
        2: "noticed: cheap",
        3: "proved equivalent",
        4: "noticed: network",
        5: "not noticed",
    }
    assert climbed == [("cheap", [2, 3, 4, 5]), ("network", [4, 5])]


def test_what_is_listed_as_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts apart; what is noticed all the same is a survivor, and shown as what it is."""
    mutants = Mutants("", tuple(Mutant("inv", "m", f"w[{k}]", (), "if (a)") for k in range(PER_BUILD)), Path("design"))
    monkeypatch.setattr(mutation, "_exclusions", lambda: (("inv of m.w[[]?] in `if (a)`", "so"),))
    monkeypatch.setattr(mutation, "mutants_of", lambda *_, **__: mutants)
    found = {1: "noticed: a run", 11: "noticed: a run", 21: "not noticed", 31: "proved equivalent"}
    monkeypatch.setattr(mutation, "endings_of", lambda *_: found)
    chunk = MUTATION.function(None, (0, 0), Stages(quiet=True))
    assert chunk.endings == {WRONGLY: 1, "noticed: a run": 1, "not noticed": 1, "proved equivalent": 1}
    assert [(failure.case, failure.found) for failure in chunk.failures] == [(0, WRONGLY), (20, "not noticed")]
    listed = Failure(3, "inv of m.w[3] in `if (a)`", "not noticed")
    assert excused(listed) == LISTED and excused(replace(listed, found="not reached by any trial")) == LISTED
    assert excused(replace(listed, found=WRONGLY)) == "" == excused(replace(listed, what="inv of m.w[33] in `if (a)`"))
    assert MUTATION.again is not None
    assert MUTATION.again(None, (0, (0, 20)), Stages(quiet=True)) == {
        0: WRONGLY,
        10: "noticed: a run",
        20: "not noticed",
        30: "proved equivalent",
    }


def test_what_is_listed_is_there() -> None:
    """Each pattern names a module and a statement of the accelerator, and has a reason."""
    text = to_verilog(Accelerator(CONFIG), name=TOP, assertions=True, source_locations=True)
    modules = {
        found[1].removeprefix("moesaic_"): found[0]
        for found in re.finditer(r"^module (\w+).*?^endmodule", text, flags=re.MULTILINE | re.DOTALL)
    }
    for pattern, reason in mutation._exclusions():
        named = re.fullmatch(r"\S+(?: by \S+)? of (\w+)\.\S+(?: to \w+)? in `(.*)`\*?", pattern)
        assert named is not None, pattern
        lines = ["", *map(str.strip, modules[named[1]].splitlines())]  # some have no statement in the Verilog
        assert any(fnmatchcase(line, named[2]) for line in lines), pattern
        assert reason.endswith(".")


def test_numbers_of_reasons() -> None:
    """Of scores, tokens, neighbours that share one, and fields, by which mutants are listed as equivalent."""
    sums = np.arange(65535, 65535 * CONFIG.experts + 1)
    reciprocals, exponents = numerics.reciprocal(sums)
    assert numerics.round_shift(65535 * reciprocals, exponents).max() == 65533
    assert CONFIG.max_tokens == 136 and CONFIG.ports == 1
    # Two neighbours, of which the larger lies less than one below the maximum.
    scores = np.stack(np.meshgrid(np.arange(-255, 1), np.arange(-1300, 1)), axis=-1).reshape(-1, 2)
    codes, maximum, level = numerics.softmax_block(scores, None, bits=CONFIG.probability_width)
    streamed = numerics.probability(codes, (level - 4 * maximum)[:, None], bits=CONFIG.probability_width)
    assert streamed.sum(axis=1).max() == 510
    # What fetches and stores have no field for.
    assert max(isa.FORMATS[opcode].bits for opcode in (isa.Opcode.FETCH, isa.Opcode.STORE)) <= 100


def test_the_right_hardware_is_held_to_the_golden_model(tmp_path: Path) -> None:
    network = nano()
    program, region = network.program, network.program.region("result")
    memory = bytearray(program.memory)
    good: Any = SimpleNamespace(unpack_result=lambda data: np.frombuffer(data, np.uint8), region=program.region)
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
