"""Mistakes planted into generated files are refused by the stand-in for Vivado, each with a message that names it."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from vivadorun import project, run

BOTH = ("zcu102", "pynq-z2")  # one of each family
ZYNQMP, ZYNQ7000, CARD = ("zcu102",), ("pynq-z2",), ("u280",)
BUILD, BD, XDC, RTL = "build.tcl", "bd.tcl", "constraints.xdc", "rtl/accelerator.v"


class Mistake(NamedTuple):
    """A regular expression that is replaced once in a file, and what the refusal must say (another expression)."""

    name: str
    file: str
    find: str
    put: str
    says: str
    boards: tuple[str, ...] = BOTH


def _without(name: str, file: str, line: str, says: str, boards: tuple[str, ...] = BOTH) -> Mistake:
    return Mistake(name, file, rf"(?m)^.*{line}.*\n", "", says, boards)


def _unconnected(name: str, interface: str, says: str) -> Mistake:
    """Without the connection of an interface, and without the addresses, which would be refused before that."""
    connection, addresses = (
        rf"^connect_bd_intf_net [^\n]*{interface}\b[^\n]*\n",
        "^assign_bd_address.*(?=^validate_bd_design)",
    )
    return Mistake(name, BD, f"(?ms){connection}(.*?){addresses}", r"\1", says)


def _after(name: str, file: str, text: str, says: str, boards: tuple[str, ...] = BOTH) -> Mistake:
    return Mistake(name, file, r"\Z", text + "\n", says, boards)


MISTAKES = [
    # --- commands and their arguments ---
    Mistake(
        "misspelt command", BUILD, "launch_runs synth_1", "launch_run synth_1", 'invalid command name "launch_run"'
    ),
    Mistake(
        "misspelt command of the block design",
        BD,
        "connect_bd_intf_net",
        "connect_bd_if_net",
        'invalid command name "connect_bd_if_net"',
    ),
    Mistake("misspelt option", BUILD, "-norecurse", "-norecursive", "Unknown option '-norecursive' of 'add_files'"),
    Mistake(
        "option without a value",
        BUILD,
        r"open_run impl_1 -name impl_1",
        "open_run impl_1 -name",
        "'-name' needs a value",
    ),
    Mistake(
        "missing option",
        BD,
        "apply_bd_automation -rule \\S+",
        "apply_bd_automation",
        "'apply_bd_automation': option '-rule' is required",
    ),
    Mistake(
        "too many arguments",
        BUILD,
        "make_wrapper -files",
        "make_wrapper all -files",
        "too many positional arguments: all",
    ),
    Mistake(
        "name instead of object",
        BUILD,
        r"implementation\] \[get_runs impl_1\]",
        "implementation] impl_1",
        "'impl_1' is not a valid first class Tcl object",
    ),
    # --- properties ---
    Mistake(
        "misspelt property of the project",
        BUILD,
        "set_property target_language",
        "set_property target_languages",
        "does not have a property 'target_languages'",
    ),
    Mistake(
        "misspelt property of a run",
        BUILD,
        "ARGS.FANOUT_LIMIT",
        "ARGS.FANOUT",
        "does not have a property 'STEPS.SYNTH_DESIGN.ARGS.FANOUT'",
    ),
    Mistake(
        "misspelt property of a file",
        BUILD,
        "used_in_synthesis",
        "used_for_synthesis",
        "does not have a property 'used_for_synthesis'",
    ),
    Mistake("value of a wrong type", BUILD, "FANOUT_LIMIT 400", "FANOUT_LIMIT few", "'few' is out of range"),
    Mistake(
        "unknown strategy",
        BUILD,
        "Performance_ExplorePostRoutePhysOpt",
        "Performance_ExploreEverything",
        "'Performance_ExploreEverything' is out of range",
    ),
    Mistake(
        "strategy of the other kind of run",
        BUILD,
        r'"?Flow_PerfOptimized_high"?',
        "Performance_Explore",
        "'Performance_Explore' is out of range",
    ),
    Mistake(
        "misspelt parameter of an IP cell",
        BD,
        "CONFIG.NUM_MI",
        "CONFIG.NUM_MASTERS",
        r"parameter 'NUM_MASTERS' on '/axi_registers' \(smartconnect\)",
    ),
    Mistake(
        "misspelt parameter of the PS",
        BD,
        "PSU__SAXIGP2__DATA_WIDTH",
        "PSU__S_AXI_GP2__DATA_WIDTH",
        "Parameter does not exist",
        ZYNQMP,
    ),
    Mistake(
        "misspelt parameter of the PS7",
        BD,
        "PCW_S_AXI_HP0_DATA_WIDTH",
        "PCW_S_AXI_HP0_WIDTH",
        "Parameter does not exist",
        ZYNQ7000,
    ),
    Mistake("parameter out of range", BD, r"CONFIG.NUM_SI \{1\}", "CONFIG.NUM_SI {17}", "'17' is out of range"),
    Mistake(
        "impossible port width",
        BD,
        r"SAXIGP2__DATA_WIDTH \{?128\}?",
        "SAXIGP2__DATA_WIDTH {256}",
        "'256' is out of range",
        ZYNQMP,
    ),
    Mistake(
        "clock beyond the fabric's",
        BD,
        r"FPGA0_PERIPHERAL_FREQMHZ \S+",
        "FPGA0_PERIPHERAL_FREQMHZ {300}",
        "'300' is out of range",
        ZYNQ7000,
    ),
    # --- IP cells ---
    Mistake(
        "unknown IP",
        BD,
        r"\[newest proc_sys_reset\]",
        "xilinx.com:ip:proc_sys_rst",
        "'xilinx.com:ip:proc_sys_rst' is not in the IP catalog",
    ),
    Mistake(
        "unknown version",
        BD,
        r"\[newest smartconnect\]",
        "xilinx.com:ip:smartconnect:2.0",
        "smartconnect:2.0' is not in the IP catalog of Vivado 2022.2, which has version 1.0",
    ),
    Mistake(
        "module that does not exist",
        BD,
        "-reference accelerator",
        "-reference acceleratr",
        "module 'acceleratr' is not in the sources",
    ),
    Mistake("automation for another cell", BD, r"bd_rule:\w+", "bd_rule:axi4", "unknown rule of automation"),
    Mistake(
        "memory and fixed pins left inside",
        BD,
        r'make_external \\?"FIXED_IO, DDR\\?" ',
        "",
        r"'/ps/DDR' must be brought out",
        ZYNQ7000,
    ),
    Mistake(
        "preset applied last",
        BD,
        r"(?s)(apply_bd_automation [^\n]*\n)(set_property -dict .*?\[get_bd_cells ps\]\n)",
        r"\2\1",
        "the preset would overwrite that",
    ),
    # --- parts and boards ---
    Mistake(
        "wrong part",
        BUILD,
        r'set part( +)"?\S+"?',
        r'set part\1"xczu3eg-sbva484-1-e"',
        r"board_part '\S+' has part '\S+', not the project's 'xczu3eg",
    ),
    Mistake("unknown part", BUILD, r"-part \$part", "-part xc7z200clg400-1", "part 'xc7z200clg400-1' not found"),
    Mistake(
        "another board",
        BUILD,
        r'set board_part( +)"?\S+"?',
        r'set board_part\1"xilinx.com:zcu104:part0:1.1"',
        "has part 'xczu7ev-ffvc1156-2-e', not the project's",
    ),
    Mistake(
        "unknown board",
        BUILD,
        r"board_part \$board_part \[",
        "board_part xilinx.com:zcu103:part0:1.0 [",
        "board_part 'xilinx.com:zcu103:part0:1.0' not found",
    ),
    # --- clocks and resets ---
    _without("unconnected clock of an interconnect", BD, "axi_w0/aclk", "clock pin '/axi_w0/aclk' is not connected"),
    _without(
        "unconnected clock of the accelerator",
        BD,
        "accelerator_0/aclk",
        "clock pin '/accelerator_0/aclk' is not connected",
    ),
    _without(
        "unconnected clock of a PS port",
        BD,
        "(maxihpm0_fpd_aclk|M_AXI_GP0_ACLK)",
        r"clock pin '/ps/\w+' is not connected",
    ),
    _without(
        "unconnected reset of the accelerator",
        BD,
        "accelerator_0/aresetn",
        "reset pin '/accelerator_0/aresetn' is not connected",
    ),
    _without(
        "unconnected reset of an interconnect", BD, "axi_c/aresetn", "reset pin '/axi_c/aresetn' is not connected"
    ),
    _without("no source of reset", BD, "reset_0/ext_reset_in", "reset pin '/reset_0/ext_reset_in' is not connected"),
    Mistake(
        "asynchronous reset",
        BD,
        "reset_0/peripheral_aresetn",
        "ps/pl_resetn0",
        "is connected to the asynchronous source '/ps/pl_resetn0'",
        ZYNQMP,
    ),
    Mistake(
        "reset of the wrong level",
        BD,
        "reset_0/peripheral_aresetn",
        "reset_0/peripheral_reset",
        "'/accelerator_0/aresetn' is active low, its source '/reset_0/peripheral_reset' active high",
    ),
    Mistake(
        "clock as reset",
        BD,
        r"reset_0/interconnect_aresetn\] \[get_bd_pins axi_w0",
        r"ps/pl_clk0] [get_bd_pins axi_w0",
        "driven by '/ps/pl_clk0', which is not a reset",
        ZYNQMP,
    ),
    Mistake(
        "reset as clock",
        BD,
        r"ps/FCLK_CLK0\] \[get_bd_pins axi_w0",
        r"ps/FCLK_RESET0_N] [get_bd_pins axi_w0",
        "driven by '/ps/FCLK_RESET0_N', which is not a clock",
        ZYNQ7000,
    ),
    Mistake(
        "pin that does not exist",
        BD,
        "get_bd_pins ps/pl_clk0",
        "get_bd_pins ps/pl_clk",
        "get_bd_pins found nothing for 'ps/pl_clk'",
        ZYNQMP,
    ),
    # --- interfaces ---
    _unconnected(
        "unconnected interface", "accelerator_0/m_axi_w0", "master interface '/accelerator_0/m_axi_w0' is not connected"
    ),
    _unconnected(
        "unconnected registers", "accelerator_0/s_axil", "slave interface '/accelerator_0/s_axil' is not connected"
    ),
    _unconnected("unconnected port of the PS", "axi_c/M00_AXI", r"slave interface '/ps/S_AXI_\w+' is not connected"),
    Mistake(
        "interface that does not exist",
        BD,
        "accelerator_0/m_axi_w1",
        "accelerator_0/m_axi_w9",
        "get_bd_intf_pins found nothing for 'accelerator_0/m_axi_w9'",
    ),
    Mistake(
        "two masters at one port",
        BD,
        r"(axi_w0/M00_AXI\] \[get_bd_intf_pins (ps/\w+)\](?s:.*?)axi_w1/M00_AXI\] \[get_bd_intf_pins )ps/\w+",
        r"\1\2",
        "is connected already",
    ),
    Mistake(
        "master to master",
        BD,
        r"axi_w0/M00_AXI\] \[get_bd_intf_pins ps/\w+\]",
        "axi_w0/M00_AXI] [get_bd_intf_pins axi_w1/M00_AXI]",
        "are both master",
    ),
    Mistake(
        "direct connection of unequal protocols",
        BD,
        r"connect_bd_intf_net \[get_bd_intf_pins accelerator_0/m_axi_w0\] .*\n.*ps/S_AXI_HP0\]\n",
        "connect_bd_intf_net [get_bd_intf_pins accelerator_0/m_axi_w0] [get_bd_intf_pins ps/S_AXI_HP0]\n",
        "PROTOCOL of '/accelerator_0/m_axi_w0' is AXI4, of '/ps/S_AXI_HP0' AXI3",
        ZYNQ7000,
    ),
    Mistake(
        "HP width mismatch",
        BD,
        r"SAXIGP2__DATA_WIDTH \{?128\}?",
        "SAXIGP2__DATA_WIDTH {64}",
        "'/accelerator_0/m_axi_w0' is 128 bits wide, but '/ps/S_AXI_HP0_FPD' behind it is configured for 64",
        ZYNQMP,
    ),
    Mistake(
        "HP width mismatch of the PS7",
        BD,
        r"HP0_DATA_WIDTH \{?64\}?",
        "HP0_DATA_WIDTH {32}",
        "'/accelerator_0/m_axi_w0' is 64 bits wide, but '/ps/S_AXI_HP0' behind it is configured for 32",
        ZYNQ7000,
    ),
    Mistake(
        "port of the PS not enabled",
        BD,
        r"USE__S_AXI_GP2 \{?1\}?",
        "USE__S_AXI_GP2 {0}",
        "found nothing for 'ps/saxihp0_fpd_aclk'",
        ZYNQMP,
    ),
    Mistake(
        "port of the PS7 not enabled",
        BD,
        r"USE_S_AXI_HP0 \{?1\}?",
        "USE_S_AXI_HP0 {0}",
        "found nothing for 'ps/S_AXI_HP0_ACLK'",
        ZYNQ7000,
    ),
    Mistake(
        "port of the PS enabled for nothing",
        BD,
        r"USE__M_AXI_GP1 \{?0\}?",
        "USE__M_AXI_GP1 {1}",
        "clock pin '/ps/maxihpm1_fpd_aclk' is not connected",
        ZYNQMP,
    ),
    # --- interrupt ---
    _without("missing interrupt", BD, "accelerator_0/irq", "interrupt '/accelerator_0/irq' is not connected"),
    _without(
        "interrupt controller leads nowhere", BD, "axi_intc_0/irq", "interrupt '/axi_intc_0/irq' is not connected"
    ),
    Mistake(
        "interrupt of the PS not enabled",
        BD,
        r"PSU__USE__IRQ0 \{?1\}?",
        "PSU__USE__IRQ0 {0}",
        "found nothing for 'ps/pl_ps_irq0'",
        ZYNQMP,
    ),
    Mistake(
        "interrupt of the PS7 not enabled",
        BD,
        r"PCW_USE_FABRIC_INTERRUPT \{?1\}?",
        "PCW_USE_FABRIC_INTERRUPT {0}",
        "found nothing for 'ps/IRQ_F2P'",
        ZYNQ7000,
    ),
    Mistake(
        "interrupt controller for a MicroBlaze",
        BD,
        r"C_IRQ_CONNECTION \{?1\}?",
        "C_IRQ_CONNECTION {0}",
        "found nothing for 'axi_intc_0/irq'",
    ),
    # --- addresses ---
    Mistake(
        "address overlap",
        BD,
        r"set interrupt_base +\S+",
        "set interrupt_base $registers_base",
        "overlaps '/ps/Data/SEG_accelerator_0_reg0'",
    ),
    Mistake(
        "address outside the aperture",
        BD,
        r"set registers_base +\S+",
        "set registers_base 0x20000000",
        r"outside the apertures of '/ps/M_AXI_\w+'",
    ),
    Mistake(
        "address in the other family's aperture",
        BD,
        r"set registers_base +\S+",
        "set registers_base 0x43C00000",
        "outside the apertures of '/ps/M_AXI_HPM0_FPD'",
        ZYNQMP,
    ),
    Mistake(
        "crooked address",
        BD,
        r"set registers_base +(0x\w+)\d{4}",
        r"set registers_base \g<1>1000",
        "is not a multiple of its range 0x10000",
    ),
    Mistake(
        "crooked range", BD, r"set registers_range +\S+", "set registers_range 0x00018000", "is not a power of two"
    ),
    Mistake(
        "range beyond the slave's",
        BD,
        r"set registers_range +\S+",
        "set registers_range 0x00020000",
        "is larger than the 0x10000 bytes",
    ),
    Mistake(
        "registers without address",
        BD,
        r"(?m)^assign_bd_address -offset \$registers_base.*\n.*\n",
        "",
        "'/accelerator_0/s_axil/reg0' is not assigned into address space '/ps/Data'",
    ),
    _without(
        "memory not mapped", BD, "map_memory m_axi_w0", "is not assigned into address space '/accelerator_0/m_axi_w0'"
    ),
    Mistake(
        "memory behind another port",
        BD,
        r"map_memory m_axi_w0 \w+(?=(?s:.*)map_memory m_axi_c (\w+))",
        r"map_memory m_axi_w0 \1",
        "'/accelerator_0/m_axi_w0' does not reach",
    ),
    Mistake(
        "segment that does not exist",
        BD,
        "s_axil/reg0",
        "s_axil/reg1",
        "get_bd_addr_segs found nothing for 'accelerator_0/s_axil/reg1'",
    ),
    # --- files and order ---
    Mistake("missing Verilog", BUILD, "rtl accelerator.f", "rtl accelerators.f", r"accelerators\.f.*no such file"),
    Mistake(
        "missing constraints", BUILD, r"constraints\.xdc\]\n", "constraint.xdc]\n", r"constraint\.xdc' does not exist"
    ),
    Mistake(
        "missing script",
        BUILD,
        r"source \[file join \$here bd\.tcl\]",
        "source [file join $here bds.tcl]",
        "no such file",
    ),
    _without("no wrapper", BUILD, "make_wrapper", "top 'system_wrapper' is not a module"),
    Mistake(
        "wrong top",
        BUILD,
        r"set_property top \$\{design\}_wrapper",
        "set_property top accelerator",
        "leaves out the block design",
    ),
    _without("report before the run", BUILD, "finished impl_1", "run 'impl_1' is not complete"),
    _without("report without a design", BUILD, "open_run impl_1", "report_timing_summary: No open design"),
    _without("run not launched", BUILD, "launch_runs synth_1", "run 'synth_1' was not launched"),
    Mistake("run launched twice", BUILD, "launch_runs synth_1.*", r"\g<0>\n\g<0>", "run 'synth_1' is running"),
    Mistake("unknown run", BUILD, "launch_runs synth_1", "launch_runs synth_2", "no run 'synth_2'"),
    Mistake("unknown step", BUILD, "-to_step write_bitstream", "-to_step bitstream", "has no step 'bitstream'"),
    Mistake(
        "platform before the bitstream",
        BUILD,
        r"(?m)^(launch_runs synth_1)",
        r"write_hw_platform -fixed -include_bit early.xsa\n\1",
        "no implementation run has written a bitstream",
    ),
    Mistake("platform of the wrong kind", BUILD, r"write_hw_platform -fixed", "write_hw_platform", "without -fixed"),
    Mistake(
        "report into a missing folder",
        BUILD,
        "file join \\$results timing.txt",
        "file join $results none timing.txt",
        "folder '.*none' of '.*timing.txt' does not exist",
    ),
    # --- constraints ---
    _after(
        "pin that is not in the netlist",
        XDC,
        "set_false_path -to [get_pins system_i/accelerator_0/inst/irqs]",
        "set_false_path: no valid object.*inst/irqs",
    ),
    _after(
        "clock that nothing defines", XDC, "set_false_path -from [get_clocks clk_none]", "no valid object.*clk_none"
    ),
    _after(
        "Tcl in a constraint file",
        XDC,
        "foreach x {1 2} { set y $x }",
        '"foreach" is not supported in a constraint file',
    ),
    _after(
        "command that is no constraint",
        XDC,
        "launch_runs synth_1",
        '"launch_runs" is not supported in a constraint file',
    ),
    _after(
        "port that the top lacks",
        XDC,
        "set_property PACKAGE_PIN A1 [get_ports led]",
        "'set_property' expects at least one object.*led",
    ),
    Mistake(
        "misspelt property of the bitstream",
        XDC,
        "GENERAL.COMPRESS",
        "GENERAL.COMPRES",
        "does not have a property 'BITSTREAM.GENERAL.COMPRES'",
    ),
    # --- the accelerator's ports ---
    Mistake(
        "untrue width",
        RTL,
        r"(NAME m_axi_w0, PROTOCOL AXI4, DATA_WIDTH) \d+",
        r"\1 32",
        "'m_axi_w0' says DATA_WIDTH 32, its ports are",
    ),
    Mistake(
        "writes of a weight port denied",
        RTL,
        r"(NAME m_axi_w0,.* READ_WRITE_MODE) READ_WRITE,",
        r"\1 READ_ONLY,",
        "'m_axi_w0' says READ_WRITE_MODE READ_ONLY, its ports are READ_WRITE",
    ),
    Mistake(
        "write channel of a weight port missing",
        RTL,
        r"(?m)^(?:  \(\* .* \*\)\n)+  input m_axi_w0_awready;\n",
        "",
        "'m_axi_w0' says READ_WRITE_MODE READ_WRITE, its ports are READ_ONLY",
    ),
    Mistake(
        "clock for an interface that is not there",
        RTL,
        "ASSOCIATED_BUSIF m_axi_c:",
        "ASSOCIATED_BUSIF m_axi_d:",
        "names 'm_axi_d', which is no interface",
    ),
    Mistake(
        "port that the module lacks",
        RTL,
        r"(?m)^  output irq;",
        "  output interrupts;",
        "found nothing for 'accelerator_0/irq'",
    ),
    Mistake("signal that the bus lacks", RTL, r"m_axi_w0 ARADDR\"", 'm_axi_w0 ARADR"', "aximm has no signal 'ARADR'"),
    # --- a card with HBM behind PCI Express ---
    Mistake(
        "interrupt without a synchroniser",
        BD,
        r"accelerator_0/irq\](?s:.*?)irq_sync/dest_out\]",
        "accelerator_0/irq]",
        "sampled with '/xdma_0/axi_aclk', but '/accelerator_0/irq' comes with /clk_wiz_0/clk_out1",
        CARD,
    ),
    _without("heat of one stack not told", BD, "DRAM_1_STAT_CATTRIP", "'/hbm_0/DRAM_1_STAT_CATTRIP' must lead", CARD),
    _without("pin of the heat not placed", XDC, "PACKAGE_PIN", "DRC UCIO-1. port 'hbm_cattrip' has no PACKAGE", CARD),
    Mistake(
        "interface that the board lacks",
        BD,
        "INTERFACE sysclk0",
        "INTERFACE sysclk9",
        "CLK_IN1_BOARD_INTERFACE is 'sysclk9', which is no interface of the board",
        CARD,
    ),
    Mistake(
        "interface of another kind",
        BD,
        "RST_N_BOARD_INTERFACE pcie_perstn",
        "RST_N_BOARD_INTERFACE pcie_refclk",
        "is 'pcie_refclk', which is a diff_clock, not a reset",
        CARD,
    ),
    Mistake("reference clock of another rate", BD, "PRIM_IN_FREQ 100", "PRIM_IN_FREQ 300", "of 100 MHz, but 300", CARD),
    Mistake("port of the HBM off", BD, "SAXI_03 true", "SAXI_03 false", "found nothing for 'hbm_0/AXI_03_ACLK'", CARD),
    Mistake(
        "switch on a clock that is off",
        BD,
        "AXI_09_ACLK",
        "AXI_10_ACLK",
        "LIST0 is AXI_10_ACLK, of a port that is",
        CARD,
    ),
    Mistake("one stack", BD, r"HBM_STACK 2", "HBM_STACK 1", "found nothing for 'hbm_0/DRAM_1_STAT_CATTRIP'", CARD),
    Mistake("switch off", BD, "ENABLE_01 TRUE", "ENABLE_01 FALSE", "switch 1 is off", CARD),
    Mistake(
        "PLL of the HBM on another clock",
        BD,
        r"clk_out2(\] \[get_bd_pins hbm_0/HBM_REF_CLK_1)",
        r"clk_out1\1",
        "'/hbm_0/HBM_REF_CLK_1' is told 100 MHz, but gets 300",
        CARD,
    ),
    Mistake(
        "reset of another clock",
        BD,
        r"xdma_0/axi_aresetn(\] \[get_bd_pins hbm_0/AXI_16)",
        r"reset_0/peripheral_aresetn\1",
        "'/hbm_0/AXI_16_ARESET_N' belongs to clock '/xdma_0/axi_aclk', its source",
        CARD,
    ),
    _without(
        "registers on the host's clock alone", BD, "axi_registers/aclk1", "'/axi_registers/aclk1' is not conn", CARD
    ),
    Mistake(
        "registers beyond the BAR", BD, r"registers_base +0x\w+", "registers_base 0x200000", "outside the apert", CARD
    ),
    _without("memory out of the host's reach", BD, "map_memory xdma_0", "into address space '/xdma_0/M_AXI'", CARD),
    _without("no lanes", BD, "pcie_mgt\\]", "'/xdma_0/pcie_mgt' must be brought out", CARD),
    # --- packaging ---
    Mistake(
        "misspelt packager command",
        "ip/package.tcl",
        "ipx::update_checksums",
        "ipx::update_checksum",
        'invalid command name "ipx::update_checksum"',
    ),
    Mistake(
        "misspelt property of the core",
        "ip/package.tcl",
        "set_property display_name",
        "set_property displayname",
        "does not have a property 'displayname'",
    ),
    Mistake(
        "unknown clock of a bus", "ip/package.tcl", "-clock aclk", "-clock clk", "no bus interface 'clk' for -clock"
    ),
    _without("core not saved", "ip/package.tcl", "ipx::save_core", "unsaved core"),
]


@pytest.mark.parametrize(
    ("name", "mistake"),
    [pytest.param(board, mistake, id=f"{mistake.name}-{board}") for mistake in MISTAKES for board in mistake.boards],
)
def test_mistake_is_refused(name: str, mistake: Mistake, tmp_path: Path):
    _, folder = project(name, tmp_path)
    path = folder / mistake.file
    before = path.read_text()
    after, count = re.subn(mistake.find, mistake.put, before, count=1)
    assert count == 1 and after != before, "the mistake must change the file"
    path.write_text(after)
    done = run(folder / (mistake.file if mistake.file.endswith("package.tcl") else "build.tcl"))
    assert not done.ok, "Vivado would have refused this"
    assert re.search(mistake.says, done.error), done.error
