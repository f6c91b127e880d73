# amaranth: UnusedElaboratable=no
"""Sequencer: what it refuses, against rules written apart; order and positions of what it hands on."""

import json
from pathlib import Path

import pytest

from moesaic.hw.control.sequencer import Sequencer
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.verilated import cocotb_test


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rows": 8, "experts": 10, "max_top_k": 3, "max_tokens": 50, "narrow_weights": False},
        {"wide_operands": True, "acc_bits": 40, "extra_key": True},
        {"silu": False, "sigmoid": False, "gated_mlp": False},
    ],
    ids=["1", "2", "wide", "units left out"],
)
def test_rtl(tmp_path: Path, changes: dict[str, int]) -> None:
    config = PRESETS["micro16"].replace(**changes)
    cocotb_test(
        Sequencer(config),
        name="sequencer",
        module="tb_sequencer",
        tmp_path=tmp_path,
        env={"CHANGES": json.dumps(changes)},
    )
