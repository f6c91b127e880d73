# amaranth: UnusedElaboratable=no
"""Instruction fetch on the exported Verilog."""

from pathlib import Path

import pytest

from moesaic.hw.control.fetch import InstructionFetch
from moesaic.hw.memory.window import WindowGuard
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize("seed", [1, 2])
def test_fetch(tmp_path: Path, seed: int) -> None:
    cocotb_test(InstructionFetch(addr_bits=32, depth=8), name="fetch", module="tb_fetch", tmp_path=tmp_path, seed=seed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 12}, r"depth must be a power of two of 2 or more, not 12"),
        ({"depth": 1}, r"depth must be a power of two of 2 or more, not 1"),
        ({"instruction_bytes": 24}, r"instruction_bytes must be a power of two, not 24"),
        ({"data_bits": 512}, r"data_bits must divide 256, not 512"),
    ],
)
def test_bad_arguments(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InstructionFetch(addr_bits=32, **arguments)


def test_bad_guard_arguments() -> None:
    with pytest.raises(ValueError, match=r"addr_bits must be 1 to 64, not 65"):
        WindowGuard(addr_bits=65, data_bits=128)
    with pytest.raises(ValueError, match=r"data_bits must be a power of two of 8 or more, not 96"):
        WindowGuard(addr_bits=40, data_bits=96)
