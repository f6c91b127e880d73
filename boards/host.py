"""What stands between a host and the fabric: the processors of the device itself, or PCI Express."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Host", "PcieHost", "ProcessingSystem"]


@dataclass(frozen=True, kw_only=True)
class ProcessingSystem:
    """Processors on the device: their cell has the memory ports, the fabric's clock and the interrupt.

    Parameters
    ----------
    cell : str
        IP of the processing system.
    memory_segments : tuple of str
        Endings of the names of DDR segments, low one first.
    clock_pin, reset_pin, interrupt_pin : str
        Of the processing system's cell.
    interrupt : str
        That pin's number, as people know it.
    clock_property : str
        Property that sets the fabric clock, MHz.
    clock_name : str
        The fabric clock in the constraints of the processing system's IP.
    properties : mapping of str to str
        Properties that every design sets: what boards turn on and nobody here uses is turned off, the interrupt on.
    preset_ports : tuple of str
        Ports to the fabric that a board preset turns on; those in use are turned on again.
    automation : str
        Configuration of the rule that applies the preset.
    """

    cell: str
    memory_segments: tuple[str, ...]
    clock_pin: str
    reset_pin: str
    interrupt_pin: str
    interrupt: str
    clock_property: str
    clock_name: str
    properties: Mapping[str, str]
    preset_ports: tuple[str, ...]
    automation: str


@dataclass(frozen=True, kw_only=True)
class PcieHost:
    """A host behind PCI Express: XDMA (PG195) is its way in, HBM (PG276) the memory, a clocking wizard the clock.

    Parameters
    ----------
    memory_port : str
        Memory port of the host's own.
    clock_mhz : float
        Of XDMA's side: 16 lanes of 8 GT/s on 512 bits.
    clock_name : str
        The accelerator's clock in the constraints of the clocking wizard.
    memory : mapping of str to str
        Properties of the memory's cell that every design sets.
    """

    memory_port: str
    clock_mhz: float
    clock_name: str
    memory: Mapping[str, str]


Host = ProcessingSystem | PcieHost
