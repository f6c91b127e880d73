"""What the processing systems of the two device families offer the fabric: ports, clocks, interrupts, apertures."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FAMILIES", "Family", "ManagerPort", "MemoryPort"]


@dataclass(frozen=True)
class MemoryPort:
    """A port through which the fabric reaches DDR.

    Parameters
    ----------
    interface, clock : str
        Interface pin and clock pin of the processing system's cell.
    segments : str
        Folder of its address segments; those of DDR end in one of `Family.memory_segments`.
    enable, width : str
        Properties of the cell that turn the port on and set its data width.
    controller : str
        Port of the DDR controller behind it: two that share one share its bandwidth.
    """

    interface: str
    clock: str
    segments: str
    enable: str
    width: str
    controller: str


@dataclass(frozen=True)
class ManagerPort:
    """A port through which the processors reach the fabric.

    Parameters
    ----------
    interface, clock, enable : str
        As in `MemoryPort`.
    base, bytes : int
        Addresses that the processors send there (32-bit part of the map).
    """

    interface: str
    clock: str
    enable: str
    base: int
    bytes: int


@dataclass(frozen=True)
class Family:
    """A device family with a processing system.

    Parameters
    ----------
    name, title : str
    cell : str
        IP of the processing system.
    addr_bits : int
        Width of a fabric address that reaches all memory.
    port_bits : tuple of int
        Data widths that a memory port can have.
    max_burst : int, beats
        Longest burst that a memory port takes unsplit (AXI3: 16).
    memory, managers : mapping of str to port
    memory_segments : tuple of str
        Endings of the names of DDR segments, low one first.
    clock_pin, reset_pin, interrupt_pin : str
        Of the processing system's cell.
    clock_property : str
        Property that sets the fabric clock, MHz.
    clock_name : str
        The fabric clock in the constraints of the processing system's IP.
    properties : mapping of str to str
        Properties that every design sets: what boards turn on and nobody here uses is turned off, the interrupt on.
    has_uram : bool
    """

    name: str
    title: str
    cell: str
    addr_bits: int
    port_bits: tuple[int, ...]
    max_burst: int
    memory: Mapping[str, MemoryPort]
    managers: Mapping[str, ManagerPort]
    memory_segments: tuple[str, ...]
    clock_pin: str
    reset_pin: str
    interrupt_pin: str
    clock_property: str
    clock_name: str
    properties: Mapping[str, str]
    has_uram: bool


# UG1085 (TRM): figure 35-1 and table 10-1; PG201: names of pins, properties and segments. S_AXI_HP1 and HP2 share a
# port of the
# DDR controller, HPC0 and HPC1 come through the cache-coherent interconnect.
_ZYNQMP = Family(
    name="zynqmp",
    title="Zynq UltraScale+ MPSoC",
    cell="zynq_ultra_ps_e",
    addr_bits=40,
    port_bits=(32, 64, 128),
    max_burst=256,
    memory={
        name: MemoryPort(
            f"S_AXI_{name}_FPD",
            f"saxi{name.lower()}_fpd_aclk",
            f"SAXIGP{gp}",
            f"PSU__USE__S_AXI_GP{gp}",
            f"PSU__SAXIGP{gp}__DATA_WIDTH",
            controller,
        )
        for gp, name, controller in (
            (0, "HPC0", "CCI"),
            (1, "HPC1", "CCI"),
            (2, "HP0", "3"),
            (3, "HP1", "4"),
            (4, "HP2", "4"),
            (5, "HP3", "5"),
        )
    },
    managers={
        "HPM0_FPD": ManagerPort("M_AXI_HPM0_FPD", "maxihpm0_fpd_aclk", "PSU__USE__M_AXI_GP0", 0xA000_0000, 0x1000_0000),
        "HPM1_FPD": ManagerPort("M_AXI_HPM1_FPD", "maxihpm1_fpd_aclk", "PSU__USE__M_AXI_GP1", 0xB000_0000, 0x1000_0000),
        "HPM0_LPD": ManagerPort("M_AXI_HPM0_LPD", "maxihpm0_lpd_aclk", "PSU__USE__M_AXI_GP2", 0x8000_0000, 0x2000_0000),
    },
    memory_segments=("DDR_LOW", "DDR_HIGH"),
    clock_pin="pl_clk0",
    reset_pin="pl_resetn0",
    interrupt_pin="pl_ps_irq0",
    clock_property="PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
    clock_name="clk_pl_0",
    properties={"PSU__FPGA_PL0_ENABLE": "1", "PSU__USE__IRQ0": "1"},
    has_uram=True,
)

# UG585 (TRM): figure 5-1 and table 4-1; PG082: names of pins and properties. HP0 and HP1 share a port of the DDR
# controller, as
# do HP2 and HP3.
_ZYNQ7000 = Family(
    name="zynq7000",
    title="Zynq-7000",
    cell="processing_system7",
    addr_bits=32,
    port_bits=(32, 64),
    max_burst=16,
    memory={
        f"HP{n}": MemoryPort(
            f"S_AXI_HP{n}",
            f"S_AXI_HP{n}_ACLK",
            f"S_AXI_HP{n}",
            f"PCW_USE_S_AXI_HP{n}",
            f"PCW_S_AXI_HP{n}_DATA_WIDTH",
            "3" if n < 2 else "2",
        )
        for n in range(4)
    },
    managers={
        "GP0": ManagerPort("M_AXI_GP0", "M_AXI_GP0_ACLK", "PCW_USE_M_AXI_GP0", 0x4000_0000, 0x4000_0000),
        "GP1": ManagerPort("M_AXI_GP1", "M_AXI_GP1_ACLK", "PCW_USE_M_AXI_GP1", 0x8000_0000, 0x4000_0000),
    },
    memory_segments=("DDR_LOWOCM",),
    clock_pin="FCLK_CLK0",
    reset_pin="FCLK_RESET0_N",
    interrupt_pin="IRQ_F2P",
    clock_property="PCW_FPGA0_PERIPHERAL_FREQMHZ",
    clock_name="clk_fpga_0",
    properties={
        "PCW_EN_CLK0_PORT": "1",
        "PCW_EN_RST0_PORT": "1",
        "PCW_USE_FABRIC_INTERRUPT": "1",
        "PCW_IRQ_F2P_INTR": "1",
    },
    has_uram=False,
)

FAMILIES: dict[str, Family] = {family.name: family for family in (_ZYNQMP, _ZYNQ7000)}
