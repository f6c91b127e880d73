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
