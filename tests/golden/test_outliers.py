"""The table of outliers in docs/training.md: how its figures are measured, and that it is what its data say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from trainedfiles import CLIPPED, GATES, MICRO, written

from moesaic.golden.evaluation import outliers
from moesaic.golden.evaluation.outliers import BEGIN, END, VARIANTS, Row, main, measure, peak_and_kurtosis, table

DOCS = Path(__file__).parents[2] / "docs"
ROW = Row(
    name="vanilla",
    peaks=(1.0, 21.26, 3.0),
    kurtosis=4.04,
    miou=0.8512,
    rmse_m=5.151,
    sqnr_db=30.26,
    miou_8=0.8498,
    rmse_m_8=5.16,
    integers_db=None,
)


def test_peak_and_kurtosis() -> None:
    normal = np.random.default_rng(1).standard_normal((20, 500, 40))
    assert peak_and_kurtosis(torch.from_numpy(normal + 7))[1] == pytest.approx(3, abs=0.03)
    x = torch.zeros(2, 3, 4)
    x[0, 1, 2], x[1, 0, 0] = -6.0, 2.0
    peak, kurtosis = peak_and_kurtosis(x)
    values = x.numpy().astype(np.float64)
    centred = values - values.mean()
    assert peak == 4.0 and kurtosis == pytest.approx((centred**4).mean() / (centred**2).mean() ** 2)


@pytest.mark.parametrize("chosen", [CLIPPED, GATES], ids=["clipped", "gates"])
def test_what_does_not_run_is_measured_in_floats(tmp_path: Path, chosen: outliers.TrainedWith) -> None:
    """Its 8 bits are simulated with its own attention: a network without it would be far off."""
    row = measure("clipped", written(tmp_path, chosen), 2)
    assert row.integers_db is None and len(row.peaks) == MICRO.depth and row.kurtosis > 1
    assert 20 < row.sqnr_db < 60


def test_the_table_is_written_and_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "_trained", lambda name, work, steps: Path(name))
    monkeypatch.setattr(outliers, "measure", lambda name, path: Row(**{**vars(ROW), "name": name}))
    page, data = tmp_path / "page.md", tmp_path / "data.json"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    main(["gates", "--data", str(data)], note=lambda text: None)
    main(["vanilla", "--data", str(data), "--write", str(page)], note=lambda text: None)
    both = table([ROW, Row(**{**vars(ROW), "name": "gates"})])
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{both}\n{END}\nafter\n"
    main(["gates", "--steps", "3", "--data", str(data)], note=lambda text: None)
    assert [row.name for row in outliers.read_rows(data)] == ["gates"]  # the others were trained longer
    assert both.splitlines()[2] == ("| nothing | 21.3 | 4.0 | 0.851, 5.15 m | 30.3 dB | 0.850, 5.16 m | does not run |")


def test_the_page_is_what_the_data_say() -> None:
    data = json.loads((DOCS / "outliers.json").read_text(encoding="utf-8"))
    rows = list(outliers.read_rows(DOCS / "outliers.json"))
    assert [row.name for row in rows] == list(VARIANTS) and data["model"] == "m3vit-micro"
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == table(rows)
    assert (
        f"{data['steps']:,} updates of {outliers.BATCH} scenes"
        in page.partition("## Outliers")[2].partition("\n## ")[0]
    )


@pytest.mark.parametrize(
    ("words", "message"), [(["dodo"], "variants must be some of"), (["--steps", "0"], "steps must be positive, not 0")]
)
def test_bad_words(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err
