"""What choosing images for experts is worth: the table in docs/quantisation.md is what its data say."""

import json
from pathlib import Path

import pytest

from moesaic.golden.evaluation import chosen_images
from moesaic.golden.evaluation.chosen_images import BEGIN, CASES, END, Case, Row, judge, main, read_rows, table

DOCS = Path(__file__).parents[2] / "docs"
ROW = Row(name="micro-4", empty=(1, 2, 0, 0), thin=(5, 6, 3, 4), sqnr_db=(30.26, 30.0, 31.04, 31.0))


def test_all_ways_are_measured() -> None:
    row = judge("micro-4", Case("m", CASES["micro-4"].model, 2), unseen=1)
    assert len(row.empty) == len(row.thin) == len(row.sqnr_db) == 4 and all(25 < db < 50 for db in row.sqnr_db)
    assert len(set(row.sqnr_db)) > 1  # other images are other integers


def test_the_table_is_written_and_rows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_images, "judge", lambda name, case: Row(**{**vars(ROW), "name": name}))
    page, data = tmp_path / "page.md", tmp_path / "data.json"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    main(["rare-4", "--data", str(data)], note=lambda text: None)
    main(["micro-4", "--data", str(data), "--write", str(page)], note=lambda text: None)
    both = table([ROW, Row(**{**vars(ROW), "name": "rare-4"})])
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{both}\n{END}\nafter\n"
    assert both.splitlines()[2] == (
        "| `m3vit-micro`, trained | 4 | 30.3 dB; 1, 5 | 30.0 dB; 2, 6 | 31.0 dB; 0, 3 | 31.0 dB; 0, 4 |"
    )


def test_the_page_is_what_the_data_say() -> None:
    rows = list(read_rows(DOCS / "chosen-images.json"))
    assert [row.name for row in rows] == list(CASES)
    page = (DOCS / "quantisation.md").read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == table(rows)
    assert len(json.loads((DOCS / "chosen-images.json").read_text(encoding="utf-8"))["rows"]) == len(CASES)


def test_unknown_case(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["dodo"])
    assert "cases must be some of micro-32, " in capsys.readouterr().err
