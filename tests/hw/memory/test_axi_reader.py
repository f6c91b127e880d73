# amaranth: UnusedElaboratable=no
from pathlib import Path

import pytest

from moesaic.hw.memory.axi_reader import AxiReader
from moesaic.sim.verilated import cocotb_test

SIZES = {"addr_bits": 16, "data_bits": 32, "max_burst": 16, "max_outstanding": 8, "credits": 256}


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "robust"])
def test_rtl(tmp_path: Path, strict: bool) -> None:
    reader = AxiReader(**SIZES, check_slave=strict)
    cocotb_test(reader, name="reader", module="tb_axi_reader", tmp_path=tmp_path, env={"STRICT": str(int(strict))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"addr_bits": 8}, r"addr_bits must be in 12..64, not 8"),
        ({"data_bits": 48}, r"data_bits must be one of .*, not 48"),
        ({"max_burst": 12}, r"max_burst must be a power of two in 2..256, not 12"),
        ({"max_burst": 512}, r"max_burst must be a power of two in 2..256, not 512"),
        ({"data_bits": 256, "max_burst": 256}, r"max_burst must be a power of two in 2..128, not 256"),
        ({"max_outstanding": 0}, r"max_outstanding must be positive, not 0"),
        ({"credits": 15}, r"credits must be at least max_burst \(16\), not 15"),
    ],
)
def test_parameters(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AxiReader(**{**SIZES, **change})
