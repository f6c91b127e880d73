"""The two factors of the energy model, and the error that is printed with every energy."""

import dataclasses

import pytest

from moesaic.energy.calibration import calibrate, calibration, fit, uncalibrated_watts
from moesaic.energy.table import Design, energies, other_designs, published_designs


def made_up(luts: int, dsps: int, capacity: int) -> Design:
    """A design whose power follows the model exactly: 20 µW a LUT of the device, and three times the published
    energies.
    """
    design = Design(
        name="made up",
        board="none",
        source="",
        model="",
        precision="",
        latency_ms=2.0,
        gop=1.0,
        watts=1.0,
        clock_mhz=250,
        luts=luts,
        ffs=2 * luts,
        dsps=dsps,
        bram36=100,
        device_luts=capacity,
    )
    return dataclasses.replace(design, watts=20e-6 * capacity + 3 * uncalibrated_watts(design))


def test_dynamic_power_by_hand() -> None:
    design = made_up(1000, 10, 5000)
    chip = energies().chip
    # 0.5 GMAC in 2 ms are 250e9 multiplications a second; 250 MHz of 1000 LUTs, 2000 flip-flops, 100 block RAMs of 64
    # bits.
    expected = 250e9 * chip["dsp"].picojoule
    expected += 250e6 * (1000 * chip["lut"].picojoule + 2000 * chip["ff"].picojoule + 6400 * chip["ram_bit"].picojoule)
    assert uncalibrated_watts(design) == pytest.approx(1e-12 * expected)


def test_factors_of_designs_that_follow_the_model() -> None:
    designs = [
        made_up(1000, 10, 50_000),
        made_up(20_000, 500, 300_000),
        made_up(90_000, 900, 100_000),
        made_up(5_000, 30, 900_000),
    ]
    assert fit(designs) == pytest.approx((20e-6, 3.0))
    found = calibrate(designs)
    assert found.error == pytest.approx(0, abs=1e-9)
    # One of them measured 1.5 times too high: leaving it out shows exactly that.
    wrong = [*designs[:3], dataclasses.replace(designs[3], watts=1.5 * designs[3].watts)]
    assert calibrate(wrong).points[3].error == pytest.approx(1 / 1.5 - 1)


def test_published_designs() -> None:
    found = calibration()
    assert [point.design.title for point in found.points] == [
        "UbiMoE, ZCU102",
        "UbiMoE, U280",
        "CoQMoE, ZCU102",
        "CoQMoE, U280",
    ]
    assert [point.design.watts for point in found.points] == [11.50, 32.49, 9.83, 33.7]
    for point in found.points:
        others = [other for other in published_designs() if other is not point.design]
        static, factor = fit(others)
        assert point.left_out == pytest.approx(
            static * point.design.device_luts + factor * uncalibrated_watts(point.design)
        )
        assert abs(point.error) <= found.error
    assert found.rms_error <= found.error < 0.35
    assert found.static_watts_per_lut > 0 and found.factor > 0


def test_every_figure_has_a_source() -> None:
    table = energies()
    for entry in (
        *table.chip.values(),
        *table.ddr.values(),
        *table.family.values(),
        *published_designs(),
        *other_designs(),
    ):
        assert entry.source
    assert all(
        memory.least and memory.least_source and memory.least < memory.picojoule for memory in table.ddr.values()
    )


def test_too_little_to_calibrate() -> None:
    with pytest.raises(ValueError, match=r"designs must be three or more, not 2"):
        calibrate(published_designs()[:2])
    with pytest.raises(ValueError, match=r"clock_mhz of Edge.* must be known, not None"):
        uncalibrated_watts(dataclasses.replace(other_designs()[0], clock_mhz=None))
    backwards = [made_up(1000 * n, 10, 1_000_000 // n) for n in (1, 2, 3)]
    with pytest.raises(ValueError, match=r"factors of the calibration must be positive"):
        fit([dataclasses.replace(design, watts=1.0 / (design.watts or 1)) for design in backwards])
