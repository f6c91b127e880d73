# amaranth: UnusedElaboratable=no
"""Softmax units: exported Verilog against the golden functions, and their constructors."""

from pathlib import Path

import pytest

from moesaic.hw.attention.softmax import ProbabilityShift, SoftmaxBlock
from moesaic.sim.verilated import cocotb_test


def test_softmax_block(tmp_path: Path) -> None:
    unit = SoftmaxBlock(rows=8)
    cocotb_test(
        unit,
        name="softmax_block",
        module="tb_softmax",
        tmp_path=tmp_path,
        env={"ROWS": "8", "LATENCY": str(unit.latency)},
    )


def test_probability_shift(tmp_path: Path) -> None:
    unit = ProbabilityShift(lanes=8, groups=2)
    cocotb_test(
        unit,
        name="probability_shift",
        module="tb_probability",
        tmp_path=tmp_path,
        env={"LANES": "8", "GROUPS": "2", "LATENCY": str(ProbabilityShift.LATENCY)},
    )


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="rows must be positive, not 0"):
        SoftmaxBlock(rows=0)
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        ProbabilityShift(lanes=0, groups=1)
    with pytest.raises(ValueError, match=r"groups must divide lanes \(8\), not 3"):
        ProbabilityShift(lanes=8, groups=3)
