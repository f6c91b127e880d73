# amaranth: UnusedElaboratable=no
from pathlib import Path

import pytest

from moesaic.hw.memory.axi_writer import AxiWriter
from moesaic.sim.verilated import cocotb_test

SIZES = {"addr_bits": 16, "data_bits": 32, "max_burst": 16, "max_outstanding": 4}


def test_rtl(tmp_path: Path) -> None:
    cocotb_test(AxiWriter(**SIZES), name="writer", module="tb_axi_writer", tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"addr_bits": 65}, r"addr_bits must be in 12..64, not 65"),
        ({"data_bits": 4}, r"data_bits must be one of .*, not 4"),
        ({"max_burst": 1}, r"max_burst must be a power of two in 2..256, not 1"),
        ({"max_outstanding": -1}, r"max_outstanding must be positive, not -1"),
    ],
)
def test_parameters(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AxiWriter(**{**SIZES, **change})
