# amaranth: UnusedElaboratable=no
"""Reciprocal: exported Verilog against the golden function, and its constructor."""

from pathlib import Path

import pytest

from moesaic.hw.vector.reciprocal import Reciprocal
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize("in_bits", [24, 12])
def test_reciprocal(tmp_path: Path, in_bits: int) -> None:
    cocotb_test(
        Reciprocal(in_bits=in_bits),
        name="reciprocal",
        module="tb_reciprocal",
        tmp_path=tmp_path,
        env={"IN_BITS": str(in_bits), "LATENCY": str(Reciprocal.LATENCY)},
    )


@pytest.mark.parametrize("in_bits", [1, 32])
def test_width_is_checked(in_bits: int) -> None:
    with pytest.raises(ValueError, match=f"in_bits must be between 2 and 31, not {in_bits}"):
        Reciprocal(in_bits=in_bits)
