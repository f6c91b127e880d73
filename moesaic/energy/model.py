"""Energy of a run: static, dynamic by unit and by layer, and DDR, from resources, activity and the calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesaic.energy.activity import Activity
from moesaic.energy.calibration import Calibration, calibration
from moesaic.energy.table import Family, energies
from moesaic.hw.spec.units import Work, unit_called

__all__ = ["RANDOM_TOGGLES", "Device", "Layer", "Power", "Toggles", "run_power"]

RANDOM_TOGGLES = 0.5  # of the bits of random data change from word to word: what the published energies are of
MEMORIES = "memories"
CLOCKS = "clocks"


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a design is in.

    Parameters
    ----------
    name : str
        For reports.
    luts : int
        Capacity.
    family : str
    uram : bool
        Prefetch buffer and activation memory are UltraRAM.
    """

    name: str
    luts: int
    family: str = "zynqmp"
    uram: bool = False

    @property
    def process(self) -> Family:
        """Its family's entry in energies.toml."""
        return energies().family[self.family]


@dataclass(frozen=True, kw_only=True)
class Toggles:
    """Share of the bits that change from one word to the next, by where they were counted; random data: 0.5."""

    weights: float = RANDOM_TOGGLES
    vectors: float = RANDOM_TOGGLES


@dataclass(frozen=True)
class Layer:
    """A part of a run.

    Parameters
    ----------
    name : str
    activity : Activity
    cycles : float
        Of the run's time.
    """

    name: str
    activity: Activity
    cycles: float


@dataclass(frozen=True, kw_only=True)
class Power:
    """Energy of a run, J, and power while it runs, W; every figure with the calibration's `error`.

    Parameters
    ----------
    seconds : float
    static, ddr, ddr_least : float, J
    units : dict of unit to J
        The dynamic part on chip.
    layers : dict of layer to J
        All of it.
    error : float
        Largest leave-one-out error of static and dynamic power on published designs, relative.
    """

    seconds: float
    static: float
    ddr: float
    ddr_least: float
    units: dict[str, float]
    layers: dict[str, float]
    error: float

    @property
    def dynamic(self) -> float:
        """On chip, J."""
        return sum(self.units.values())

    @property
    def joule(self) -> float:
        """All of it, DDR included."""
        return self.static + self.dynamic + self.ddr

    def watts(self, joule: float) -> float:
        """Mean power of an energy of this run."""
        return joule / self.seconds if self.seconds else 0.0


def _work(unit: str, activity: Activity, beat_bytes: int) -> int:
    """Cycles in which a unit works; of control, only the clocks are counted."""
    work = unit_called(unit).work
    if work is Work.NOTHING:
        return 0
    if work is Work.BEATS:
        return -(-activity.stream_bytes // beat_bytes)
    if work is Work.STORED:
        return -(-activity.stored_bytes // beat_bytes)
    count: int = getattr(activity, work.value)
    return count


def run_power(
    units: Mapping[str, Mapping[str, float]],
    layers: Sequence[Layer],
    device: Device,
    *,
    clock_mhz: float,
    beat_bytes: int,
    instruction_bytes: int = 0,
    toggles: Toggles | None = None,
    calibrated: Calibration | None = None,
) -> Power:
    """Energy of a run.

    Parameters
    ----------
    units : mapping of unit to amounts
        `lut`, `ff` and `dsp` of each unit of the design.
    layers : sequence of Layer
        Their cycles add up to the run's.
    device : Device
    clock_mhz : float
    beat_bytes : int
        That all weight ports deliver in a cycle.
    instruction_bytes : int
        Read from DDR beside the weight stream.
    toggles : Toggles, optional
        Measured; random data if not given.
    calibrated : Calibration, optional
        In place of the one on published.toml.
    """
    calibrated = calibration() if calibrated is None else calibrated
    toggles = Toggles() if toggles is None else toggles
    table = energies()
    scale = 1e-12 * calibrated.factor * device.process.factor
    lut, ff, dsp = (table.chip[name].picojoule for name in ("lut", "ff", "dsp"))
    ram = table.chip["ram_bit"].picojoule
    large = table.chip["uram_bit"].picojoule if device.uram else ram
    clocks = sum(amount["ff"] for amount in units.values()) * ff
    seconds = sum(layer.cycles for layer in layers) / (1e6 * clock_mhz)
    static = calibrated.static_watts_per_lut * device.luts
    per_bit = table.ddr[device.process.ddr]

    def data(unit: str) -> float:
        rate = toggles.weights if unit_called(unit).work is Work.BEATS else toggles.vectors
        return rate / RANDOM_TOGGLES

    spent = dict.fromkeys([*units, MEMORIES, CLOCKS], 0.0)
    by_layer: dict[str, float] = {}
    ddr_bits = 8.0 * instruction_bytes
    for layer in layers:
        activity = layer.activity
        parts = {
            unit: scale * _work(unit, activity, beat_bytes) * data(unit) * (amount["lut"] * lut + amount["dsp"] * dsp)
            for unit, amount in units.items()
        }
        bits = activity.kv_bits + activity.residual_bits + activity.accumulator_bits + activity.gate_bits
        parts[MEMORIES] = scale * (bits * ram + (activity.activation_bits + activity.prefetch_bits) * large)
        parts[CLOCKS] = scale * clocks * layer.cycles
        for unit, joule in parts.items():
            spent[unit] += joule
        moved = 8.0 * (activity.stream_bytes + activity.stored_bytes)
        ddr_bits += moved
        by_layer[layer.name] = by_layer.get(layer.name, 0.0) + (
            sum(parts.values()) + 1e-12 * moved * per_bit.picojoule + static * layer.cycles / (1e6 * clock_mhz)
        )
    least = per_bit.picojoule if per_bit.least is None else per_bit.least
    return Power(
        seconds=seconds,
        static=static * seconds,
        ddr=1e-12 * ddr_bits * per_bit.picojoule,
        ddr_least=1e-12 * ddr_bits * least,
        units=spent,
        layers=by_layer,
        error=calibrated.error,
    )
