"""Gates whose logits are large: each has a step of its own, and nothing is lost to what it would be without a range."""

from pathlib import Path

import pytest

from moesaic.golden.calibrate import calibration_images
from moesaic.golden.evaluation.gate_range import BEGIN, END, Row, main, measure, network, table
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.layers.moe_float import LOG2E, LOGIT_MARGIN
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.tables import LOGIT_FRACTION_BITS

LARGE = 21.0  # of the gates' weights: logits up to 100
PAGE = Path(__file__).parents[2] / "docs" / "numerics.md"


@pytest.mark.parametrize(("bits", "allowed"), [(8, 1.0), (16, 2.0)], ids=["w8a8", "w16a16"])
def test_large_logits_lose_nothing(bits: int, allowed: float) -> None:
    row = measure(network(LARGE), bits)
    assert 90 < row.largest < 110 and row.shift in (3, 4)
    assert row.ties <= 0.02 * row.tokens  # second and third expert, of which one is chosen
    assert row.sqnr_db >= row.unbounded_db - allowed
    assert row.sqnr_db != row.unbounded_db  # logits of further bits do something


def test_a_gate_within_the_finest_range_has_the_finest_step() -> None:
    shifts = {}
    for factor in (1.0, LARGE):
        model = network(factor)
        qmodel = quantize(model, calibration_images(model.network, 4), weights="seeded", compensate=False)
        (layer,) = (layer for layer in qmodel.layers() if isinstance(layer, QuantMoE))
        shifts[factor] = layer.logit_shifts["semseg"]
        assert layer.gates["semseg"].out_step * LOG2E == 2.0 ** (shifts[factor] - LOGIT_FRACTION_BITS)
    assert shifts[1.0] == 0 and shifts[LARGE] in (3, 4)
    assert LOGIT_MARGIN >= 1.5


def test_the_table_is_written_and_the_page_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(largest=4.61, bits=8, shift=0, sqnr_db=33.361, unbounded_db=33.359, ties=1, tokens=65)
    assert table([row]).splitlines()[-1] == "| ±4.6 | W8A8 | 0 | 33.36 dB | 33.36 dB | 1 of 65 |"
    monkeypatch.setattr("moesaic.golden.evaluation.gate_range.measure", lambda model, bits: row)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    main(["1", "--write", str(page)], note=lambda text: None)
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{table([row, row])}\n{END}\nafter\n"
    text = PAGE.read_text(encoding="utf-8")
    rows = text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    found = [[float(cell.split()[0]) for cell in line.split("|")[4:6]] for line in rows]
    assert len(found) == 6 and all(with_range >= without - 0.2 for with_range, without in found)
