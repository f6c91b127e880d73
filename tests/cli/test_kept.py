"""What a command leaves alone, and what its page says: folders of the RTL, times, sentences."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic import job
from moesaic.boards.synthesis.mapping import SynthesisMissing
from moesaic.flow import synth
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages
from moesaic.hw.spec.presets import PRESETS
from moesaic.report.doubts import CalibrationImages, SaturatedTensor, SkippedFile
from moesaic.report.html import render_html
from moesaic.report.model import ModelOrigin
from moesaic.report.stored import read_report, write_report

FUNCTIONAL = ["--model", "m3vit-micro", "--sim", "functional", "--quiet"]


def test_a_functional_run_has_a_folder_of_its_own() -> None:
    request = make_request(model="m3vit-micro", task="depth")
    assert job.results_folder(request, rtl=True) == Path("out/m3vit-micro-depth-micro8")
    assert job.results_folder(request, rtl=False) == Path("out/m3vit-micro-depth-micro8-functional")


def test_cycles_of_the_rtl_are_not_given_up(whole: Any, invoke: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "measured"
    shutil.copytree(whole.folder, folder)
    request = make_request(model="m3vit-micro")
    job._check(request, Options(out=folder, rtl=False))  # without cycles: may be replaced
    report = read_report(folder)
    write_report(replace(report, tasks={"semseg": replace(report.first, cycles=260_203)}, pictures={}), folder)
    before = (folder / "report.json").read_bytes()
    done = invoke("run", *FUNCTIONAL, "--out", folder)
    assert done.exit_code == 2 and "which holds cycles of the RTL" in done.stderr and "--out" in done.stderr
    assert (folder / "report.json").read_bytes() == before


def test_the_page_and_the_report_agree_on_the_time(whole: Any) -> None:
    stages = dict(re.findall(r"<tr><td>(\w+)</td><td>([\d.]+)</td></tr>", whole.page))
    report = json.loads((whole.folder / "report.json").read_text(encoding="utf-8"))
    assert stages == {stage: f"{seconds:.1f}" for stage, seconds in report["wall_s"].items()}
    assert report["wall_s"]["total"] >= sum(value for stage, value in report["wall_s"].items() if stage != "total")


def test_sentences_have_spaces_between_them(whole: Any, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "copy")
    origin = ModelOrigin(
        source="a file",
        format="a checkpoint",
        assumed=("65 tokens",),
        notes=("on the host: a head",),
        filled=(),
        checked="equal",
        names={},
        kind="imported",
    )
    images = CalibrationImages((SkippedFile("a", "no image"),), ("few",))
    report = read_report(tmp_path / "copy")
    full = (SaturatedTensor("blocks.0.mlp.fc1", 1000, 111, True),)
    tasks = {task: replace(entry, saturation=full) for task, entry in report.tasks.items()}
    report = replace(report, imported=origin, calibration_images=images, tasks=tasks)
    write_report(report, tmp_path / "copy")
    page = re.sub(r"<[^>]*>", "", render_html(tmp_path / "copy"))
    assert "Assumed: 65 tokens. on the host: a head. equal." in " ".join(page.split())
    assert "to calibrate on: few. 1 file of the folder skipped" in " ".join(page.split())
    assert "Values had no room in 1 tensor of task" in page and "blocks.0.mlp.fc1 11.1 %. Calibrate" in page


def test_synthesis_without_yosys_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise SynthesisMissing("no Yosys")

    def export(*_: Any, **__: Any) -> str:
        raise AssertionError("the Verilog was exported first")

    monkeypatch.setattr(synth, "find_yosys", missing)
    monkeypatch.setattr(synth, "accelerator_verilog", export)
    with pytest.raises(SynthesisMissing):
        synth.synth(PRESETS["micro8"], None, Stages(quiet=True))


@pytest.mark.parametrize("words", [["boards", "--json", "true"], ["quantise", "--all", "YES"], ["run", "--quiet", "1"]])
def test_flags_have_no_value(words: list[str], invoke: Callable[..., Any]) -> None:
    done = invoke(*words)
    assert done.exit_code == 2 and f"option {words[1]} must have no value, not {words[2]!r}" in done.stderr


def test_what_follows_two_dashes_is_no_value(invoke: Callable[..., Any]) -> None:
    done = invoke("boards", "--json", "--", "true")
    assert done.exit_code == 2 and "board must be one of" in done.stderr and "'true'" in done.stderr
