# amaranth: UnusedElaboratable=no
"""Loader: exported Verilog against the instruction set's definition."""

import json
from pathlib import Path

import pytest

from moesaic.hw.engine.loader import Loader
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows": 4, "lanes": 16},
        {"lanes": 16, "load_rows": 4, "extra_key": False},
        {"rows": 4, "lanes": 8, "load_rows": 4, "narrow_weights": False},
        {"rows": 4, "wide_operands": True, "acc_bits": 40},
        {"lanes": 16, "extra_key": False, "packed_keys": True},
        {"rows": 4, "lanes": 16, "extra_key": False, "packed_keys": True},
    ],
    ids=str,
)
def test_rtl(tmp_path: Path, changes: dict[str, int]) -> None:
    cocotb_test(
        Loader(PRESETS["micro8"].replace(**changes)),
        name="loader",
        module="tb_loader",
        tmp_path=tmp_path,
        env={"CHANGES": json.dumps(changes)},
    )
