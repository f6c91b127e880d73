"""The same network on this machine: every form of the experts computes it, and what is measured reaches the report."""

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from moesaic.cli import app
from moesaic.energy.baselines import read_baseline, shipped_baseline
from moesaic.errors import InputError
from moesaic.flow import power
from moesaic.flow.baseline import FORMS, MODES, Ways, find_device, measure
from moesaic.flow.peers import ON_DEVICE, peers_report
from moesaic.flow.request import make_request
from moesaic.flow.resources import report_resources
from moesaic.flow.stages import Stages
from moesaic.golden import weights
from moesaic.golden.layers.quick import quick_layer


@pytest.mark.parametrize("form", FORMS)
def test_every_form_computes_the_network(form: str) -> None:
    model, _, _ = weights.load("m3vit-micro")
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    run = model.run_of(1)
    with torch.no_grad():
        x = model.embed(model.normalise(images))
        for step in model.steps():
            x = x + quick_layer(step.layer, step.norm(x), run, form)
        torch.testing.assert_close(x, model(images, 1)[-1], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes."""
    path = tmp_path_factory.mktemp("baseline") / "new" / "mine.json"
    words = ["baseline", "m3vit-micro", "--batch", "1,2", "--seconds", "0.01", "--modes", "eager,graph"]
    done = CliRunner().invoke(app, [*words, "--json", "--out", str(path)])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(path.read_text())
    assert "batch 2, experts dense, graph: not measured, a CUDA graph needs a GPU" in done.stderr
    return path


def test_what_is_measured(file: Path) -> None:
    found = read_baseline(file)
    assert {(row.batch, row.moe, row.mode) for row in found.rows} == {
        (n, form, "eager") for n in (1, 2) for form in FORMS
    }
    for row in found.rows:
        assert row.net == "m3vit-micro 64x64" and row.ms_image == row.ms_call / row.batch and 0 < row.ms_call < 10_000
    assert found.precision == "float32" and "torch" in found.device
    best = found.fastest("m3vit-micro 64x64")
    assert [row.batch for row in best] == [1, 2]
    assert best[0].ms_image == min(row.ms_image for row in found.rows if row.batch == 1)


def test_rows_of_the_report(file: Path) -> None:
    request = make_request(model="m3vit-micro")
    resources = report_resources(request.accelerator, request.board_origin, Stages(quiet=True), count=False)
    rows = peers_report(request, resources, None, [read_baseline(file)])
    mine = [row for row in rows if row.model == "m3vit-micro" and row.ms_is == ON_DEVICE]
    assert [row.batch for row in mine] == [1, 2] and all(
        row.mj_is == ("" if row.mj is None else ON_DEVICE) for row in mine
    )
    theirs = {row.batch: row for row in rows if row.name == "NVIDIA H200"}
    assert theirs[1].ms == pytest.approx(0.5709, abs=1e-4) and theirs[1].mj == pytest.approx(95.17, abs=0.01)
    assert theirs.keys() == {1, 8, 64, 512} and "grouped, compile" in theirs[64].board


def test_the_h200_comes_along() -> None:
    shipped = shipped_baseline()
    assert shipped.precision == "bfloat16" and "torch 2.11" in shipped.device and len(shipped.rows) == 25
    for row in shipped.rows:
        assert row.watts is not None and row.mj_image == pytest.approx(row.watts * row.ms_image)


def test_watts_are_those_of_the_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counters = [tmp_path / f"intel-rapl:{number}" / "energy_uj" for number in (0, 1)]
    for counter in counters:
        counter.parent.mkdir()
        counter.write_text("1000000\n")
    clock = iter([10.0, 12.0, 13.0, 14.0])
    monkeypatch.setattr(power.time, "perf_counter", lambda: next(clock))
    read, _ = power.package_reader(tmp_path)
    assert read is not None
    counters[0].write_text("9000000\n")
    assert read() == pytest.approx(4.0)  # 8 J in 2 s
    counters[1].write_text("0\n")  # it began again
    assert read() is None
    assert power.package_reader(tmp_path / "none")[0] is None
    watts = power.Watts([1.0, 1.0, 4.0, 5.0, 4.5, 4.5])
    assert watts.mean == 4.5 and power.Watts().mean is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "tpu"], "device must be cpu or cuda, not 'tpu'"),
        (["--device", "cuda:7"], "device must be cpu here, not 'cuda:7': torch .* sees"),
        (["--modes", "fast"], "modes must be some of eager, compile, graph, not 'fast'"),
        (["--experts", "some"], "experts must be some of loop, dense, grouped, not 'some'"),
        (["--batch", "0"], "batch must be from 1 to 4096 images"),
        (["--batch", "x"], "batch must be numbers with commas between"),
        (["--precision", "int8"], "precision must be one of bfloat16, float16, float32, not 'int8'"),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["baseline", "m3vit-micro", *words])
    assert done.exit_code == 2 and done.stdout == "" and re.search(said, done.stderr)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"device": "x"}')
    with pytest.raises(InputError, match="must be what `moesaic baseline` writes"):
        read_baseline(tmp_path / "a.json")
    done = CliRunner().invoke(app, ["run", "--model", "m3vit-micro", "--baseline", str(tmp_path / "none.json")])
    assert done.exit_code == 2 and "baseline must be a readable JSON file" in done.stderr


def test_a_way_that_no_device_can() -> None:
    model, _, _ = weights.load("m3vit-micro")
    with pytest.raises(InputError, match="modes must be some that cpu can do, not graph"):
        measure(model, find_device("cpu"), Ways(modes=("graph",)), Stages(quiet=True))
    assert MODES[-1] == "graph"
