# amaranth: UnusedElaboratable=no
"""Core: exported Verilog against the functional simulator's MATMUL, for functions of MLPs."""

import json
from pathlib import Path

import pytest

from moesaic.hw.engine.core import Core
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lanes": 16, "wide_operands": True, "acc_bits": 40},
        {"lanes": 16, "extra_key": False, "packed_keys": True},
        {"rows": 4, "lanes": 16, "extra_key": False, "packed_keys": True},
    ],
    ids=["8 bits", "wide", "packed keys, 2 groups", "packed keys, 4 groups"],
)
def test_rtl(tmp_path: Path, changes: dict[str, int]) -> None:
    config = PRESETS["micro8"].replace(**changes)
    cocotb_test(Core(config), name="core", module="tb_core", tmp_path=tmp_path, env={"CHANGES": json.dumps(changes)})
