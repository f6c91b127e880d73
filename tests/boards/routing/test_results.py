"""The table of routed units on docs/synthesis.md is that of docs/route.json, and its sums hold."""

import json
import statistics
from pathlib import Path

import pytest

from moesaic.boards.estimate import counted
from moesaic.boards.synthesis.delays import DELAYS

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


def test_what_the_pages_say_of_the_whole_accelerator() -> None:
    (whole,) = (result for result in RESULTS if not result["unit"])
    used = whole["utilisation"]
    lut, ff, dsp = (round(used[kind]["percent"]) for kind in ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D"))
    synthesis = (DOCS / "synthesis.md").read_text(encoding="utf-8")
    status = (DOCS / "status.md").read_text(encoding="utf-8")
    assert f"takes {lut} % of the device's LUTs, {ff} % of its flip-flops and {dsp} % of its multipliers" in synthesis
    assert f"It reaches {whole['achieved_mhz']} MHz. The tool was asked for {whole['asked_mhz']:g}" in synthesis
    said = f"{whole['achieved_mhz']} MHz, {lut} % of the LUTs, {dsp} % of the multipliers, nothing left unrouted"
    assert f"{said}; {len(whole['paths'])} paths" in status


def test_what_the_pages_say_of_the_net_model() -> None:
    (whole,) = (result["model"]["net_full"] for result in RESULTS if not result["unit"])
    alone = sorted(result["model"]["net_full"] for result in RESULTS if result["unit"])
    full, synthesis = DELAYS["zynqmp"].net_full, (DOCS / "synthesis.md").read_text(encoding="utf-8")
    assert (
        f"Units routed alone on another device need [{alone[0]:.1f} to {alone[-1]:.1f}, a whole accelerator"
        in synthesis
    )
    assert (
        f"fit if its nets take {whole:.1f} times as long, where units alone need {alone[0]:.1f} to {alone[-1]:.1f}."
        in (synthesis)
    )
    assert f"The pessimistic corner of the boards has {full}." in synthesis

    (board,) = (entry for entry in counted() if entry.config.name == "zcu102")
    path = board.paths[0]  # its nets are what the corners differ by
    slower = path.optimistic_ns + (path.delay_ns - path.optimistic_ns) / (full - 1) * (whole - 1)
    assert f"would take {slower:.1f} ns instead of {path.delay_ns:.1f}." in synthesis
