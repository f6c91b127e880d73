# amaranth: UnusedElaboratable=no
"""Requantise: exported Verilog against the golden function, and its constructor."""

from pathlib import Path

import pytest

from moesaic.hw.vector.requant import Requantise
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(("acc_bits", "bias_bits"), [(27, 32), (40, 40)])
def test_requantise(tmp_path: Path, acc_bits: int, bias_bits: int) -> None:
    cocotb_test(
        Requantise(lanes=4, acc_bits=acc_bits, bias_bits=bias_bits),
        name="requantise",
        module="tb_requant",
        tmp_path=tmp_path,
        env={"LANES": "4", "ACC_BITS": str(acc_bits), "BIAS_BITS": str(bias_bits), "LATENCY": str(Requantise.LATENCY)},
    )


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        Requantise(lanes=0, acc_bits=27)
    with pytest.raises(ValueError, match="acc_bits must be 18 or more, not 17"):
        Requantise(lanes=4, acc_bits=17)
