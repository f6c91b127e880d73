# amaranth: UnusedElaboratable=no
"""Array and accumulators: exported Verilog against numpy."""

import json
from pathlib import Path

import pytest

from moesaic.hw.engine.accumulator import Accumulator
from moesaic.hw.engine.array import Array, array_latency
from moesaic.hw.engine.extra import ExtraKey
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(
    "sizes",
    [
        {"rows": 4, "lanes": 8, "load_rows": 2},
        {"rows": 8, "lanes": 32, "load_rows": 4},
        {"rows": 4, "lanes": 8, "load_rows": 4, "narrow": False},
        {"rows": 4, "lanes": 8, "load_rows": 2, "halves": True},
        {"rows": 8, "lanes": 16, "load_rows": 4, "halves": True},
        {"rows": 4, "lanes": 64, "load_rows": 2, "halves": True},
    ],
    ids=str,
)
def test_array(tmp_path: Path, sizes: dict[str, int]) -> None:
    cocotb_test(Array(**sizes), name="array", module="tb_array", tmp_path=tmp_path, env={"SIZES": json.dumps(sizes)})


@pytest.mark.parametrize(("lanes", "cycles"), [(8, 8), (16, 9), (32, 14), (64, 15), (128, 15)])
def test_array_latency(lanes: int, cycles: int) -> None:
    assert array_latency(lanes) == cycles


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 9},
        {"max_tokens": 20, "rows": 4, "lanes": 16, "acc_bits": 24, "extra_key": False},
        {"max_tokens": 9, "rows": 4, "extra_key": False, "packed_keys": True},
    ],
    ids=str,
)
def test_accumulator(tmp_path: Path, changes: dict[str, int]) -> None:
    cocotb_test(
        Accumulator(PRESETS["micro8"].replace(**changes)),
        name="accumulator",
        module="tb_accumulator",
        tmp_path=tmp_path,
        env={"CHANGES": json.dumps(changes)},
    )


@pytest.mark.parametrize("changes", [{}, {"rows": 4, "lanes": 16}], ids=str)
def test_extra_key(tmp_path: Path, changes: dict[str, int]) -> None:
    cocotb_test(
        ExtraKey(PRESETS["micro8"].replace(**changes)),
        name="extra",
        module="tb_extra",
        tmp_path=tmp_path,
        env={"CHANGES": json.dumps(changes)},
    )
