"""Energy of a run against figures worked out by hand, and how it follows what it is made of."""

import dataclasses

import pytest

from moesaic.energy.activity import Activity
from moesaic.energy.calibration import Calibration
from moesaic.energy.model import Device, Layer, Toggles, run_power
from moesaic.energy.table import energies

UNITS = {
    "array": {"lut": 1000, "ff": 3000, "dsp": 32},
    "activations": {"lut": 500, "ff": 100, "dsp": 0},
    "weight stream": {"lut": 200, "ff": 50, "dsp": 0},
    "registers": {"lut": 300, "ff": 400, "dsp": 0},
}
WORK = Activity(
    vectors=1000,
    results=100,
    normalised=400,
    stream_bytes=6400,
    stored_bytes=640,
    activation_bits=7000,
    kv_bits=800,
    residual_bits=900,
    accumulator_bits=5000,
    prefetch_bits=102_400,
)
DEVICE = Device(name="none", luts=100_000)
PLAIN = Calibration(1e-5, 2.0, ())


@pytest.fixture(autouse=True)
def error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calibration, "error", property(lambda self: 0.25))


def power(layers, device=DEVICE, **given):
    return run_power(UNITS, layers, device, clock_mhz=200, beat_bytes=16, calibrated=PLAIN, **given)


def test_by_hand() -> None:
    found = power([Layer("blocks.0.fc1", WORK, 2000)], instruction_bytes=100)
    chip, ddr = energies().chip, energies().ddr["ddr4"]
    lut, ff, dsp, bit = (chip[name].picojoule for name in ("lut", "ff", "dsp", "ram_bit"))
    assert found.seconds == pytest.approx(1e-5)
    assert found.static == pytest.approx(1e-5 * 1e5 * 1e-5)
    assert found.units["array"] == pytest.approx(2e-12 * 1000 * (1000 * lut + 32 * dsp))
    assert found.units["activations"] == pytest.approx(2e-12 * 100 * 500 * lut)
    assert found.units["weight stream"] == pytest.approx(2e-12 * 400 * 200 * lut)
    assert found.units["registers"] == 0
    assert found.units["clocks"] == pytest.approx(2e-12 * 2000 * 3550 * ff)
    assert found.units["memories"] == pytest.approx(2e-12 * bit * (7000 + 800 + 900 + 5000 + 102_400))
    assert found.ddr == pytest.approx(1e-12 * 8 * (6400 + 640 + 100) * ddr.picojoule)
    assert found.ddr_least == pytest.approx(found.ddr * (ddr.least or 0) / ddr.picojoule)
    assert found.joule == pytest.approx(found.static + found.dynamic + found.ddr)
    assert found.watts(found.static) == pytest.approx(1.0)
    assert found.error == 0.25


def test_layers_add_up() -> None:
    half = dataclasses.replace(WORK, vectors=10, stream_bytes=0)
    found = power([Layer("a", WORK, 2000), Layer("b", half, 500), Layer("a", half, 500)])
    assert list(found.layers) == ["a", "b"]
    assert sum(found.layers.values()) == pytest.approx(found.joule)


def test_toggles_scale_what_data_moves() -> None:
    layers = [Layer("a", WORK, 2000)]
    random, quiet = power(layers), power(layers, toggles=Toggles(weights=0.25, vectors=0.1))
    assert quiet.units["array"] == pytest.approx(0.2 * random.units["array"])
    assert quiet.units["weight stream"] == pytest.approx(0.5 * random.units["weight stream"])
    assert quiet.units["clocks"] == random.units["clocks"] and quiet.static == random.static


def test_devices() -> None:
    layers = [Layer("a", WORK, 2000)]
    plain = power(layers)
    old = power(layers, device=dataclasses.replace(DEVICE, family="zynq7000"))
    assert old.dynamic == pytest.approx(energies().family["zynq7000"].factor * plain.dynamic)
    assert old.ddr == pytest.approx(plain.ddr * energies().ddr["ddr3"].picojoule / energies().ddr["ddr4"].picojoule)
    large = power(layers, device=dataclasses.replace(DEVICE, uram=True))
    assert large.units["memories"] > plain.units["memories"]
