"""Models of timm and torchvision: captured exactly, or refused for what is there; the table of docs/models.md."""

import json
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from packages import CASES, VISION, Case
from survey import DATA, PAGE, cycles_of, facts_of, read_case, table

from moesaic.golden.config import PRESETS, network_of
from moesaic.golden.frontend.capture import CaptureError, capture

ROWS: list[dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))
AGAIN = "make it anew: python tests/frontend/survey.py"
pytestmark = pytest.mark.skipif(
    not VISION.is_dir() and find_spec("timm") is None, reason="setup.sh could not install timm and torchvision"
)


def row_of(case: Case) -> dict[str, Any]:
    (row,) = (row for row in ROWS if row["model"] == case.title)
    return row


@pytest.mark.parametrize("case", [c for c in CASES if c.tested and not c.refused], ids=lambda case: case.title)
def test_captured(case: Case) -> None:
    network, more = read_case(case)
    found, row = facts_of(network), row_of(case)
    assert more == {"exact": True, "host": row["host"]} and found.items() <= row.items(), AGAIN


@pytest.mark.parametrize("case", [c for c in CASES if c.tested and c.refused], ids=lambda case: case.title)
def test_refused(case: Case) -> None:
    module, side = case.small()
    with pytest.raises(CaptureError) as caught:
        capture(module, torch.zeros(1, 3, side, side))
    assert case.refused in str(caught.value).partition("\n")[0]
    assert row_of(case) == {"model": case.title, "package": case.package, "refused": case.why}, AGAIN


def test_the_page_has_the_table() -> None:
    assert [row["model"] for row in ROWS] == [case.title for case in CASES], AGAIN
    assert table(ROWS) in PAGE.read_text(encoding="utf-8"), AGAIN


def test_cycles_are_those_of_the_analytic_model() -> None:
    """The built-in DeiTs have the sizes of timm's."""
    for row in ROWS:
        like = {"deit_tiny_patch16_224": "deit-tiny", "vit_small_patch16_224": "deit-small"}.get(row["model"])
        if like is not None:
            network = network_of(PRESETS[like])
            assert facts_of(network).items() <= row.items() and cycles_of(network).items() <= row.items(), AGAIN
