# amaranth: UnusedElaboratable=no
"""The supervisor on the exported Verilog."""

from pathlib import Path

import pytest

from moesaic.hw.control.supervisor import Supervisor
from moesaic.sim.verilated import cocotb_test


def test_supervisor(tmp_path: Path) -> None:
    cocotb_test(Supervisor(errors=3, clear_cycles=2), name="supervisor", module="tb_supervisor", tmp_path=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"errors": 0}, r"errors must be positive, not 0"),
        ({"errors": 1, "clear_cycles": 0}, r"clear_cycles must be positive, not 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Supervisor(**arguments)
