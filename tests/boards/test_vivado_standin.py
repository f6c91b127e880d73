"""The stand-in for Vivado itself: small designs of its own, good ones accepted, each rule refused where it is
broken.
"""

import re
from pathlib import Path

import pytest
from vivadorun import run

MODULE = """
module copier(clk, rst_n, done, m_axi_araddr, m_axi_arlen, m_axi_arvalid, m_axi_arready, m_axi_rdata, m_axi_rresp,
              m_axi_rvalid, m_axi_rready);
  input clk;  // one clock: it belongs to every interface
  input rst_n;
  (* X_INTERFACE_INFO = "xilinx.com:signal:interrupt:1.0 done INTERRUPT" *)
  output done;
  output [31:0] m_axi_araddr;
  output [7:0] m_axi_arlen;
  output m_axi_arvalid;
  input m_axi_arready;
  input [63:0] m_axi_rdata;
  input [1:0] m_axi_rresp;
  input m_axi_rvalid;
  output m_axi_rready;
endmodule
"""

# A design as an engineer would write it by hand: two clocks from a clocking wizard, interrupts through a concatenation.
DESIGN = """
create_project hand [file join [file dirname [info script]] hand] -part xczu9eg-ffvb1156-2-e
set_property board_part xilinx.com:zcu102:part0:3.4 [current_project]
add_files -norecurse [file join [file dirname [info script]] copier.v]
create_bd_design top
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e:* ps]
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "1"} $ps
set_property -dict [list CONFIG.PSU__USE__M_AXI_GP0 {0} CONFIG.PSU__USE__M_AXI_GP1 {0} CONFIG.PSU__USE__S_AXI_GP2 {1} \\
    CONFIG.PSU__SAXIGP2__DATA_WIDTH {64}] $ps
set wizard [create_bd_cell -type ip -vlnv xilinx.com:ip:clk_wiz:6.0 wizard]
set_property -dict [list CONFIG.PRIM_IN_FREQ {99.990} CONFIG.CLKOUT1_REQUESTED_OUT_FREQ {150} \\
    CONFIG.CLKOUT2_USED {true} \\
    CONFIG.CLKOUT2_REQUESTED_OUT_FREQ {250} CONFIG.RESET_TYPE {ACTIVE_LOW}] $wizard
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 slow
create_bd_cell -type module -reference copier copier_0
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 bridge
set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1 CONFIG.NUM_CLKS 2} [get_bd_cells bridge]
create_bd_cell -type ip -vlnv xilinx.com:ip:xlconcat:2.1 interrupts
set_property CONFIG.NUM_PORTS 1 [get_bd_cells interrupts]
connect_bd_net [get_bd_pins $ps/pl_clk0] [get_bd_pins wizard/clk_in1]
connect_bd_net [get_bd_pins $ps/pl_resetn0] [get_bd_pins wizard/resetn] [get_bd_pins slow/ext_reset_in]
connect_bd_net [get_bd_pins wizard/locked] [get_bd_pins slow/dcm_locked]
connect_bd_net [get_bd_pins wizard/clk_out1] [get_bd_pins slow/slowest_sync_clk] [get_bd_pins copier_0/clk] \\
    [get_bd_pins bridge/aclk]
connect_bd_net [get_bd_pins wizard/clk_out2] [get_bd_pins bridge/aclk1] [get_bd_pins ps/saxihp0_fpd_aclk]
connect_bd_net [get_bd_pins slow/peripheral_aresetn] [get_bd_pins copier_0/rst_n] [get_bd_pins bridge/aresetn]
connect_bd_intf_net [get_bd_intf_pins copier_0/m_axi] [get_bd_intf_pins bridge/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins bridge/M00_AXI] [get_bd_intf_pins ps/S_AXI_HP0_FPD]
connect_bd_net [get_bd_pins copier_0/done] [get_bd_pins interrupts/In0]
connect_bd_net [get_bd_pins interrupts/dout] [get_bd_pins ps/pl_ps_irq0]
assign_bd_address
validate_bd_design
"""


def _run(folder: Path, script: str, **options: str):
    (folder / "copier.v").write_text(MODULE)
    (folder / "script.tcl").write_text(script)
    return run(folder / "script.tcl", **options)


def test_a_design_of_another_hand_is_accepted(tmp_path: Path):
    done = _run(tmp_path, DESIGN)
    assert done.ok, done.error
    assert [item["slave"] for item in done.summary["addresses"] if item["offset"] == 0] == ["/ps/SAXIGP2/HP0_DDR_LOW"]
    assert done.summary["clocks"]["/copier_0/clk"] == 150 and done.summary["clocks"]["/ps/saxihp0_fpd_aclk"] == 250
    # 32 address bits do not reach the upper half of 4 GB.
    assert len(done.summary["warnings"]) == 2 and all("HP0_DDR_HIGH" in text for text in done.summary["warnings"])


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        ("CONFIG.NUM_CLKS 2", "CONFIG.NUM_CLKS 1", "get_bd_pins found nothing for 'bridge/aclk1'"),
        (r"\[get_bd_pins bridge/aclk1\] ", "", "clock pin '/bridge/aclk1' is not connected"),
        (
            r" \[get_bd_pins ps/saxihp0_fpd_aclk\]",
            r"\nconnect_bd_net [get_bd_pins ps/pl_clk0] [get_bd_pins ps/saxihp0_fpd_aclk]",
            "'/ps/S_AXI_HP0_FPD' is clocked by '/ps/pl_clk0', which is not connected to '/bridge'",
        ),
        (r"PRIM_IN_FREQ \{99.990\}", "PRIM_IN_FREQ {200}", "'/wizard' expects 200 MHz at clk_in1, but gets 99.99"),
        (r"(?m)^.*interrupts/dout.*\n", "", "interrupt '/copier_0/done' is not connected"),
        (r" \[get_bd_pins bridge/aresetn\]", "", "reset pin '/bridge/aresetn' is not connected"),
        (r"\[get_bd_pins wizard/resetn\] ", "", "reset pin '/wizard/resetn' is not connected"),
        (r"ACTIVE_LOW", "ACTIVE_HIGH", "found nothing for 'wizard/resetn'"),
        (
            r"(?m)^assign_bd_address\n",
            "",
            "'/ps/SAXIGP2/HP0_DDR_(LOW|HIGH)' is not assigned into address space '/copier_0/m_axi'",
        ),
        (r"slow/slowest_sync_clk\] ", "slow/peripheral_reset] ", "has more than one driver: .*/slow/peripheral_reset"),
        (r"zynq_ultra_ps_e:\*", "zynq_ultra_ps_e:3.5", "not in the IP catalog of Vivado 2022.2, which has version 3.4"),
        (r"M_AXI_GP1 \{0\}", "M_AXI_GP1 {1}", "clock pin '/ps/maxihpm1_fpd_aclk' is not connected"),
        (r"\$ps/pl_clk0", "ps/pl_clk1", "get_bd_pins found nothing for 'ps/pl_clk1'"),
    ],
)
def test_a_design_of_another_hand_with_a_mistake(find: str, put: str, says: str, tmp_path: Path):
    script, count = re.subn(find, put, DESIGN, count=1)
    assert count == 1
    done = _run(tmp_path, script)
    assert not done.ok and re.search(says, done.error), done.error


DIRECT = re.sub(
    r"(?m)^connect_bd_intf_net (\[[^\n]*?m_axi\]).*\n.*(\[get_bd_intf_pins ps/.*)$",
    r"connect_bd_intf_net \1 \2",
    DESIGN,
)


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        ("a^", "", "CLK_DOMAIN of '/copier_0/m_axi' is '/wizard/clk_out1', of '/ps/S_AXI_HP0_FPD' '/wizard/clk_out2'"),
        ("DATA_WIDTH {64}", "DATA_WIDTH {128}", "DATA_WIDTH of '/copier_0/m_axi' is 64, of '/ps/S_AXI_HP0_FPD' 128"),
    ],
)
def test_what_meets_directly_must_agree(find: str, put: str, says: str, tmp_path: Path):
    done = _run(tmp_path, DIRECT.replace(find, put))
    assert not done.ok and says in done.error, done.error


@pytest.mark.parametrize(
    ("port", "says"),
    [
        ("input [3:0] mode;", "input pin '/copier_0/mode' is not connected"),
        ("output [7:0] level;", "output pin '/copier_0/level' drives nothing"),
        ("input second_clk;", "interface '/copier_0/m_axi' is associated with no clock"),
    ],
)
def test_pins_left_open(port: str, says: str, tmp_path: Path):
    (tmp_path / "other.v").write_text(MODULE.replace("  output done;", f"  output done;\n  {port}"))
    done = _run(tmp_path, DESIGN.replace("copier.v", "other.v"))
    assert not done.ok and says in done.error, done.error


def test_paths_of_the_block_design_serve_as_objects(tmp_path: Path):
    """As `$ps/Data` does, which is text: UG835 gives such examples for address spaces."""
    by_path = DESIGN.replace(
        "assign_bd_address\n",
        "assign_bd_address -target_address_space /copier_0/m_axi [get_bd_addr_segs ps/SAXIGP2/HP0_DDR_LOW] -force\n",
    )
    assert _run(tmp_path, by_path).ok
    done = _run(tmp_path, by_path.replace("/copier_0/m_axi ", "/copier_0/s_axi ").replace("hand]", "other]"))
    assert not done.ok and "'/copier_0/s_axi' is not a valid first class Tcl object" in done.error


def test_the_release_decides_which_versions_exist(tmp_path: Path):
    script = DESIGN.replace("zynq_ultra_ps_e:*", "zynq_ultra_ps_e:3.5")
    assert _run(tmp_path, script, release="2024.2").ok


PROJECT = "create_project p [file join [file dirname [info script]] p] -part xc7z020clg400-1\n"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("current_project", "No open project"),
        (PROJECT + "validate_bd_design", "A block design must be open"),
        (PROJECT + PROJECT, "project 'p' is open already"),
        ("create_project p -part xc7z020clg400", "part 'xc7z020clg400' not found"),
        (
            PROJECT + "set_property target_language Verilog [get_filesets none]",
            "expects at least one object .get_filesets found nothing for 'none'",
        ),
        (PROJECT + "set_property target_language Verilog p", "'p' is not a valid first class Tcl object"),
        (PROJECT + "set_property target_language [current_project]", "expects at least one object"),
        (PROJECT + "set_property target_language", "needs <name> <value> <objects>"),
        (PROJECT + "set_property -dict {target_language} [current_project]", "'target_language' has no value"),
        (
            PROJECT + "set_property part xc7z010clg400-1 [get_runs synth_1]\nget_property colour [get_runs synth_1]",
            "does not have a property 'colour'",
        ),
        (PROJECT + "set_property progress 100% [get_runs synth_1]", "is read-only"),
        (PROJECT + "get_runs -filter {IS_SYNTHESIS = 1}", "cannot read the filter"),
        (PROJECT + "launch_runs synth_1", "has no top"),
        (PROJECT + "add_files copier.txt", "does not exist"),
        (PROJECT + "set_param general.maxthreads 4", "unknown parameter"),
        (PROJECT + "read_saif x.saif", "No open design"),
        (PROJECT + "get_cells a", "No open design"),
        (PROJECT + "get_p", 'invalid command name "get_p"'),
        (PROJECT + "exit 3", "called exit 3"),
        (PROJECT + "source none.tcl", "no such file"),
        ("report_power", "No open design"),
        ("ipx::save_core", "no core is open"),
        ("ipx::no_such", 'invalid command name "ipx::no_such"'),
        ("find 1", 'invalid command name "find"'),
    ],
)
def test_small_mistakes(script: str, says: str, tmp_path: Path):
    done = _run(tmp_path, script)
    assert not done.ok and re.search(says, done.error), done.error


@pytest.mark.parametrize(
    "script",
    [
        "exit",
        "exit 0",
        PROJECT + "close_project",
        PROJECT + "get_runs -filter {IS_SYNTHESIS == 1 && NAME =~ synth*}",
        PROJECT + 'foreach run [get_runs] { if {[string match impl* $run]} { set_property strategy "Flow_Quick" $run '
        "} }",
        PROJECT + "set run [get_runs impl_1]\nif {[string match impl* $run]} { set_property strategy Flow_Quick $run }",
        PROJECT + "set_property -name {STEPS.SYNTH_DESIGN.ARGS.MORE OPTIONS} -value {-mode out_of_context} "
        "-objects "
        "[get_runs synth_1]",
        PROJECT + "set_property -quiet colour red [current_project]",
    ],
)
def test_small_things_that_are_right(script: str, tmp_path: Path):
    done = _run(tmp_path, script)
    assert done.ok, done.error


def test_suppressed_errors_are_told(tmp_path: Path):
    done = _run(tmp_path, PROJECT + "set_property -quiet colour red [current_project]")
    assert len(done.summary["suppressed"]) == 1 and "colour" in done.summary["suppressed"][0]


def test_the_place_of_a_mistake_is_told(tmp_path: Path):
    (tmp_path / "inner.tcl").write_text("\nset_part none\n")
    done = _run(tmp_path, PROJECT + "source [file join [file dirname [info script]] inner.tcl]")
    assert f"{tmp_path / 'inner.tcl'} line 2" in done.error and f"{tmp_path / 'script.tcl'} line 2" in done.error


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        (
            "input m_axi_arready",
            "output m_axi_arready",
            "port 'arready' of 'm_axi' has the wrong direction for a master",
        ),
        (r"(?m)^  output m_axi_arvalid;\n", "", "the ports of 'm_axi' do not make an AXI interface"),
        ("signal:interrupt:1.0 done", "signal:clock:1.0 done", "done"),
    ],
)
def test_ports_that_make_no_interface(find: str, put: str, says: str, tmp_path: Path):
    script = DESIGN.replace("copier.v", "other.v")
    text, count = re.subn(find, put, MODULE, count=1)
    assert count == 1
    (tmp_path / "other.v").write_text(text)
    done = _run(tmp_path, script)
    assert not done.ok and says in done.error, done.error
