# amaranth: UnusedElaboratable=no
"""Scale: exported Verilog against the golden function; constructors of the parts it is made of."""

from pathlib import Path

import pytest
from amaranth.hdl import Shape, unsigned

from moesaic.hw.vector.multiply import LutMultiply
from moesaic.hw.vector.reduce import AdderTree, tree_latency
from moesaic.hw.vector.rounding import RoundShift
from moesaic.hw.vector.scale import Scale
from moesaic.sim.verilated import cocotb_test


def test_scale(tmp_path: Path) -> None:
    cocotb_test(
        Scale(lanes=8),
        name="scale",
        module="tb_scale",
        tmp_path=tmp_path,
        env={"LANES": "8", "LATENCY": str(Scale.LATENCY)},
    )


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        Scale(lanes=0)
    with pytest.raises(ValueError, match="a_bits must be 2 or more, not 1"):
        LutMultiply(a_bits=1, b_shape=unsigned(4))
    with pytest.raises(ValueError, match=r"b_shape must have 2 bits or more, not unsigned\(1\)"):
        LutMultiply(a_bits=4, b_shape=unsigned(1))
    with pytest.raises(ValueError, match="terms must be positive, not 0"):
        AdderTree(shape=Shape(4), terms=0)
    with pytest.raises(ValueError, match=r"in_bits must be more than out_bits \(16\), not 16"):
        RoundShift(in_bits=16, shift_bits=4, out_bits=16)
    with pytest.raises(ValueError, match="out_bits must be 2 or more, not 1"):
        RoundShift(in_bits=16, shift_bits=4, out_bits=1)
    with pytest.raises(ValueError, match="shift_bits must be positive, not 0"):
        RoundShift(in_bits=20, shift_bits=0, out_bits=16)


def test_two_levels_between_registers() -> None:
    assert [tree_latency(n) for n in (1, 2, 3, 4, 5, 16, 17, 64)] == [0, 1, 1, 1, 2, 2, 3, 3]
