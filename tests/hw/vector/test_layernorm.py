# amaranth: UnusedElaboratable=no
"""LayerNorm units: exported Verilog against the golden function, and their constructors."""

from pathlib import Path

import pytest

from moesaic.hw.vector.layernorm import Normalise, NormScalars, SumUpdate
from moesaic.sim.verilated import cocotb_test


def test_norm_scalars(tmp_path: Path) -> None:
    unit = NormScalars(max_dim=1024)
    cocotb_test(
        unit,
        name="norm_scalars",
        module="tb_norm_scalars",
        tmp_path=tmp_path,
        env={
            "MAX_DIM": "1024",
            "TOTAL_BITS": str(unit.total_shape.width),
            "SQUARES_BITS": str(unit.squares_shape.width),
            "LATENCY": str(unit.LATENCY),
        },
    )


def test_normalise(tmp_path: Path) -> None:
    cocotb_test(
        Normalise(lanes=4),
        name="normalise",
        module="tb_normalise",
        tmp_path=tmp_path,
        env={"LANES": "4", "LATENCY": str(Normalise.LATENCY)},
    )


def test_sum_update(tmp_path: Path) -> None:
    unit = SumUpdate(lanes=8)
    cocotb_test(
        unit,
        name="sum_update",
        module="tb_sum_update",
        tmp_path=tmp_path,
        env={"LANES": "8", "LATENCY": str(unit.latency)},
    )


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="max_dim must be between 1 and 4095, not 0"):
        NormScalars(max_dim=0)
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        Normalise(lanes=0)
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        SumUpdate(lanes=0)
