"""Mutants that are proved equivalent: small designs of which some are, and others are not."""

from pathlib import Path

from moesaic.flow.verify.equivalence import prove, prove_over_cycles
from moesaic.flow.verify.memory_writes import only_what_is_written
from moesaic.flow.verify.passes import run_passes

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
