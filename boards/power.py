"""Power of a board: what PYNQ's sensors say of its rails, idle and while it runs."""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from moesaic.errors import FailedRun, InputError

__all__ = ["CORE", "INTERVAL_S", "LEAST_SAMPLES", "Power", "PowerRecorder", "Rail", "check_duration"]

CORE = "INT"  # the fabric's core voltage (VCCINT), as PYNQ's zcu104.conf names it
INTERVAL_S = 0.01  # between two looks at the sensors
LEAST_SAMPLES = 10  # of each phase; fewer are no mean
LEAST_S = 0.2  # of each phase


@dataclass(frozen=True)
class Rail:
    """Mean power of one rail.

    Parameters
    ----------
    idle_w, busy_w : float, W
        Before the runs, and during them.
    idle_samples, busy_samples : int
    """

    idle_w: float
    busy_w: float
    idle_samples: int
    busy_samples: int

    @property
    def added_w(self) -> float:
        """What running adds, W."""
        return self.busy_w - self.idle_w


@dataclass(frozen=True)
class Power:
    """A measurement.

    Parameters
    ----------
    rails : mapping of str to Rail
        By PYNQ's names: `INT` (fabric), `12V` (the whole board, INA226: PYNQ 4.0), ...
    seconds : float
        How long images ran.
    images : int
        Runs in that time times images of a run.
    busy : float
        Part of the time between start and interrupt; the rest is the host's.
    """

    rails: Mapping[str, Rail]
    seconds: float
    images: int
    busy: float

    def joules_an_image(self, rail: str = CORE) -> float:
        """Energy that running adds to a rail, for each image."""
        return self.rails[rail].added_w * self.seconds / self.images

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a file."""
        rails = {
            name: {
                "idle_w": round(rail.idle_w, 4),
                "busy_w": round(rail.busy_w, 4),
                "idle_samples": rail.idle_samples,
                "busy_samples": rail.busy_samples,
                "joules_an_image": self.joules_an_image(name),
            }
            for name, rail in self.rails.items()
        }
        return {"seconds": self.seconds, "images": self.images, "busy": self.busy, "rails": rails}


def check_duration(seconds: object) -> float:
    """How long to measure each phase.

    Raises
    ------
    InputError
        If the sensors could not be read often enough, or it is not a number.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not LEAST_S <= seconds <= 3600:  # type: ignore[operator]
        raise InputError(f"seconds must be a number from {LEAST_S:g} to 3600, not {seconds!r}")
    return float(seconds)  # type: ignore[arg-type]


class PowerRecorder:
    """Records every rail that has a power sensor during :meth:`recording`; :meth:`mark` ends the idle phase.

    It is PYNQ's `DataRecorder`, a thread that reads the sensors one after the other.

    Raises
    ------
    FailedRun
        If PYNQ knows no rail with a power sensor.
    """

    def __init__(self) -> None:
        self._pmbus: Any = importlib.import_module("pynq.pmbus")
        rails = self._pmbus.get_rails()
        self.sensors = {name: rail.power for name, rail in sorted(rails.items()) if rail.power is not None}
        if not self.sensors:
            raise FailedRun(
                f"power must be measurable, but PYNQ finds {len(rails)} rails and no power sensor: on a ZCU104 the "
                f"rail {CORE} needs PYNQ 2.3 or newer, and 12V needs 4.0"
            )
        self._recorder: Any = self._pmbus.DataRecorder(*self.sensors.values())

    @contextmanager
    def recording(self) -> Iterator[None]:
        """While this lasts."""
        self._recorder.record(INTERVAL_S)
        try:
            yield
        finally:
            self._recorder.stop()

    def mark(self) -> None:
        """The images begin."""
        self._recorder.mark()

    def rails(self) -> dict[str, Rail]:
        """Means of both phases.

        Raises
        ------
        FailedRun
            If a phase has too few samples, or a sensor gave something that is no power.
        """
        frame = self._recorder.frame
        marks = np.asarray(frame["Mark"])
        phases = [marks == marks.min(), marks > marks.min()] if len(marks) else [marks, marks]
        counts = [int(phase.sum()) for phase in phases]
        if min(counts) < LEAST_SAMPLES:
            raise FailedRun(
                f"power must have {LEAST_SAMPLES} samples idle and busy, not {counts[0]} and {counts[1]}: "
                "measure longer"
            )
        found = {}
        for name, sensor in self.sensors.items():
            watts = np.asarray(frame[sensor.name], np.float64)
            if not np.isfinite(watts).all() or watts.min() < 0:
                raise FailedRun(f"rail {name} must have a power of 0 W or more, not {watts.min()} W")
            found[name] = Rail(float(watts[phases[0]].mean()), float(watts[phases[1]].mean()), *counts)
        return found
