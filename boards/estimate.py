"""Resources of any configuration, without synthesis: logic fitted to accelerators that were synthesised, memories by
rule.
"""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

from moesaic.boards.hardware import hardware_digest
from moesaic.boards.memory_rules import memories
from moesaic.boards.resources import Resources
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.units import unit_called, unit_of
from moesaic.records import called, from_plain

__all__ = [
    "COUNTS",
    "Counted",
    "LongPath",
    "Model",
    "added",
    "counted",
    "estimate_resources",
    "fit",
    "model",
    "shipped",
]

COUNTS = "counts.json"  # what `python -m moesaic.flow.counts` wrote
_FITTED = ("lut", "ff", "dsp")
_SHORT = 16  # lanes of arrays with two slices to a chain, not eight (hw.engine.packed)

_ARRAY, _EXTRA = unit_of(("core", "array")).title, unit_of(("core", "extra")).title


def _features(config: AcceleratorConfig, family: str) -> dict[str, float]:
    """What the logic of a unit grows with (`Unit.grows`)."""
    short = config.lanes <= _SHORT
    return {
        "one": 1,
        "rows": config.rows,
        "scores": config.rows * (2 if config.packed_keys else 1),  # of a cycle
        "rows of 7 series": config.rows if family == "zynq7000" else 0,  # 25 x 18 bits to a DSP slice, not 27
        "lanes": config.lanes,
        "lanes of all ports": config.lanes * config.ports,
        # A multiplier for every lane; of rows, a product on its way.
        "rows and lanes beside an extra key": config.lanes + config.rows if config.extra_key else 0,
        "products": 0 if short else config.macs_per_cycle,
        "products of short chains": config.macs_per_cycle if short else 0,
        "ranks": config.experts * config.max_top_k,
        "word": config.word_bytes,
        "stripe": config.stripe_bytes,
        "ports": config.ports,
    }


def added(units: Mapping[str, Resources]) -> Resources:
    """All units together."""
    return functools.reduce(Resources.__add__, units.values(), Resources())


@dataclass(frozen=True, kw_only=True)
class LongPath:
    """A path of the pessimistic corner between two registers, by instance path and signal.

    Parameters
    ----------
    start, end : str
    delay_ns, optimistic_ns : float, ns
        With long nets, and with short ones.
    """

    start: str = field(metadata=called("from"))
    end: str = field(metadata=called("to"))
    delay_ns: float
    optimistic_ns: float


@dataclass(frozen=True)
class Counted:
    """What synthesis counted of one accelerator.

    Parameters
    ----------
    config : AcceleratorConfig
    family : str
    uram : bool
        The device had UltraRAM.
    units : dict of str to Resources
    hardware : str
        `hardware_digest` of what was counted.
    optimistic_mhz, pessimistic_mhz : float
        Clocks that its longest paths allow (`boards.clocks`).
    delays : str
        `Delays.digest` of the figures behind these.
    paths : tuple of LongPath
        Its longest, the longest first.
    """

    config: AcceleratorConfig
    family: str
    uram: bool
    units: dict[str, Resources]
    hardware: str = ""
    optimistic_mhz: float = 0.0
    pessimistic_mhz: float = 0.0
    delays: str = ""
    paths: tuple[LongPath, ...] = ()

    @property
    def total(self) -> Resources:
        """All units."""
        return added(self.units)

    def is_of(self, config: AcceleratorConfig, *, family: str, uram: bool) -> bool:
        """Whether it is the count of an accelerator, whatever its name and clock are."""
        mine, other = (accelerator.replace(name="", clock_mhz=1.0) for accelerator in (self.config, config))
        return (mine, self.family, self.uram) == (other, family, uram)


@dataclass(frozen=True)
class Model:
    """Amount of each kind per unit of growth.

    Parameters
    ----------
    coefficients : dict of (unit, kind) to dict of str to float
        By what the unit grows with.
    """

    coefficients: dict[tuple[str, str], dict[str, float]]

    def units(self, config: AcceleratorConfig, *, family: str, uram: bool) -> dict[str, Resources]:
        """Resources by unit.

        Parameters
        ----------
        config : AcceleratorConfig
        family : str
            ``zynqmp`` or ``zynq7000``.
        uram : bool
            The device has UltraRAM.
        """
        result = dict[str, Resources]()
        for unit, kind, amount in self._logic(config, family):
            result[unit] = result.get(unit, Resources()) + Resources(**{kind: amount})
        for unit, memory in memories(config, uram=uram).items():
            result[unit] = result.get(unit, Resources()) + memory
        return result

    def total(self, config: AcceleratorConfig, *, family: str, uram: bool) -> Resources:
        """All units; parameters as of `units`."""
        amounts = dict.fromkeys(_FITTED, 0)  # of hundreds of configurations: summed up first
        for _, kind, amount in self._logic(config, family):
            amounts[kind] += amount
        return Resources(**amounts) + added(memories(config, uram=uram))

    def _logic(self, config: AcceleratorConfig, family: str) -> Iterator[tuple[str, str, int]]:
        """Unit, kind and amount of everything that is fitted."""
        features = _features(config, family)
        # Two products to a slice; on 7 series a packed weight of 27 bits takes two slices.
        yield _ARRAY, "dsp", config.macs_per_cycle // (1 if family == "zynq7000" and config.lanes > _SHORT else 2)
        yield _EXTRA, "dsp", config.lanes if config.extra_key else 0
        for (unit, kind), growth in self.coefficients.items():
            if kind != "dsp" or unit not in (_ARRAY, _EXTRA):
                yield unit, kind, max(0, round(sum(value * features[name] for name, value in growth.items())))


def fit(samples: Sequence[Counted]) -> Model:
    """The model that comes closest to what was counted, in per cent of each count; no growth is negative.

    Raises
    ------
    ValueError
        If there is no sample.
    """
    if not samples:
        raise ValueError("samples must be at least one accelerator, not none")
    coefficients = {}
    for unit in dict.fromkeys(unit for sample in samples for unit in sample.units):
        names = unit_called(unit).grows
        for kind in _FITTED:
            counts = np.array([sample.units.get(unit, Resources()).to_dict()[kind] for sample in samples], float)
            if not counts.any():
                continue
            table = np.array([[_features(sample.config, sample.family)[name] for name in names] for sample in samples])
            coefficients[unit, kind] = dict(zip(names, _closest(table, counts), strict=True))
    return Model(coefficients)


def _closest(table: np.ndarray, counts: np.ndarray) -> list[float]:
    """Non-negative weights of the columns; those that would be negative are left out one by one."""
    scale = np.maximum(counts, 1.0)
    left = list(range(table.shape[1]))
    while True:
        found = np.linalg.lstsq(table[:, left] / scale[:, None], counts / scale, rcond=None)[0]
        if (found >= 0).all() or len(left) == 1:
            break
        left.pop(int(found.argmin()))
    result = [0.0] * table.shape[1]
    for position, value in zip(left, found, strict=True):
        result[position] = round(max(0.0, float(value)), 4)
    return result


@functools.cache
def counted() -> tuple[Counted, ...]:
    """The accelerators that were synthesised."""
    entries = json.loads((resources.files("moesaic.boards") / COUNTS).read_text(encoding="utf-8"))
    return tuple(
        Counted(
            AcceleratorConfig(**entry["config"]),
            entry["family"],
            entry["uram"],
            {unit: Resources(**amount) for unit, amount in entry["units"].items()},
            entry["hardware"],
            entry["optimistic_mhz"],
            entry["pessimistic_mhz"],
            entry["delays"],
            tuple(
                from_plain(LongPath, path, f"path of {entry['config']['name']}") for path in entry.get("paths", ())
            ),  # older counts have none
        )
        for entry in entries
    )


def shipped(config: AcceleratorConfig, *, family: str, uram: bool) -> Counted | None:
    """The count of exactly this accelerator, as the hardware is now; None if there is none.

    Parameters
    ----------
    config : AcceleratorConfig
        Its name and clock do not matter.
    family : str
    uram : bool
        The device has UltraRAM.
    """
    found = (entry for entry in counted() if entry.is_of(config, family=family, uram=uram))
    return next((entry for entry in found if entry.hardware == hardware_digest()), None)


@functools.cache
def model() -> Model:
    """Fitted to all of them."""
    return fit(counted())


def estimate_resources(config: AcceleratorConfig, *, family: str, uram: bool) -> Resources:
    """What an accelerator takes, estimated; parameters as of `Model.units`."""
    return model().total(config, family=family, uram=uram)
