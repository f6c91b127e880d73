# amaranth: UnusedElaboratable=no
"""Curves: exported Verilog against the golden function, and its constructor."""

from pathlib import Path

import pytest

from moesaic.hw.functions.curves import TABLES, Curves
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize("tables", [1, 5, 7], ids=["gelu", "gelu and sigmoid", "all"])
def test_curves(tmp_path: Path, tables: int) -> None:
    cocotb_test(
        Curves(lanes=4, tables=tables),
        name="curves",
        module="tb_curves",
        tmp_path=tmp_path,
        env={"LANES": "4", "LATENCY": str(Curves.LATENCY), "TABLES": str(tables)},
    )


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="lanes must be positive, not 0"):
        Curves(lanes=0, tables=1)
    with pytest.raises(ValueError, match="tables must be between 1 and 7, not 0"):
        Curves(lanes=1, tables=0)
    with pytest.raises(ValueError, match="tables must be between 1 and 7, not 8"):
        Curves(lanes=1, tables=1 << len(TABLES))
