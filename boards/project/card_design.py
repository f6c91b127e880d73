"""The block design of a PCI Express card as data: HBM, XDMA, clocks, and what connects them to the accelerator."""

from collections.abc import Sequence
from dataclasses import dataclass

from moesaic.boards.board import Board
from moesaic.boards.card import Card
from moesaic.boards.host import PcieHost
from moesaic.boards.project.design import ACCELERATOR, Link, check_buses
from moesaic.boards.project.interfaces import Interface

__all__ = ["CardDesign", "card_design"]

MEMORY, DMA, WIZARD = "hbm_0", "xdma_0", "clk_wiz_0"  # cells
_CLOCK, _STEADY, _HOST = f"{WIZARD}/clk_out1", f"{WIZARD}/clk_out2", f"{DMA}/axi_aclk"  # accelerator; 100 MHz; PCIe
_STEADY_MHZ = 100.0


@dataclass(frozen=True)
class CardDesign:
    """What `bd.tcl` creates on a card.

    Parameters
    ----------
    properties : dict of str to dict of str to str
        By cell, then by name.
    links : tuple of Link
        Registers first, then the host's memory port, then one for each memory port of the accelerator.
    nets : dict of str to tuple of str
        Pins by the pin that drives them: clocks and resets.
    memory_maps : dict of str to str
        Folder of the memory segments by address space.
    """

    properties: dict[str, dict[str, str]]
    links: tuple[Link, ...]
    nets: dict[str, tuple[str, ...]]
    memory_maps: dict[str, str]


def _reset_of(clock_pin: str) -> str:
    return clock_pin.replace("_ACLK", "_ARESET_N")


def _properties(board: Board, host: PcieHost, card: Card) -> dict[str, dict[str, str]]:
    """Ports that nobody uses are off; each stack's switch runs on the clock of a port in use."""
    system, ports = board.system, board.ports
    used = [*ports.memory.values(), host.memory_port]
    enabled = {port.enable: str(name in used).lower() for name, port in system.memory.items()}
    clock = f"{board.clock_mhz:g}"
    return {
        MEMORY: {
            **host.memory,
            **enabled,
            "USER_CLK_SEL_LIST0": system.memory[ports.control].clock,
            "USER_CLK_SEL_LIST1": system.memory[host.memory_port].clock,
            "USER_AXI_INPUT_CLK_FREQ": clock,
            "USER_AXI_INPUT_CLK1_FREQ": f"{host.clock_mhz:g}",
        },
        DMA: {
            "PCIE_BOARD_INTERFACE": card.lanes,
            "SYS_RST_N_BOARD_INTERFACE": card.reset,
            "mode_selection": "Advanced",
            "pl_link_cap_max_link_speed": "8.0_GT/s",
            "pl_link_cap_max_link_width": "X16",
            "axi_data_width": "512_bit",
            "axisten_freq": f"{host.clock_mhz:g}",
            system.managers[ports.registers].enable: "true",
            "axilite_master_scale": "Megabytes",
            "axilite_master_size": str(system.managers[ports.registers].bytes >> 20),
            "xdma_rnum_chnl": "1",
            "xdma_wnum_chnl": "1",
            "xdma_num_usr_irq": "1",
            "cfg_mgmt_if": "false",
        },
        "refclk_buf": {
            "C_BUF_TYPE": "IBUFDSGTE",
            "DIFF_CLK_IN_BOARD_INTERFACE": card.reference,
            "USE_BOARD_FLOW": "true",
        },
        WIZARD: {
            "CLK_IN1_BOARD_INTERFACE": card.clock,
            "USE_BOARD_FLOW": "true",
            "PRIM_SOURCE": "Differential_clock_capable_pin",
            "PRIM_IN_FREQ": f"{_STEADY_MHZ:g}",
            "CLKOUT1_REQUESTED_OUT_FREQ": clock,
            "CLKOUT2_USED": "true",
            "CLKOUT2_REQUESTED_OUT_FREQ": f"{_STEADY_MHZ:g}",
            "NUM_OUT_CLKS": "2",
            "USE_RESET": "false",
            "USE_LOCKED": "true",
        },
        "irq_sync": {"CDC_TYPE": "xpm_cdc_single", "DEST_SYNC_FF": "3"},
        "cattrip": {"C_OPERATION": "or", "C_SIZE": "1"},
    }


def card_design(board: Board, host: PcieHost, card: Card, interfaces: Sequence[Interface]) -> CardDesign:
    """Connect every bus of the accelerator to the port that the board names for it, and the host to both.

    Raises
    ------
    ValueError
        As of `check_buses`.
    """
    check_buses(board, interfaces)
    system, ports = board.system, board.ports
    manager, own = system.managers[ports.registers], system.memory[host.memory_port]
    links = [
        Link("axi_registers", f"{DMA}/{manager.interface}", (f"{ACCELERATOR}/s_axil",), clocks=2),
        Link("axi_host", f"{DMA}/M_AXI", (f"{MEMORY}/{own.interface}",)),
    ]
    behind = {bus: system.memory[name] for bus, name in ports.memory.items()}
    mine = [
        Link(f"axi_{bus.removeprefix('m_axi_')}", f"{ACCELERATOR}/{bus}", (f"{MEMORY}/{port.interface}",))
        for bus, port in behind.items()
    ]
    slow = [f"{MEMORY}/APB_{stack}" for stack in (0, 1)]
    nets = {
        _CLOCK: (
            f"{ACCELERATOR}/aclk",
            "reset_0/slowest_sync_clk",
            "axi_registers/aclk1",
            "irq_sync/src_clk",
            *(f"{link.cell}/aclk" for link in mine),
            *(f"{MEMORY}/{port.clock}" for port in behind.values()),
        ),
        _STEADY: (
            f"{MEMORY}/HBM_REF_CLK_0",
            f"{MEMORY}/HBM_REF_CLK_1",
            "reset_steady/slowest_sync_clk",
            *(f"{cell}_PCLK" for cell in slow),
        ),
        _HOST: ("axi_registers/aclk", "axi_host/aclk", f"{MEMORY}/{own.clock}", "irq_sync/dest_clk"),
        f"{DMA}/axi_aresetn": (
            "reset_0/ext_reset_in",
            "reset_steady/ext_reset_in",
            "axi_registers/aresetn",
            "axi_host/aresetn",
            f"{MEMORY}/{_reset_of(own.clock)}",
        ),
        f"{WIZARD}/locked": ("reset_0/dcm_locked", "reset_steady/dcm_locked"),
        "reset_0/interconnect_aresetn": tuple(f"{link.cell}/aresetn" for link in mine),
        "reset_0/peripheral_aresetn": (
            f"{ACCELERATOR}/aresetn",
            *(f"{MEMORY}/{_reset_of(port.clock)}" for port in behind.values()),
        ),
        "reset_steady/peripheral_aresetn": tuple(f"{cell}_PRESET_N" for cell in slow),
    }
    maps = {f"{DMA}/M_AXI": own.segments}
    maps |= {f"{ACCELERATOR}/{bus}": port.segments for bus, port in behind.items()}
    return CardDesign(_properties(board, host, card), (*links, *mine), nets, maps)
