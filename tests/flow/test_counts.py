"""What is counted again, and what is not, when the hardware's sources change."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moesaic.boards.hardware import hardware_digest
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.flow import counts
from moesaic.hw.spec.presets import PRESETS

BEFORE: dict[str, Any] = {
    "config": json.loads(json.dumps(PRESETS["micro8"].to_dict())),
    "delays": DELAYS["zynqmp"].digest,
    "family": "zynqmp",
    "hardware": "of yesterday",
    "units": {},
}


@pytest.mark.parametrize(
    "changes, again",
    [
        ({}, False),
        ({"verilog": "another"}, True),
        ({"verilog": None}, True),
        ({"delays": "another"}, True),
        ({"config": {**BEFORE["config"], "experts": 4}}, True),
    ],
)
def test_renew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, Any], again: bool) -> None:
    monkeypatch.setattr(counts, "verilog_digest", lambda accelerator: f"Verilog of {accelerator.name}")
    monkeypatch.setattr(counts, "count", lambda name, stages: {"counted": name})
    path = tmp_path / "counts.json"
    known = {**BEFORE, "verilog": "Verilog of micro8", **changes}
    if known["verilog"] is None:  # counted before there was one
        del known["verilog"]
    path.write_text(json.dumps([known]))
    monkeypatch.setattr("sys.argv", ["counts", "micro8", "--renew", "--out", str(path)])
    counts.main()
    expected = {"counted": "micro8"} if again else {**known, "hardware": hardware_digest()}
    assert json.loads(path.read_text()) == [expected]
    monkeypatch.setattr("sys.argv", ["counts", "micro8", "--out", str(path)])
    counts.main()
    assert json.loads(path.read_text()) == [{"counted": "micro8"}]
    path.unlink()
    monkeypatch.setattr("sys.argv", ["counts", "micro8", "--renew", "--out", str(path)])
    counts.main()
    assert json.loads(path.read_text()) == [{"counted": "micro8"}]
