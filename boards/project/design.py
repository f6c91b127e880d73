"""The block design as data: cells, links, pins and addresses, from a board and the accelerator's interfaces."""

from collections.abc import Sequence
from dataclasses import dataclass

from moesaic.boards.board import Board
from moesaic.boards.host import ProcessingSystem
from moesaic.boards.project.interfaces import Interface

__all__ = ["ACCELERATOR", "DESIGN", "BlockDesign", "Link", "block_design", "check_buses"]

ACCELERATOR = "accelerator_0"  # its cell in the block design
INTERRUPTS = "axi_intc_0"  # the interrupt controller's
DESIGN = "system"  # the block design


@dataclass(frozen=True)
class Link:
    """A SmartConnect between interface pins.

    Parameters
    ----------
    cell : str
        Its name.
    master : str
        Interface pin that drives it.
    slaves : tuple of str
        Interface pins that it drives.
    clocks : int
        Of its two sides.
    """

    cell: str
    master: str
    slaves: tuple[str, ...]
    clocks: int = 1


@dataclass(frozen=True)
class BlockDesign:
    """What `bd.tcl` creates around a processing system.

    Parameters
    ----------
    ps_properties : dict of str to str
        Of the processing system, over its board preset.
    automation : str
        Configuration of the rule that applies the preset.
    links : tuple of Link
        Registers first, then one for each memory port.
    clock_pins : tuple of str
        All pins on the one clock.
    memory_maps : dict of str to str
        Folder of the memory segments by the accelerator's bus.
    interconnect_resets, peripheral_resets : tuple of str
        Reset pins of the SmartConnects, and of what they connect.
    """

    ps_properties: dict[str, str]
    automation: str
    links: tuple[Link, ...]
    clock_pins: tuple[str, ...]
    memory_maps: dict[str, str]
    interconnect_resets: tuple[str, ...]
    peripheral_resets: tuple[str, ...]


def check_buses(board: Board, interfaces: Sequence[Interface]) -> None:
    """Refuse an accelerator with a bus that the board does not place, without one that it does, or with one that cannot
    do its work: results leave over every weight port, and instructions are only read.

    Raises
    ------
    ValueError
    """
    buses = {interface.name: interface for interface in interfaces if interface.is_axi}
    masters = {name for name, bus in buses.items() if bus.master}
    if masters != set(board.ports.memory) or set(buses) - masters != {"s_axil"}:
        raise ValueError(f"buses must be {sorted(board.ports.memory)} and s_axil, not {sorted(buses)}")
    for name, bus in buses.items():
        wanted = "READ_ONLY" if name == "m_axi_c" else "READ_WRITE"
        if bus.mode != wanted:
            raise ValueError(f"{name} must be {wanted}, not {bus.mode}")


def block_design(board: Board, host: ProcessingSystem, interfaces: Sequence[Interface]) -> BlockDesign:
    """Connect every bus of the accelerator to the port that the board names for it.

    Raises
    ------
    ValueError
        As of `check_buses`.
    """
    check_buses(board, interfaces)
    system, ports = board.system, board.ports
    manager = system.managers[ports.registers]
    links = [Link("axi_registers", f"ps/{manager.interface}", (f"{ACCELERATOR}/s_axil", f"{INTERRUPTS}/s_axi"))]
    clocks = [f"ps/{manager.clock}"]
    properties = dict.fromkeys(host.preset_ports, "0") | dict(host.properties)
    properties |= {manager.enable: "1", host.clock_property: f"{board.clock_mhz:g}"}
    for bus, name in ports.memory.items():
        port = system.memory[name]
        links.append(Link(f"axi_{bus.removeprefix('m_axi_')}", f"{ACCELERATOR}/{bus}", (f"ps/{port.interface}",)))
        clocks.append(f"ps/{port.clock}")
        properties |= {port.enable: "1", port.width: str(board.accelerator.port_bits)}
    clocks += [
        f"{ACCELERATOR}/aclk",
        f"{INTERRUPTS}/s_axi_aclk",
        "reset_0/slowest_sync_clk",
        *(f"{link.cell}/aclk" for link in links),
    ]
    return BlockDesign(
        ps_properties=properties,
        automation=host.automation,
        links=tuple(links),
        clock_pins=tuple(clocks),
        memory_maps={bus: system.memory[name].segments for bus, name in ports.memory.items()},
        interconnect_resets=tuple(f"{link.cell}/aresetn" for link in links),
        peripheral_resets=(f"{ACCELERATOR}/aresetn", f"{INTERRUPTS}/s_axi_aresetn"),
    )
