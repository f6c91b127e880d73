"""The clock that the timing model supports for an accelerator, without synthesis: from what was counted."""

from dataclasses import dataclass

from moesaic.boards.estimate import LongPath, counted, shipped
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Clocks", "supported_clocks"]


@dataclass(frozen=True)
class Clocks:
    """What the longest paths of an accelerator allow (`boards.synthesis.delays`); place and route alone can say more.

    Parameters
    ----------
    optimistic_mhz : float
        With nets as in small designs.
    pessimistic_mhz : float
        With nets as in a well filled device: what times and energies should be stated at.
    counted : bool
        Of exactly this accelerator and hardware; otherwise an estimate, the slowest of the accelerators of its family
        that were synthesised and have no larger array.
    paths : tuple of LongPath
        The longest of that accelerator.
    """

    optimistic_mhz: float
    pessimistic_mhz: float
    counted: bool
    paths: tuple[LongPath, ...] = ()


def supported_clocks(config: AcceleratorConfig, *, family: str, uram: bool) -> Clocks:
    """The clocks that the model supports, from ``boards/counts.json``; it takes no time and needs no Yosys.

    `moesaic.flow.counts` writes them, with the resources and the digest of the hardware that they belong to.

    Parameters
    ----------
    config : AcceleratorConfig
        Its name and clock do not matter.
    family : str
        ``zynqmp`` or ``zynq7000``.
    uram : bool
        The device has UltraRAM.
    """
    entry = shipped(config, family=family, uram=uram)
    if entry is not None:
        return Clocks(entry.optimistic_mhz, entry.pessimistic_mhz, True, entry.paths)
    family_counts = [entry for entry in counted() if entry.family == family]
    smallest = min(_multipliers(entry.config) for entry in family_counts)
    most = max(_multipliers(config), smallest)
    alike = [entry for entry in family_counts if _multipliers(entry.config) <= most]
    slowest = min(alike, key=lambda entry: entry.pessimistic_mhz)
    return Clocks(min(entry.optimistic_mhz for entry in alike), slowest.pessimistic_mhz, False, slowest.paths)


def _multipliers(config: AcceleratorConfig) -> int:
    return config.rows * config.lanes
