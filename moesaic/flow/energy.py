"""Energy of a run for its report: the model of `moesaic.energy` on counted activity, never without its error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesaic.energy.calibration import calibration
from moesaic.energy.model import Device, Toggles, run_power
from moesaic.energy.table import energies
from moesaic.flow.boards import find_board
from moesaic.flow.layers import LayerWork
from moesaic.flow.resources import ReportedResources
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = [
    "CalibrationReport",
    "EnergyReport",
    "RunEnergy",
    "calibration_report",
    "device_of",
    "measured_toggles",
    "run_energy",
    "unknown_energy",
]

_STAND_IN = "zcu102"  # whose device a bare preset is taken to be in


@dataclass(frozen=True)
class PredictedDesign:
    """A published accelerator: its watts as measured, as fitted, and as predicted from the others alone."""

    name: str
    board: str
    measured_w: float | None
    fitted_w: float
    left_out_w: float
    error: float
    assumed: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class OperationEnergy:
    """Published energy of an operation, pJ."""

    title: str
    picojoule: float
    source: str


@dataclass(frozen=True)
class CalibrationReport:
    """How far the energy model is off: relative errors (largest, root mean square), factor, and what they are from."""

    error: float
    rms_error: float
    static_w_per_1000_luts: float
    factor: float
    designs: tuple[PredictedDesign, ...]
    operations: Mapping[str, OperationEnergy]


@dataclass(frozen=True)
class MeanPower:
    """While an image is computed, W."""

    static: float
    dynamic: float
    ddr: float


@dataclass(frozen=True)
class DdrEnergy:
    """Of a bit of DDR, pJ: as taken, and the least that is published."""

    picojoule_per_bit: float
    least: float | None
    source: str
    least_source: str


@dataclass(frozen=True, kw_only=True)
class EnergyReport:
    """Energy of an image, mJ, by what spends it, and what it was computed from.

    Parameters
    ----------
    static_mj, dynamic_mj, chip_mj : float
        On chip: both, and their sum.
    ddr_mj, ddr_least_mj : float
    ddr : DdrEnergy
    units_mj : mapping of unit to float
        Dynamic.
    layers_mj : mapping of layer to float
        All included.
    device, family, family_source : str
    family_factor : float
        Against the family of the calibration.
    device_assumed : bool
        There is no board: static power is that of a stand-in.
    incomplete : bool
        The resources are.
    resources : str
        How they are known.
    toggles : Toggles or None
        None if they were not counted.
    cycles : str
        What counted them.
    """

    static_mj: float
    dynamic_mj: float
    chip_mj: float
    ddr_mj: float
    ddr_least_mj: float
    ddr: DdrEnergy
    units_mj: Mapping[str, float]
    layers_mj: Mapping[str, float]
    device: str
    family: str
    family_factor: float
    family_source: str
    device_assumed: bool
    incomplete: bool
    resources: str
    toggles: Toggles | None
    cycles: str


@dataclass(frozen=True)
class RunEnergy:
    """Energy of one task's run; None where none can be told. The error is relative, of what is on chip."""

    power_w: MeanPower | None
    energy_mj_per_frame: float | None
    energy_error: float
    energy: EnergyReport | None


def device_of(accelerator: AcceleratorConfig, board: str) -> tuple[Device, bool]:
    """The device of a board, and whether it is assumed because there is no board."""
    found = find_board(board) if board else None
    stand_in = found is None
    if found is None:
        found = find_board(_STAND_IN)
    assert found is not None
    return Device(
        name=found.part, luts=found.budget.lut, family=found.system.fabric, uram=bool(accelerator.ultra_ram)
    ), stand_in


def measured_toggles(
    before: Mapping[str, int], after: Mapping[str, int], *, stream_bytes: int, vector_bits: int
) -> Toggles | None:
    """Share of bits that toggle, from the test bench's counters at the last marks of two runs; None if nothing moved.

    Parameters
    ----------
    before, after : mapping of counter to int
        `beat_toggles`, `activation_toggles`, `residual_toggles`; `before` may be empty.
    stream_bytes : int
        That came over the weight ports in between.
    vector_bits : int
        That the feeder read from activation and residual memory.
    """
    if not stream_bytes or not vector_bits:
        return None

    def count(*names: str) -> int:
        return sum(after[name] - before.get(name, 0) for name in names)

    return Toggles(
        weights=round(count("beat_toggles") / (8 * stream_bytes), 5),
        vectors=round(count("activation_toggles", "residual_toggles") / vector_bits, 5),
    )


def calibration_report() -> CalibrationReport:
    """Prediction beside measurement for each published design, and the errors."""
    found = calibration()
    return CalibrationReport(
        error=round(found.error, 4),
        rms_error=round(found.rms_error, 4),
        static_w_per_1000_luts=round(1000 * found.static_watts_per_lut, 5),
        factor=round(found.factor, 4),
        designs=tuple(
            PredictedDesign(
                name=point.design.name,
                board=point.design.board,
                measured_w=point.design.watts,
                fitted_w=round(point.fitted, 3),
                left_out_w=round(point.left_out, 3),
                error=round(point.error, 4),
                assumed=tuple(point.design.assumed),
                source=point.design.source,
            )
            for point in found.points
        ),
        operations={
            name: OperationEnergy(op.title, round(op.picojoule, 4), op.source) for name, op in energies().chip.items()
        },
    )


def unknown_energy() -> RunEnergy:
    """Of a run of which nothing is claimed."""
    return RunEnergy(None, None, round(calibration().error, 4), None)


def run_energy(
    works: Sequence[LayerWork],
    resources: ReportedResources,
    accelerator: AcceleratorConfig,
    board: str,
    *,
    instruction_bytes: int = 0,
    toggles: Toggles | None = None,
    measured: bool = False,
) -> RunEnergy:
    """What one task's run spends.

    Parameters
    ----------
    works : sequence of LayerWork
    resources : ReportedResources
    accelerator : AcceleratorConfig
    board : str
        Name or file of the board, or of a bare preset.
    instruction_bytes : int
        Read from DDR beside weights and image.
    toggles : Toggles, optional
        Of `measured_toggles`.
    measured : bool
        The cycles were counted by the RTL.
    """
    device, stand_in = device_of(accelerator, board)
    power = run_power(
        {unit: amount.to_dict() for unit, amount in resources.units.items()},
        [work.layer for work in works],
        device,
        clock_mhz=accelerator.clock_mhz,
        beat_bytes=accelerator.stripe_bytes,
        instruction_bytes=instruction_bytes,
        toggles=toggles,
    )
    memory = energies().ddr[device.process.ddr]
    details = EnergyReport(
        static_mj=_millijoule(power.static),
        dynamic_mj=_millijoule(power.dynamic),
        chip_mj=_millijoule(power.static + power.dynamic),
        ddr_mj=_millijoule(power.ddr),
        ddr_least_mj=_millijoule(power.ddr_least),
        ddr=DdrEnergy(memory.picojoule, memory.least, memory.source, memory.least_source),
        units_mj={unit: _millijoule(joule) for unit, joule in power.units.items()},
        layers_mj={name: _millijoule(joule) for name, joule in power.layers.items()},
        device=device.name,
        family=device.process.title,
        family_factor=device.process.factor,
        family_source=device.process.source,
        device_assumed=stand_in,
        incomplete=resources.incomplete,
        resources=resources.source,
        toggles=toggles,
        cycles="RTL" if measured else "analytic model",
    )
    watts = MeanPower(*(round(power.watts(joule), 4) for joule in (power.static, power.dynamic, power.ddr)))
    return RunEnergy(watts, _millijoule(power.joule), round(power.error, 4), details)


def _millijoule(joule: float) -> float:
    return round(1e3 * joule, 6)
