# amaranth: UnusedElaboratable=no
"""WriteBack: exported Verilog against the golden arithmetic, with one, two and four groups to a word."""

import json
from pathlib import Path

import pytest

from moesaic.hw.engine.writeback import WriteBack
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lanes": 16},
        {"rows": 4, "lanes": 16},
        {"lanes": 16, "wide_operands": True, "acc_bits": 40, "extra_key": False},
        {"lanes": 16, "extra_key": False, "packed_keys": True},
        {"rows": 4, "lanes": 16, "extra_key": False, "packed_keys": True},
    ],
    ids=["1 group", "2 groups", "4 groups", "wide, no extra key", "packed keys, 2 groups", "packed keys, 4 groups"],
)
def test_rtl(tmp_path: Path, changes: dict[str, int]) -> None:
    unit = WriteBack(PRESETS["micro8"].replace(**changes))
    cocotb_test(
        unit,
        name="writeback",
        module="tb_writeback",
        tmp_path=tmp_path,
        env={
            "CHANGES": json.dumps(changes),
            "LATENCY": str(unit.latency),
            "HOLD": str(unit.hold),
        },
    )
