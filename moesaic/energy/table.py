"""The published figures, as data: energies of operations (energies.toml) and accelerators (published.toml)."""

import functools
import importlib.resources
import tomllib
from dataclasses import dataclass
from typing import Any

__all__ = ["Design", "Energies", "Family", "Operation", "energies", "other_designs", "published_designs"]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one operation takes, and who says so.

    Parameters
    ----------
    title : str
    picojoule : float, pJ
    source : str
    least : float or None, pJ
        The lowest that is published, where sources disagree.
    least_source : str
    """

    title: str
    picojoule: float
    source: str
    least: float | None = None
    least_source: str = ""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A device family against the calibration's.

    Parameters
    ----------
    title, source : str
    factor : float
        Energy of its fabric over that of the calibration's designs.
    ddr : str
        The memory beside it, by name.
    """

    title: str
    factor: float
    ddr: str
    source: str


@dataclass(frozen=True)
class Energies:
    """All of energies.toml.

    Parameters
    ----------
    chip : dict of str to Operation
        `dsp`, `lut`, `ff`, `ram_bit`, `uram_bit`: before the calibration's factor.
    ddr : dict of str to Operation
        For each bit.
    family : dict of str to Family
    """

    chip: dict[str, Operation]
    ddr: dict[str, Operation]
    family: dict[str, Family]


@dataclass(frozen=True, kw_only=True)
class Design:
    """A published accelerator.

    Parameters
    ----------
    name, board, source, model, precision : str
    latency_ms : float
        Of one image.
    gop : float
        Operations of one image, two for each multiply-accumulate, as its publication counts them.
    watts : float or None
        Measured.
    clock_mhz : float or None
    luts, ffs, dsps : int
    bram36 : float
    device_luts : int
        Capacity of the device.
    dsp_per_mac : float
        Slices at work for one multiply-accumulate.
    assumed : tuple of str
        What is not published.
    """

    name: str
    board: str
    source: str
    model: str
    precision: str
    latency_ms: float
    gop: float
    watts: float | None = None
    clock_mhz: float | None = None
    luts: int = 0
    ffs: int = 0
    dsps: int = 0
    bram36: float = 0
    device_luts: int = 0
    dsp_per_mac: float = 1
    assumed: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name and board."""
        return f"{self.name}, {self.board}"

    @property
    def millijoule(self) -> float | None:
        """Of one image: watts times latency."""
        return None if self.watts is None else self.watts * self.latency_ms


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((importlib.resources.files("moesaic.energy") / name).read_text(encoding="utf-8"))


@functools.cache
def energies() -> Energies:
    """Energies of operations."""
    table = _read("energies.toml")
    return Energies(
        chip={name: Operation(**entry) for name, entry in table["chip"].items()},
        ddr={name: Operation(**entry) for name, entry in table["ddr"].items()},
        family={name: Family(**entry) for name, entry in table["family"].items()},
    )


def _designs(section: str) -> tuple[Design, ...]:
    return tuple(
        Design(**{**entry, "assumed": tuple(entry.get("assumed", ()))}) for entry in _read("published.toml")[section]
    )


@functools.cache
def published_designs() -> tuple[Design, ...]:
    """Accelerators whose resources, clock and measured power are known or assumed: the calibration's."""
    return _designs("design")


@functools.cache
def other_designs() -> tuple[Design, ...]:
    """Accelerators to compare with, of which too little is known for a calibration."""
    return _designs("other")
