"""The table of routed units on docs/synthesis.md is that of docs/route.json, and its sums hold."""

import json
import statistics
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
RESULTS = json.loads((DOCS / "route.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result["unit"] or result["accelerator"])
def test_the_table_is_that_of_the_data(result: dict) -> None:
    model, paths, used = result["model"], result["paths"], result["utilisation"]
    cells = [
        f"`{result['unit'] or result['accelerator']}`",
        f"{used['TRELLIS_COMB']['used']:,}",
        f"{used['TRELLIS_FF']['used']:,}",
        f"{result['achieved_mhz']:g}",
        f"{100 * paths[0]['routing_share']:.0f} %",
        f"{100 * statistics.median(path['routing_share'] for path in paths):.0f} %",
        f"{model['paths']}",
        f"{100 * model['median_error']:+.0f} %",
        f"{100 * model['worst_error']:+.0f} %",
        f"{model['net_full']:g}",
    ]
    assert f"| {' | '.join(cells)} |\n" in (DOCS / "synthesis.md").read_text(encoding="utf-8")
    errors = [path["model_ns"] / path["routed_ns"] - 1 for path in paths]
    assert model["paths"] == len(paths)
    assert statistics.median(errors) == pytest.approx(model["median_error"], abs=0.001)
    assert max(errors, key=abs) == pytest.approx(model["worst_error"], abs=0.001)
    unit = f" --unit {result['unit']}" if result["unit"] else ""
    assert result["command"] == f"moesaic route --config {result['accelerator']}{unit} --json"


def test_a_whole_accelerator_is_among_them() -> None:
    (whole,) = (result for result in RESULTS if not result["unit"])
    assert whole["model"]["paths"] >= 50
