# amaranth: UnusedElaboratable=no
import json
from pathlib import Path

import pytest

from moesaic.hw.memory.load_unit import LoadUnit
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test

FOUR = {"ports": 4, "rows": 16, "lanes": 64, "experts": 10}


@pytest.mark.parametrize("changes", [{}, FOUR], ids=["1 port", "4 ports"])
def test_rtl(tmp_path: Path, changes: dict[str, int]) -> None:
    cocotb_test(
        LoadUnit(PRESETS["micro8"].replace(**changes)),
        name="load_unit",
        module="tb_load_unit",
        tmp_path=tmp_path,
        env={"CHANGES": json.dumps(changes)},
    )
