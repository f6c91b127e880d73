"""What device families offer the fabric: ports to memory, ports of the host, apertures."""

from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.boards.host import Host, PcieHost, ProcessingSystem

__all__ = ["FAMILIES", "Family", "ManagerPort", "MemoryPort"]


@dataclass(frozen=True)
class MemoryPort:
    """A port through which the fabric reaches memory.

    Parameters
    ----------
    interface, clock : str
        Interface pin and clock pin of the cell that it belongs to.
    segments : str
        Folder of its address segments.
    enable : str
        Property of the cell that turns the port on.
    width : str
        Property that sets its data width; empty if that is fixed.
    controller : str
        Port of the memory controller behind it: two that share one share its bandwidth.
    channel : int
        Number of the memory channel right behind it, where there are several.
    """

    interface: str
    clock: str
    segments: str
    enable: str
    width: str
    controller: str
    channel: int = 0


@dataclass(frozen=True)
class ManagerPort:
    """A port through which the host reaches the fabric.

    Parameters
    ----------
    interface, clock, enable : str
        As in `MemoryPort`.
    base, bytes : int
        Addresses that the host sends there (32-bit part of the map).
    """

    interface: str
    clock: str
    enable: str
    base: int
    bytes: int


@dataclass(frozen=True)
class Family:
    """A device family.

    Parameters
    ----------
    name, title : str
    fabric : str
        The family whose counts, delays and reports are those of its fabric: its own name, or that of an older one.
    host : ProcessingSystem or PcieHost
    addr_bits : int
        Width of a fabric address that reaches all memory.
    low_bytes : int
        Of memory that lie at the bottom of the map; what is above lies elsewhere.
    port_bits : tuple of int
        Data widths that a memory port can have.
    max_burst : int, beats
        Longest burst that a memory port takes unsplit (AXI3: 16).
    memory, managers : mapping of str to port
    has_uram : bool
    """

    name: str
    title: str
    fabric: str
    host: Host
    addr_bits: int
    low_bytes: int
    port_bits: tuple[int, ...]
    max_burst: int
    memory: Mapping[str, MemoryPort]
    managers: Mapping[str, ManagerPort]
    has_uram: bool


# UG1085 (TRM): figure 35-1 and table 10-1; PG201: names of pins, properties and segments. S_AXI_HP1 and HP2 share a
# port of the
# DDR controller, HPC0 and HPC1 come through the cache-coherent interconnect.
_ZYNQMP = Family(
    name="zynqmp",
    title="Zynq UltraScale+ MPSoC",
    fabric="zynqmp",
    host=ProcessingSystem(
        cell="zynq_ultra_ps_e",
        memory_segments=("DDR_LOW", "DDR_HIGH"),
        clock_pin="pl_clk0",
        reset_pin="pl_resetn0",
        interrupt_pin="pl_ps_irq0",
        interrupt="shared peripheral interrupt 89, GIC number 121",
        clock_property="PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
        clock_name="clk_pl_0",
        properties={"PSU__FPGA_PL0_ENABLE": "1", "PSU__USE__IRQ0": "1"},
        preset_ports=(
            *(f"PSU__USE__M_AXI_GP{n}" for n in range(3)),
            *(f"PSU__USE__S_AXI_GP{n}" for n in range(7)),
        ),
        automation='apply_board_preset "1"',
    ),
    addr_bits=40,
    low_bytes=0x8000_0000,
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
    has_uram=True,
)

# UG585 (TRM): figure 5-1 and table 4-1; PG082: names of pins and properties. HP0 and HP1 share a port of the DDR
# controller, as
# do HP2 and HP3.
_ZYNQ7000 = Family(
    name="zynq7000",
    title="Zynq-7000",
    fabric="zynq7000",
    host=ProcessingSystem(
        cell="processing_system7",
        memory_segments=("DDR_LOWOCM",),
        clock_pin="FCLK_CLK0",
        reset_pin="FCLK_RESET0_N",
        interrupt_pin="IRQ_F2P",
        interrupt="shared peripheral interrupt 29, GIC number 61",
        clock_property="PCW_FPGA0_PERIPHERAL_FREQMHZ",
        clock_name="clk_fpga_0",
        properties={
            "PCW_EN_CLK0_PORT": "1",
            "PCW_EN_RST0_PORT": "1",
            "PCW_USE_FABRIC_INTERRUPT": "1",
            "PCW_IRQ_F2P_INTR": "1",
        },
        preset_ports=(
            *(f"PCW_USE_M_AXI_GP{n}" for n in range(2)),
            *(f"PCW_USE_S_AXI_HP{n}" for n in range(4)),
        ),
        automation='make_external "FIXED_IO, DDR" apply_board_preset "1" Master "Disable" Slave "Disable"',
    ),
    addr_bits=32,
    low_bytes=0x8000_0000,
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
    has_uram=False,
)

# PG276: two stacks of 16 pseudo channels, each with a port of its own (AXI3, 256 bit) and a 16th of the stack; two have
# one controller. Every port reaches every channel through the switches, its own with the least latency. PG195: XDMA.
# The fabric is that of all UltraScale+ devices.
_VIRTEX_HBM = Family(
    name="virtexuplushbm",
    title="Virtex UltraScale+ HBM",
    fabric="zynqmp",
    host=PcieHost(
        memory_port="SAXI_16",
        clock_mhz=250.0,
        clock_name="clk_out1_system_clk_wiz_0_0",
        memory={
            "USER_HBM_DENSITY": "8GB",
            "USER_HBM_STACK": "2",
            "USER_MEMORY_DISPLAY": "8192",
            "USER_APB_EN": "false",
            "USER_HBM_REF_CLK_0": "100",
            "USER_HBM_REF_CLK_1": "100",
            "USER_SWITCH_ENABLE_00": "TRUE",
            "USER_SWITCH_ENABLE_01": "TRUE",
        },
    ),
    addr_bits=33,
    low_bytes=1 << 33,
    port_bits=(256,),
    max_burst=16,
    memory={
        f"SAXI_{n:02d}": MemoryPort(
            f"SAXI_{n:02d}", f"AXI_{n:02d}_ACLK", f"SAXI_{n:02d}", f"USER_SAXI_{n:02d}", "", str(n // 2), channel=n
        )
        for n in range(32)
    },
    managers={"M_AXI_LITE": ManagerPort("M_AXI_LITE", "axi_aclk", "axilite_master_en", 0, 0x10_0000)},
    has_uram=True,
)

FAMILIES: dict[str, Family] = {family.name: family for family in (_ZYNQMP, _ZYNQ7000, _VIRTEX_HBM)}
