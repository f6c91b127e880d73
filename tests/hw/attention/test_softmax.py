# amaranth: UnusedElaboratable=no
"""Softmax units: exported Verilog against the golden functions, and their constructors."""

from pathlib import Path

import pytest

from moesaic.hw.attention.softmax import LoneKey, Probabilities, SoftmaxBlock
from moesaic.sim.verilated import cocotb_test


def test_softmax_block(tmp_path: Path) -> None:
    unit = SoftmaxBlock(rows=8, bits=10)
    cocotb_test(
        unit,
        name="softmax_block",
        module="tb_softmax",
        tmp_path=tmp_path,
        env={"ROWS": "8", "BITS": "10", "EARLIER": str(unit.latency - unit.code_at), "LATENCY": str(unit.latency)},
    )


@pytest.mark.parametrize("bits", (8, 11))
def test_lone_key(tmp_path: Path, bits: int) -> None:
    cocotb_test(
        LoneKey(bits=bits),
        name=f"lone_key_{bits}",
        module="tb_lone_key",
        tmp_path=tmp_path,
        env={"BITS": str(bits), "LATENCY": str(LoneKey.LATENCY), "EARLIER": str(LoneKey.LATENCY - LoneKey.CODE_AT)},
    )


@pytest.mark.parametrize("bits", (8, 11))
def test_probabilities(tmp_path: Path, bits: int) -> None:
    unit = Probabilities(lanes=8, groups=2, bits=bits)
    cocotb_test(
        unit,
        name=f"probabilities_{bits}",
        module="tb_probability",
        tmp_path=tmp_path,
        env={"LANES": "8", "GROUPS": "2", "BITS": str(bits), "LATENCY": str(Probabilities.LATENCY)},
    )


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="rows must be positive, not 0"):
        SoftmaxBlock(rows=0, bits=8)
    with pytest.raises(ValueError, match="rows must be a multiple of 8 for 11 bits, not 4"):
        SoftmaxBlock(rows=4, bits=11)
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        Probabilities(lanes=0, groups=1, bits=8)
    with pytest.raises(ValueError, match=r"groups must divide lanes \(8\), not 3"):
        Probabilities(lanes=8, groups=3, bits=8)
