"""Copies of a register that are to be kept count apart; cells without a name are called by their operation."""

from pathlib import Path

import pytest

from moesaic.boards.synthesis.advice import describe
from moesaic.boards.synthesis.paths import Path as TimingPath
from moesaic.boards.synthesis.paths import Step
from moesaic.boards.synthesis.synthesise import synthesise_verilog

# A bit, eight cycles late, in two registers that drive half of the outputs each.
TEXT = """module accelerator(input clk, input d, input [7:0] x, output reg [7:0] y);
  reg [6:0] s = 0;
  {attribute} reg low = 0;
  {attribute} reg high = 0;
  always @(posedge clk) begin
    s <= {{s[5:0], d}};
    low <= s[6];
    high <= s[6];
    y <= {{x[7:4] & {{4{{high}}}}, x[3:0] & {{4{{low}}}}}};
  end
endmodule
"""


@pytest.mark.parametrize(("attribute", "registers"), [("", 8), ('(* keep = "true" *)', 10)])
def test_registers_that_are_kept_are_there(tmp_path: Path, attribute: str, registers: int) -> None:
    """Without the attribute the two are one, and that one is the end of a shift register."""
    found = synthesise_verilog(TEXT.format(attribute=attribute), family="zynqmp", uram=False, cache=tmp_path)
    assert found.total.ff == registers


def test_a_cell_without_a_name() -> None:
    step = Step("", "DSP48E2", "$mul$folder/source.v:12$345.A", 0.0, 0.0, 1)
    assert describe(step, TimingPath("feeder", (step, step), 1.0)) == "feeder: mul.A"
