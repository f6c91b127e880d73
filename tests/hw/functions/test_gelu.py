# amaranth: UnusedElaboratable=no
"""Gelu: exported Verilog against the golden function, and its constructor."""

from pathlib import Path

import pytest

from moesaic.hw.functions.gelu import Gelu
from moesaic.sim.verilated import cocotb_test


def test_gelu(tmp_path: Path) -> None:
    cocotb_test(
        Gelu(lanes=4),
        name="gelu",
        module="tb_gelu",
        tmp_path=tmp_path,
        env={"LANES": "4", "LATENCY": str(Gelu.LATENCY)},
    )


def test_lanes_are_checked() -> None:
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        Gelu(lanes=0)
