"""Points that nothing can hit: what is proved, and what is not."""

from moesaic.flow.verify.coverage_points import Point
from moesaic.flow.verify.unreachable import CONSTANT, FULL, constants, full_cases, unreachable

TEXT = """// module top
module top(
  clk, i, o, p
);
  input clk;
  input [1:0] i;
  output [3:0] o;
  output [1:0] p;
  wire [3:0] low;
  wire [3:0] high;

  moesaic_part a (
    .clk(clk),
    .i(i),
    .known(1'h0),
    .o(low)
  );
  moesaic_part b (
    .clk(clk),
    .i({ 1'h0, i[0] }),
    .known(i[1]),
    .o(high)
  );
  assign o = low ^ high;
  assign p = 2'h2;
endmodule

// module moesaic_part
module moesaic_part(
  clk, i, known, o
);
  input clk;
  input [1:0] i;
  input known;
  output [3:0] o;
  reg [3:0] o = 4'h8;
  wire never;
  reg [1:0] state = 2'h0;
  reg stuck = 1'h0;
  wire choice;
  wire other;

  assign never = i[0] & stuck;
  assign choice = never ? i[0] : i[1];
  assign other = known ? i[0] : i[1];

  always_ff @(posedge clk) begin
    casez (i)
      2'h0:
          state <= 2'h0;
      2'h1, 2'h2:
          state <= 2'h1;
      2'h3:
          state <= 2'h2;
      default:
          /* empty */;
    endcase
    casez (state)
      2'h0:
          o[0] <= choice;
      2'h1:
          o[0] <= other;
      default:
          o[0] <= 1'h0;
    endcase
    stuck <= 1'h0;
    o[1] <= stuck;
    if (never) begin
      o[2] <= 1'h1;
    end else begin
      o[2] <= i[1];
    end
    o[3] <= 1'h1;
  end
endmodule
"""


def _port(place: str) -> Point:
    return Point("part", "port", place)


def _branch(place: str) -> Point:
    return Point("part", "branch", place)


NEVER = {
    _port("o[1]:0->1"): CONSTANT,
    _port("o[1]:1->0"): CONSTANT,
    _port("o[3]:1->0"): CONSTANT,
    _branch("cond_then: assign choice = never ? i[0] : i[1];"): CONSTANT,
    _branch("if: if (never) begin"): CONSTANT,
    Point("part", "line", "case: default:"): FULL,
    Point("top", "port", "p[0]:0->1"): CONSTANT,
}
MAYBE = (
    _port("o[3]:0->1"),  # from what a simulation begins with
    _port("o[0]:1->0"),
    _port("i[1]:0->1"),  # constant in one instance
    _port("known:0->1"),
    _branch("cond_else: assign choice = never ? i[0] : i[1];"),
    _branch("cond_then: assign other = known ? i[0] : i[1];"),
    _branch("else: if (never) begin"),
    Point("part", "line", "case: default: (2)"),
    Point("top", "port", "p[1]:0->1"),
)


def test_what_is_proved() -> None:
    assert unreachable(TEXT, "top", [*NEVER, *MAYBE]) == NEVER


def test_constants() -> None:
    known = constants(TEXT, "top")
    assert known["moesaic_part", "o"] == "-0-1" and known["top", "p"] == "01" and known["moesaic_part", "i"] == "--"


def test_full_cases() -> None:
    assert full_cases(TEXT) == [True, False]
