"""What a run says of values that had no room."""

from pathlib import Path

import pytest
from report.samples import a_report, a_task

from moesaic.report.doubts import SaturatedTensor, excessive
from moesaic.report.stored import read_report, write_report
from moesaic.report.summary import print_summary

FEW = SaturatedTensor("blocks.0.norm1", 1000, 1, False)
MANY = SaturatedTensor("blocks.0.mlp.fc1", 66_560, 7399, True)
LOGIT = SaturatedTensor("blocks.1.mlp.gate.depth", 1000, 1, True)


def test_only_what_is_excessive_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert excessive((FEW, LOGIT, MANY)) == [MANY, LOGIT]
    report = a_report(tasks={"depth": a_task(saturation=(FEW, MANY, *[LOGIT] * 5))})
    write_report(report, tmp_path)
    assert read_report(tmp_path).tasks["depth"].saturation[:2] == (FEW, MANY)
    print_summary(report, tmp_path)
    said = capsys.readouterr().out
    assert "depth, saturated: blocks.0.mlp.fc1: 7,399 of 66,560 values (11 %) had no room" in said
    assert "norm1" not in said and "depth, saturated: 2 more tensors, see the report" in said
