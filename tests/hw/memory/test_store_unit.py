# amaranth: UnusedElaboratable=no
import json
from pathlib import Path

import pytest

from moesaic.hw.memory.store_unit import StoreUnit
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows": 16, "lanes": 32, "residual_words": 100},
        {"ports": 2, "rows": 16, "lanes": 32, "residual_words": 100},
        {"ports": 4, "rows": 16, "lanes": 32, "residual_words": 100, "prefetch_words": 512},
        {"ports": 4, "port_bits": 64, "lanes": 16, "load_rows": 4, "residual_words": 100},
    ],
    ids=["1 beat", "4 beats", "2 ports", "4 ports", "4 ports, 4 beats of 64 bits"],
)
def test_rtl(tmp_path: Path, changes: dict[str, int]) -> None:
    cocotb_test(
        StoreUnit(PRESETS["micro8"].replace(**changes)),
        name="store_unit",
        module="tb_store_unit",
        tmp_path=tmp_path,
        env={"CHANGES": json.dumps(changes)},
    )
