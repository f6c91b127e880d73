# amaranth: UnusedElaboratable=no
"""ReciprocalSqrt: exported Verilog against the golden function, and its constructor."""

from pathlib import Path

import pytest

from moesaic.hw.vector.rsqrt import ReciprocalSqrt
from moesaic.sim.verilated import cocotb_test


def test_rsqrt(tmp_path: Path) -> None:
    cocotb_test(
        ReciprocalSqrt(in_bits=51),
        name="rsqrt",
        module="tb_rsqrt",
        tmp_path=tmp_path,
        env={"IN_BITS": "51", "LATENCY": str(ReciprocalSqrt.LATENCY)},
    )


@pytest.mark.parametrize("in_bits", [2, 63])
def test_width_is_checked(in_bits: int) -> None:
    with pytest.raises(ValueError, match=f"in_bits must be between 3 and 62, not {in_bits}"):
        ReciprocalSqrt(in_bits=in_bits)
