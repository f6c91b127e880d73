"""Power on a board with PYNQ's sensors: means of the two phases, energy, and what cannot be measured, on a stand-in."""

import sys
from pathlib import Path

import numpy as np
import pytest
from driverrig import CONFIG, Case, nano
from pynq_standin import Board, make_module, make_pmbus

from moesaic.boards.power import Power, Rail
from moesaic.boards.runtime import Accelerator
from moesaic.errors import FailedRun, InputError
from moesaic.sim.device import FunctionalTransport

RAILS = {"INT": (2.0, 3.5), "12V": (14.0, 16.0), "1V8": None}  # a ZCU104 has these, with others


@pytest.fixture(scope="module")
def case() -> Case:
    return nano()


@pytest.fixture
def folder(case: Case, tmp_path: Path) -> Path:
    case.program.save(tmp_path / "program")
    (tmp_path / "micro8.bit").write_bytes(b"bits")
    (tmp_path / "micro8.hwh").write_text("<EDKSYSTEM/>")
    return tmp_path


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, rails: dict[str, tuple[float, float] | None]) -> Accelerator:
    board = Board(CONFIG)
    monkeypatch.setitem(sys.modules, "pynq", make_module(board))
    monkeypatch.setitem(sys.modules, "pynq.pmbus", make_pmbus(board, rails))
    monkeypatch.setattr("moesaic.boards.power.LEAST_SAMPLES", 1)  # however slow this machine is
    return Accelerator.open(folder / "micro8.bit", folder / "program")


def test_power_is_in_the_result(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder, monkeypatch, RAILS) as accelerator:
        result = accelerator.measure(case.images[1], "y", seconds=0.3)
        assert np.array_equal(result.tokens, case.expected("y", 1))
        power = result.power
        assert power is not None and power.rails.keys() == {"INT", "12V"} and power.images >= 1
        assert (power.rails["INT"].idle_w, power.rails["INT"].busy_w) == (2.0, 3.5)
        assert 0 < power.busy <= 1 and power.seconds >= 0.3
        expected = power.rails["INT"].added_w * power.seconds / power.images
        assert power.joules_an_image() == pytest.approx(expected)
        assert accelerator.run(case.images[0], "x").power is None  # and it goes on working


def test_joules_by_hand() -> None:
    power = Power({"INT": Rail(2.0, 3.5, 100, 100), "12V": Rail(14.0, 16.0, 100, 100)}, 4.0, 1000, 0.75)
    assert power.joules_an_image() == pytest.approx(0.006) and power.joules_an_image("12V") == pytest.approx(0.008)
    assert power.to_dict()["rails"]["12V"] == {
        "idle_w": 14.0,
        "busy_w": 16.0,
        "idle_samples": 100,
        "busy_samples": 100,
        "joules_an_image": pytest.approx(0.008),
    }


@pytest.mark.parametrize(
    ("rails", "seconds", "error", "message"),
    [
        ({}, 0.2, FailedRun, "power must be measurable, but PYNQ finds 0 rails and no power sensor: on a ZCU104"),
        ({"1V8": None}, 0.2, FailedRun, "PYNQ finds 1 rails and no power sensor"),
        (RAILS, 0.1, InputError, "seconds must be a number from 0.2 to 3600, not 0.1"),
        (RAILS, float("nan"), InputError, "not nan"),
        (RAILS, True, InputError, "not True"),
        ({"INT": (float("nan"), 1.0)}, 0.25, FailedRun, "rail INT must have a power of 0 W or more, not nan W"),
        ({"INT": (-1.0, 1.0)}, 0.25, FailedRun, "not -1.0 W"),
    ],
)
def test_what_cannot_be_measured(
    case: Case,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    rails: dict[str, tuple[float, float] | None],
    seconds: float,
    error: type[Exception],
    message: str,
) -> None:
    with opened(folder, monkeypatch, rails) as accelerator:
        with pytest.raises(error, match=message):
            accelerator.measure(case.images[0], "x", seconds=seconds)
        assert np.array_equal(accelerator.run(case.images[0], "x").tokens, case.expected("x", 0))


def test_too_few_samples(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder, monkeypatch, RAILS) as accelerator:
        monkeypatch.setattr("moesaic.boards.power.LEAST_SAMPLES", 10_000)
        with pytest.raises(FailedRun, match="power must have 10000 samples idle and busy, not .*: measure longer"):
            accelerator.measure(case.images[0], "x", seconds=0.2)


def test_a_simulation_has_no_power(case: Case) -> None:
    with (
        Accelerator(FunctionalTransport(CONFIG), case.program) as accelerator,
        pytest.raises(InputError, match="power must be measured on a board with PYNQ, not in simulation"),
    ):
        accelerator.measure(case.images[0], "x", seconds=1)
