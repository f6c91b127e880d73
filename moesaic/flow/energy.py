"""Energy of a run for its report: the model of `moesaic.energy` on counted activity, never without its error."""

from collections.abc import Mapping, Sequence
from typing import Any

from moesaic.energy.calibration import calibration
from moesaic.energy.model import Device, Power, Toggles, run_power
from moesaic.energy.table import energies
from moesaic.flow.boards import find_board
from moesaic.flow.layers import LayerWork
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["calibration_report", "device_of", "energy_report", "measured_toggles", "unknown_energy"]

_STAND_IN = "zcu102"  # whose device a bare preset is taken to be in


def device_of(config: AcceleratorConfig, board: str) -> tuple[Device, bool]:
    """The device of a board, and whether it is assumed because there is no board."""
    found = find_board(board) if board else None
    stand_in = found is None
    if found is None:
        found = find_board(_STAND_IN)
    assert found is not None
    return Device(name=found.part, luts=found.budget.lut, family=found.family, uram=config.ultra_ram), stand_in


def measured_toggles(
    before: Mapping[str, int], after: Mapping[str, int], *, stream_bytes: int, vector_bits: int
) -> dict[str, float] | None:
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

    return {
        "weights": round(count("beat_toggles") / (8 * stream_bytes), 5),
        "vectors": round(count("activation_toggles", "residual_toggles") / vector_bits, 5),
    }


def calibration_report() -> dict[str, Any]:
    """Prediction beside measurement for each published design, and the errors."""
    found = calibration()
    return {
        "error": round(found.error, 4),
        "rms_error": round(found.rms_error, 4),
        "static_w_per_1000_luts": round(1000 * found.static_watts_per_lut, 5),
        "factor": round(found.factor, 4),
        "designs": [
            {
                "name": point.design.name,
                "board": point.design.board,
                "measured_w": point.design.watts,
                "fitted_w": round(point.fitted, 3),
                "left_out_w": round(point.left_out, 3),
                "error": round(point.error, 4),
                "assumed": list(point.design.assumed),
                "source": point.design.source,
            }
            for point in found.points
        ],
        "operations": {
            name: {"title": op.title, "picojoule": round(op.picojoule, 4), "source": op.source}
            for name, op in energies().chip.items()
        },
    }


def unknown_energy(note: str) -> dict[str, Any]:
    """The fields of a run of which no energy can be told, and why."""
    return {
        "power_w": None,
        "energy_mj_per_frame": None,
        "energy_error": round(calibration().error, 4),
        "energy": {"note": note},
    }


def _fields(power: Power, device: Device) -> dict[str, Any]:
    def millijoule(joule: float) -> float:
        return round(1e3 * joule, 6)

    memory = energies().ddr[device.process.ddr]
    return {
        "power_w": {
            "static": round(power.watts(power.static), 4),
            "dynamic": round(power.watts(power.dynamic), 4),
            "ddr": round(power.watts(power.ddr), 4),
        },
        "energy_mj_per_frame": millijoule(power.joule),
        "energy_error": round(power.error, 4),
        "energy": {
            "note": "",
            "static_mj": millijoule(power.static),
            "dynamic_mj": millijoule(power.dynamic),
            "chip_mj": millijoule(power.static + power.dynamic),
            "ddr_mj": millijoule(power.ddr),
            "ddr_least_mj": millijoule(power.ddr_least),
            "ddr": {
                "picojoule_per_bit": memory.picojoule,
                "least": memory.least,
                "source": memory.source,
                "least_source": memory.least_source,
            },
            "units_mj": {unit: millijoule(joule) for unit, joule in power.units.items()},
            "layers_mj": {name: millijoule(joule) for name, joule in power.layers.items()},
            "device": device.name,
            "family": device.process.title,
            "family_factor": device.process.factor,
            "family_source": device.process.source,
        },
    }


def energy_report(
    works: Sequence[LayerWork],
    resources: Mapping[str, Any],
    config: AcceleratorConfig,
    board: str,
    *,
    instruction_bytes: int = 0,
    toggles: Mapping[str, float] | None = None,
    measured: bool = False,
) -> dict[str, Any]:
    """`power_w`, `energy_mj_per_frame`, `energy_error` and `energy` of one task.

    Parameters
    ----------
    works : sequence of LayerWork
    resources : mapping
        Of `flow.resources`: with `units`, if they are known.
    config : AcceleratorConfig
    board : str
        Name or file of the board, or of a bare preset.
    instruction_bytes : int
        Read from DDR beside weights and image.
    toggles : mapping, optional
        Of `measured_toggles`.
    measured : bool
        The cycles were counted by the RTL.
    """
    device, stand_in = device_of(config, board)
    power = run_power(
        resources["units"],
        [work.layer for work in works],
        device,
        clock_mhz=config.clock_mhz,
        beat_bytes=config.stripe_bytes,
        instruction_bytes=instruction_bytes,
        toggles=None if toggles is None else Toggles(**toggles),
    )
    result = _fields(power, device)
    result["energy"] |= {
        "device_assumed": stand_in,
        "incomplete": bool(resources["incomplete"]),
        "resources": resources["source"],
        "toggles": None if toggles is None else dict(toggles),
        "cycles": "RTL" if measured else "analytic model",
    }
    return result
