"""The layout of a module's Verilog: order, groups, sources; every statement stays."""

import re

from moesaic.hw.verilog_layout import lay_out

BEFORE = """(* src = "a.py:1" *)
module unit(b, clk, o
, x);
  wire x_10;
  wire [1:0] x_9;
  output o;
  reg o = 1'h0;
  (* src = "a.py:2" *)
  input b;
  wire b;
  input clk;
  wire clk;
  output [3:0] x;
  wire [3:0] x;
  (* ram_style = "block" *)
  reg [7:0] words [1:0];
  initial begin
    words[0] = 8'h01;
  end
  always @(posedge clk) begin
    if (b)
      words[b] <= 8'h00;
  end
  assign x_10 = b;
  assign x = { x_9, x_10, b };
  (* src = "a.py:3" *)
  always @(posedge clk)
    o <= x_10;
  always @(posedge clk)
    p <= o;
  (* keep = "true" *)
  always @(posedge clk)
    q <= o;
  always @(negedge clk)
    r <= o;
  part part (
    .i(b)
  );
  always @* begin
    y = b;
    if (b) begin
      y = o;
    end
  end
  always @* begin
    z = b;
  end
endmodule
"""

AFTER = """(* src = "a.py:1" *)
module unit(
  b, clk, o, x
);
  (* src = "a.py:2" *)
  input b;
  input clk;
  output o;
  reg o = 1'h0;
  output [3:0] x;

  wire [1:0] x_9;
  wire x_10;

  (* ram_style = "block" *)
  reg [7:0] words [1:0];

  initial begin
    words[0] = 8'h01;
  end

  always @(posedge clk) begin
    if (b)
      words[b] <= 8'h00;
  end

  assign x_10 = b;
  assign x = { x_9, x_10, b };

  always @(posedge clk) begin
    o <= x_10;  // a.py:3
    p <= o;
  end

  (* keep = "true" *)
  always @(posedge clk)
    q <= o;

  always @(negedge clk)
    r <= o;

  part part (
    .i(b)
  );

  always @* begin
    y = b;
    if (b) begin
      y = o;
    end
  end

  (* src = "a.py:4" *)
  always @* begin
    z = b;
  end
endmodule
"""


def test_layout() -> None:
    assert lay_out(BEFORE, [None, "a.py:4"]) == AFTER


def test_what_is_laid_out_stays_so() -> None:
    assert lay_out(AFTER.replace("\n\n", "\n"), []) == AFTER


def test_a_module_of_nothing() -> None:
    assert lay_out("module unit();\nendmodule\n", []) == "module unit();\nendmodule\n"


def test_escaped_names_of_ports_keep_their_blank() -> None:
    ports = "  input a;\n  wire a;\n  input \\release ;\n  output b;\n"
    text = f"module m(a, \\release , b);\n{ports}  assign b = a;\nendmodule\n"
    assert re.search(r"\\release\s+,", lay_out(text, []).partition(");")[0])


FOLD = """module unit(clk, i, o, q);
  input clk;
  input [1:0] i;
  output [1:0] o;
  reg [1:0] o;
  reg [1:0] o_next;
  output [1:0] q;
  reg [1:0] q;
  reg [1:0] q_next;
  reg at_start = 0;
  reg [1:0] kept = 2'h1;
  reg [1:0] kept_next;
  wire [1:0] copy_next;
  reg [1:0] copy;
  reg [1:0] named;
  reg [1:0] held;
  reg [1:0] held_next;
  (* src = "a.py:1" *)
  always @(posedge clk)
    o <= o_next;
  (* src = "a.py:2" *)
  always @(posedge clk)
    q <= q_next;
  (* src = "a.py:3" *)
  always @(posedge clk)
    kept <= kept_next;
  (* src = "a.py:4" *)
  always @(posedge clk)
    copy <= copy_next;
  (* src = "a.py:5" *)
  always @(posedge clk)
    other <= named;
  (* src = "a.py:6" *)
  always @(posedge clk)
    held <= held_next;
  assign copy_next = i[0] ? 2'h1 : o;
  assign seen = kept_next[0];
  always @* begin
    if (at_start) begin end
    o_next = o;
    if (i[1]) begin
      o_next [0] = o[1];
      o_next = 2'h0;
    end
  end
  always @* begin
    if (at_start) begin end
    q_next = i;
    if (rst) begin
      q_next = 2'h3;
    end
  end
  always @* begin
    if (at_start) begin end
    kept_next = kept;
    if (i[0]) begin
      kept_next = i;
    end
  end
  always @* begin
    if (at_start) begin end
    named = i;
    if (rst) begin
      named = 2'h0;
    end
  end
  always @* begin
    if (at_start) begin end
    held_next = held;
    held_next = held_next + i;
  end
endmodule
"""


def test_next_values_go_into_their_registers() -> None:
    """Those that nobody else reads, and that the source has no name for."""
    text = lay_out(FOLD, [None] * 5)
    folded = """  always @(posedge clk) begin
    if (i[1]) begin
      o [0] <= o[1];
      o <= 2'h0;
    end
    q <= i;
    if (rst) begin
      q <= 2'h3;
    end
"""
    assert folded in text and "o_next" not in text and "q_next" not in text
    assert "    copy <= i[0] ? 2'h1 : o;  // a.py:4\n" in text and "copy_next" not in text
    for line in ("kept <= kept_next;", "other <= named;", "held <= held_next;", "named = i;", "reg at_start = 0;"):
        assert line in text


def test_a_folded_register_with_a_source_stands_alone() -> None:
    text = lay_out(FOLD, ["a.py:10", "a.py:20", None, None, None])
    assert (
        """  (* src = "a.py:20" *)
  always @(posedge clk) begin
    q <= i;
    if (rst) begin
      q <= 2'h3;
    end
  end
"""
        in text
    )


def test_what_starts_processes_goes_with_the_last_of_them() -> None:
    module = FOLD.replace("seen = kept_next", "seen = i").replace("other <= named", "other <= i")
    module = module.replace("held_next = held_next + i", "held_next = i").replace("named", "unnamed_next")
    text = lay_out(
        module.replace(
            "always @* begin\n    if (at_start) begin end\n    unnamed_next = i",
            "always @* begin\n    unnamed_next = i",
        ),
        [],
    )
    assert "at_start" not in text and text.count("always @*") == 1 and "_next" in text
