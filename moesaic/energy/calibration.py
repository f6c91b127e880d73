"""Two factors, fitted on published accelerators, and the error that leaving each of them out shows."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moesaic.energy.table import Design, energies, published_designs

__all__ = ["Calibration", "Point", "calibrate", "calibration", "fit", "uncalibrated_watts"]

RAM_PORT_BITS = 64  # that a published design's block RAM is assumed to read or write in each cycle


def uncalibrated_watts(design: Design) -> float:
    """Dynamic power on chip by the published energies alone, W.

    Multiplications follow from the operations and the latency that are published. Of the rest only the amount is: every
    LUT is taken to compute, and every block RAM to be read or written once, in each cycle.
    """
    if design.clock_mhz is None:
        raise ValueError(f"clock_mhz of {design.title} must be known, not {design.clock_mhz!r}")
    chip, hertz = energies().chip, design.clock_mhz * 1e6
    multiplications = design.gop * 1e9 / 2 / (design.latency_ms * 1e-3) * design.dsp_per_mac
    per_cycle = design.luts * chip["lut"].picojoule + design.ffs * chip["ff"].picojoule
    per_cycle += design.bram36 * RAM_PORT_BITS * chip["ram_bit"].picojoule
    return 1e-12 * (multiplications * chip["dsp"].picojoule + hertz * per_cycle)


@dataclass(frozen=True)
class Point:
    """A published design, and what the model says of it.

    Parameters
    ----------
    design : Design
    fitted, left_out : float, W
        Predicted by the factors of all designs, and by those of the others.
    """

    design: Design
    fitted: float
    left_out: float

    @property
    def error(self) -> float:
        """Of the prediction from the others, over the measurement."""
        assert self.design.watts is not None
        return self.left_out / self.design.watts - 1


@dataclass(frozen=True)
class Calibration:
    """The model's two factors, and how wrong it was.

    Parameters
    ----------
    static_watts_per_lut : float, W
        Of the device's capacity, used or not: leakage, processing system or shell, what always runs.
    factor : float
        Dynamic energy over that of energies.toml.
    points : tuple of Point
    """

    static_watts_per_lut: float
    factor: float
    points: tuple[Point, ...]

    @property
    def error(self) -> float:
        """The largest leave-one-out error: what every energy is printed with."""
        return max(abs(point.error) for point in self.points)

    @property
    def rms_error(self) -> float:
        """Root of the mean square of the leave-one-out errors."""
        return math.sqrt(sum(point.error**2 for point in self.points) / len(self.points))

    def predict(self, design: Design) -> float:
        """Power of a design, W."""
        return self.static_watts_per_lut * design.device_luts + self.factor * uncalibrated_watts(design)


def fit(designs: Sequence[Design]) -> tuple[float, float]:
    """Static power for each LUT of the device (W), and the factor of the dynamic part: least squares of relative
    errors.
    """
    measured = np.array([design.watts for design in designs], float)
    terms = np.array([[design.device_luts, uncalibrated_watts(design)] for design in designs])
    static, factor = np.linalg.lstsq(terms / measured[:, None], np.ones(len(designs)), rcond=None)[0]
    if static <= 0 or factor <= 0:
        raise ValueError(f"factors of the calibration must be positive, not {static:.3g} W per LUT and {factor:.3g}")
    return float(static), float(factor)


def calibrate(designs: Sequence[Design]) -> Calibration:
    """Fit all designs, and each from the others.

    Raises
    ------
    ValueError
        If there are fewer than three designs, or a factor is not positive.
    """
    if len(designs) < 3:
        raise ValueError(f"designs must be three or more, not {len(designs)!r}")
    bare = Calibration(*fit(designs), ())
    points = []
    for design in designs:
        others = Calibration(*fit([other for other in designs if other is not design]), ())
        points.append(Point(design, bare.predict(design), others.predict(design)))
    return Calibration(bare.static_watts_per_lut, bare.factor, tuple(points))


@functools.cache
def calibration() -> Calibration:
    """The calibration on published.toml."""
    return calibrate(published_designs())
