# amaranth: UnusedElaboratable=no
"""The register file under every stall, on the exported Verilog."""

from pathlib import Path

import pytest

from moesaic.hw.bus.axilite_slave import AxiLiteSlave
from moesaic.hw.spec.registers import register_map
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize("seed", [1, 2])
def test_registers(tmp_path: Path, seed: int) -> None:
    slave = AxiLiteSlave(register_map(2, config_hash=0xCAFE_F00D), addr_bits=13)
    cocotb_test(slave, name="registers", module="tb_registers", tmp_path=tmp_path, seed=seed)


def test_address_must_span_the_map() -> None:
    with pytest.raises(ValueError, match=r"addr_bits must be 12 or more, not 11"):
        AxiLiteSlave(register_map(1), addr_bits=11)
