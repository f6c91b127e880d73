"""The zoo of awkward weights: its table in docs/quantisation.md is true, and within the bar."""

from pathlib import Path

import pytest
import torch

from moesaic.golden.evaluation import zoo
from moesaic.golden.evaluation.awkward import EXHIBITS
from moesaic.golden.evaluation.simulation import Seen, fake_weight
from moesaic.golden.evaluation.zoo import BEGIN, END, MARGIN_DB, Row, judge, median_lead, table

PAGE = Path(__file__).parents[2] / "docs" / "quantisation.md"
MEASURED = ("plain", "large values")  # again here, each in a few seconds


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    """Of the page."""
    text = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    found = {}
    for line in text.strip().splitlines()[2:-2]:
        name, what, integers, simulation, _, setting = (cell.strip() for cell in line.strip("|").split("|"))
        found[name] = Row(name, what, float(integers), float(simulation), setting)
    return found


def test_page_has_every_exhibit(rows):
    assert {name: row.what for name, row in rows.items()} == {name: e.what for name, e in EXHIBITS.items()}


def test_page_is_within_the_bar(rows):
    assert [name for name, row in rows.items() if row.lead < -MARGIN_DB] == []
    assert median_lead(list(rows.values())) > 0


@pytest.mark.parametrize("name", MEASURED)
def test_page_is_true(name, rows):
    row = judge(name, EXHIBITS[name], [rows[name].setting])
    assert row.integers == pytest.approx(rows[name].integers, abs=0.5)
    assert row.simulation == pytest.approx(rows[name].simulation, abs=0.5)


def test_fake_weight_rounds_each_output_by_itself():
    weight = torch.tensor([[127.0, 1.4], [1.27, 0.014]])
    assert torch.allclose(fake_weight(weight), torch.tensor([[127.0, 1.0], [1.27, 0.01]]))


def test_seen_clips_both_ends():
    seen = Seen()
    seen.add(torch.arange(-50.0, 51.0), 0.9)
    assert (seen.low, seen.high) == (-45.0, 45.0)
    seen.add(torch.tensor([70.0, 71.0, 72.0]), 1.0)
    assert (seen.low, seen.high) == (-45.0, 72.0)


def test_table_is_written_between_its_marks(tmp_path, monkeypatch):
    row = Row("a", "b", 30.0, 31.24, "c")
    monkeypatch.setattr(zoo, "judge", lambda name, exhibit: row)
    page, said = tmp_path / "page.md", list[str]()
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    zoo.main(["plain", "--write", str(page)], said.append)
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{said[-1]}\n{END}\nafter\n"
    assert table([row]).splitlines()[2] == "| a | b | 30.0 | 31.2 | -1.2 | c |"


def test_unknown_exhibit(capsys):
    with pytest.raises(SystemExit):
        zoo.main(["dodo"])
    assert "not 'dodo'" in capsys.readouterr().err
