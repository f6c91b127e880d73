# amaranth: UnusedElaboratable=no
from pathlib import Path

import pytest

from moesaic.hw.memory.result_writers import ResultWriters
from moesaic.sim.verilated import cocotb_test

SIZES = {"ports": 3, "addr_bits": 16, "data_bits": 32, "max_burst": 16, "max_outstanding": 4}


def test_rtl(tmp_path: Path) -> None:
    cocotb_test(ResultWriters(**SIZES), name="writers", module="tb_result_writers", tmp_path=tmp_path)


def test_parameters() -> None:
    with pytest.raises(ValueError, match=r"max_burst must be a power of two in 2..256, not 1"):
        ResultWriters(**{**SIZES, "max_burst": 1})
