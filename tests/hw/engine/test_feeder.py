# amaranth: UnusedElaboratable=no
"""Feeder: exported Verilog against the instruction set's definition."""

import json
from pathlib import Path

import pytest

from moesaic.hw.engine.feeder import Feeder
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 20},
        {"max_tokens": 24, "rows": 4, "lanes": 16},
        {"max_tokens": 20, "wide_operands": True, "acc_bits": 40, "extra_key": False},
        {"max_tokens": 20, "lanes": 16, "extra_key": False, "packed_keys": True},
        {"max_tokens": 24, "rows": 4, "lanes": 16, "extra_key": False, "packed_keys": True},
    ],
    ids=["1 group", "4 groups", "wide, no extra key", "packed keys", "packed keys, 4 groups"],
)
def test_rtl(tmp_path: Path, changes: dict[str, int]) -> None:
    cocotb_test(
        Feeder(PRESETS["micro8"].replace(**changes)),
        name="feeder",
        module="tb_feeder",
        tmp_path=tmp_path,
        env={"CHANGES": json.dumps(changes)},
    )
