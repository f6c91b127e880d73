"""The block design as data: cells, links, pins and addresses, from a board and the accelerator's interfaces."""

from collections.abc import Sequence
from dataclasses import dataclass

from moesaic.boards.board import Board
from moesaic.boards.project.interfaces import Interface

__all__ = ["ACCELERATOR", "DESIGN", "BlockDesign", "Link", "block_design"]

ACCELERATOR = "accelerator_0"  # its cell in the block design
INTERRUPTS = "axi_intc_0"  # the interrupt controller's
DESIGN = "system"  # the block design

# Ports to the fabric that a board preset turns on; those in use are turned on again.
_PRESET_PORTS = {
    "zynqmp": [f"PSU__USE__M_AXI_GP{n}" for n in range(3)] + [f"PSU__USE__S_AXI_GP{n}" for n in range(7)],
    "zynq7000": [f"PCW_USE_M_AXI_GP{n}" for n in range(2)] + [f"PCW_USE_S_AXI_HP{n}" for n in range(4)],
}
_AUTOMATION = {
    "zynqmp": 'apply_board_preset "1"',
    "zynq7000": 'make_external "FIXED_IO, DDR" apply_board_preset "1" Master "Disable" Slave "Disable"',
}


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
    """

    cell: str
    master: str
    slaves: tuple[str, ...]


@dataclass(frozen=True)
class BlockDesign:
    """What `bd.tcl` creates.

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
    """

    ps_properties: dict[str, str]
    automation: str
    links: tuple[Link, ...]
    clock_pins: tuple[str, ...]
    memory_maps: dict[str, str]

    @property
    def interconnect_resets(self) -> tuple[str, ...]:
        """Reset pins of the SmartConnects."""
        return tuple(f"{link.cell}/aresetn" for link in self.links)

    @property
    def peripheral_resets(self) -> tuple[str, ...]:
        """Reset pins of what they connect."""
        return f"{ACCELERATOR}/aresetn", f"{INTERRUPTS}/s_axi_aresetn"


def block_design(board: Board, interfaces: Sequence[Interface]) -> BlockDesign:
    """Connect every bus of the accelerator to the port that the board names for it.

    Raises
    ------
    ValueError
        If the accelerator has a bus that the board does not place, or the other way round.
    """
    system, ports = board.system, board.ports
    buses = {interface.name: interface for interface in interfaces if interface.is_axi}
    masters = {name for name, bus in buses.items() if bus.master}
    if masters != set(ports.memory) or set(buses) - masters != {"s_axil"}:
        raise ValueError(f"buses must be {sorted(ports.memory)} and s_axil, not {sorted(buses)}")
    manager = system.managers[ports.registers]
    links = [Link("axi_registers", f"ps/{manager.interface}", (f"{ACCELERATOR}/s_axil", f"{INTERRUPTS}/s_axi"))]
    clocks = [f"ps/{manager.clock}"]
    properties = dict.fromkeys(_PRESET_PORTS[board.family], "0") | dict(system.properties)
    properties |= {manager.enable: "1", system.clock_property: f"{board.clock_mhz:g}"}
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
        automation=_AUTOMATION[board.family],
        links=tuple(links),
        clock_pins=tuple(clocks),
        memory_maps={bus: system.memory[name].segments for bus, name in ports.memory.items()},
    )
