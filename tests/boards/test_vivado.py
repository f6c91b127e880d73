"""Generated Tcl runs to its end in the stand-in for Vivado, and does what the board's data say."""

import re
import shutil
from pathlib import Path

import pytest
from vivadorun import RELEASES, ports_only_verilog, project, run

from moesaic.boards.board import REGISTERS_BYTES, Board, board_names
from moesaic.boards.host import ProcessingSystem
from moesaic.boards.project.rtl import annotated_verilog, write_rtl
from moesaic.hw.spec.config import AcceleratorConfig

REPORTS = {"timing.txt", "utilization.txt", "power.txt", "cdc.txt", "drc.txt", "methodology.txt"}


def _buses(config: AcceleratorConfig) -> list[str]:
    return [f"m_axi_w{number}" for number in range(config.ports)] + ["m_axi_c"]


SOME = ("kr260", "pynq-z2", "u280", "zcu102")  # a board of each family, and one with connectors to its carrier


def _has_processors(board: Board) -> bool:
    return isinstance(board.system.host, ProcessingSystem)


@pytest.mark.parametrize(
    ("name", "release"),
    [*((name, release) for name in SOME for release in RELEASES)]
    + [(name, RELEASES[-1]) for name in board_names() if name not in SOME],
)
def test_project_is_built(name: str, release: str, tmp_path: Path):
    board, folder = project(name, tmp_path)
    done = run(folder / "build.tcl", release=release)
    assert done.ok, done.error
    summary = done.summary
    assert summary["warnings"] == summary["suppressed"] == []
    made = summary["project"]
    assert (made["part"], made["top"]) == (board.part, "system_wrapper")
    # An older Vivado may have an older revision of the board's files.
    assert made["board_part"].rpartition(":")[0] == board.board_part.rpartition(":")[0]
    assert {run["state"] for run in summary["runs"].values()} == {"done"}
    results = {path.name for path in (folder / "build").iterdir()}
    assert results >= REPORTS | {f"{name}.bit", f"{name}.hwh"}
    assert (f"{name}.xsa" in results) == _has_processors(board)


@pytest.mark.parametrize("name", board_names())
def test_addresses_are_those_of_the_board(name: str, tmp_path: Path):
    board, folder = project(name, tmp_path)
    summary = run(folder / "build.tcl", "--until", "project").summary
    mapped = {(item["space"], item["slave"]): item for item in summary["addresses"] if not item["excluded"]}
    processors = _has_processors(board)
    registers = mapped["/ps/Data" if processors else "/xdma_0/M_AXI_LITE", "/accelerator_0/s_axil/reg0"]
    assert (registers["offset"], registers["range"]) == (board.ports.registers_base, REGISTERS_BYTES)
    if processors:
        assert mapped["/ps/Data", "/axi_intc_0/S_AXI/Reg"]["offset"] == board.ports.interrupt_base
    header = (folder / "include/moesaic_board.h").read_text()
    for constant, value in (("REGISTERS_BASE", registers["offset"]), ("REGISTERS_BYTES", registers["range"])):
        assert int(re.search(rf"MOESAIC_{constant} (0x\w+)u", header)[1], 16) == value
    # Every master sees all that programs are put into: the window, and with channels the same of each, up to that of
    # instructions and results, which every weight port writes.
    for channel in range(board.accelerator.ports + 1 if board.memory.channel_bytes else 1):
        low = board.memory.window_base + channel * board.memory.channel_bytes
        high = low + board.memory.window_bytes
        for bus in _buses(board.accelerator):
            ranges = [item for (space, _), item in mapped.items() if space == f"/accelerator_0/{bus}"]
            assert any(item["offset"] <= low and high <= item["offset"] + item["range"] for item in ranges), bus


@pytest.mark.parametrize("name", [name for name in board_names() if name != "u280"])
def test_clock_and_port_widths_are_those_of_the_board(name: str, tmp_path: Path):
    board, folder = project(name, tmp_path)
    summary = run(folder / "build.tcl", "--until", "project").summary
    # The processing system divides a PLL by integers: it hits the wish to a tenth of a percent, never above.
    assert all(0.999 * board.clock_mhz <= mhz <= board.clock_mhz for mhz in summary["clocks"].values())
    assert {"/accelerator_0/aclk", "/axi_registers/aclk", "/axi_c/aclk"} <= set(summary["clocks"])
    settings = summary["cells"]["/ps"]["config"]
    widths = {key: int(value) for key, value in settings.items() if re.search("(S_AXI_HP|SAXIGP)\\d_+DATA_WIDTH", key)}
    assert len(widths) == len(board.ports.memory) and set(widths.values()) == {board.accelerator.port_bits}
    nets = summary["nets"].values()
    for bus, port in board.ports.memory.items():
        cell = f"/axi_{bus.removeprefix('m_axi_')}"
        assert [f"/accelerator_0/{bus}", f"{cell}/S00_AXI"] in nets
        assert [f"{cell}/M00_AXI", f"/ps/S_AXI_{port}{'_FPD' if board.family == 'zynqmp' else ''}"] in nets


def test_clocks_and_channels_of_a_card(tmp_path: Path):
    """Each weight port meets the channel right behind its HBM port; the host has a port and a clock of its own."""
    board, folder = project("u280", tmp_path)
    summary = run(folder / "build.tcl", "--until", "project").summary
    assert summary["clocks"]["/accelerator_0/aclk"] == board.clock_mhz and summary["clocks"]["/axi_host/aclk"] == 250
    settings, nets = summary["cells"]["/hbm_0"]["config"], summary["nets"].values()
    enabled = {key.removeprefix("USER_") for key, value in settings.items() if "_SAXI_" in key and value == "true"}
    assert enabled == {*board.ports.memory.values(), "SAXI_16"}
    mapped = {(item["space"], item["slave"]): item for item in summary["addresses"]}
    for number, (bus, port) in enumerate(board.ports.memory.items()):
        assert [f"/accelerator_0/{bus}", f"/axi_{bus.removeprefix('m_axi_')}/S00_AXI"] in nets
        assert [f"/axi_{bus.removeprefix('m_axi_')}/M00_AXI", f"/hbm_0/{port}"] in nets
        own = mapped[f"/accelerator_0/{bus}", f"/hbm_0/{port}/{port.replace('SAXI_', 'HBM_MEM')}"]
        assert own["offset"] == board.memory.window_base + number * board.memory.channel_bytes
        assert own["range"] == board.memory.channel_bytes
    assert sum(item["range"] for (space, _), item in mapped.items() if space == "/xdma_0/M_AXI") == board.memory.bytes


def test_project_is_built_with_the_whole_verilog(tmp_path: Path):
    board, folder = project("pynq-z2", tmp_path)
    assert len(write_rtl(annotated_verilog(board.accelerator), board.accelerator, folder, version="test")) > 50
    whole = run(folder / "build.tcl")
    assert whole.ok, whole.error
    write_rtl(ports_only_verilog(board.accelerator), board.accelerator, folder, version="test")
    shutil.rmtree(folder / "vivado")
    # What the other tests use in its place makes the same design.
    assert run(folder / "build.tcl").summary["nets"] == whole.summary["nets"]


@pytest.mark.parametrize(
    ("until", "last"), [("project", "new"), ("synthesis", "new"), ("implementation", "done"), ("bitstream", "done")]
)
def test_build_stops_where_it_is_told(until: str, last: str, tmp_path: Path):
    _, folder = project("pynq-z2", tmp_path)
    done = run(folder / "build.tcl", "--until", until, "--jobs", "4")
    assert done.ok, done.error
    runs = done.summary["runs"]
    assert (runs["synth_1"]["state"], runs["impl_1"]["state"]) == ("new" if until == "project" else "done", last)
    assert (folder / "build/pynq-z2.bit").exists() == (until == "bitstream")


def test_build_refuses_its_own_bad_options(tmp_path: Path):
    _, folder = project("pynq-z2", tmp_path)
    for option, value, message in (
        ("--until", "end", "--until must"),
        ("--jobs", "0", "--jobs must"),
        ("-x", "1", "option must"),
    ):
        done = run(folder / "build.tcl", option, value)
        assert not done.ok and message in done.error


@pytest.mark.parametrize("release", ["2021.1", "2021.2"])
def test_old_vivado_is_refused(release: str, tmp_path: Path):
    _, folder = project("zcu102", tmp_path)
    done = run(folder / "build.tcl", release=release)
    assert not done.ok and "Vivado must be 2022.1 or newer" in done.error


def test_missing_board_files_are_named(tmp_path: Path):
    _, folder = project("zcu102", tmp_path)
    done = run(folder / "build.tcl", boards="tul.com.tw:pynq-z2:part0:1.0")
    assert not done.ok and "xilinx.com:zcu102:part0" in done.error


def test_an_older_revision_of_the_board_files_serves(tmp_path: Path):
    _, folder = project("zcu102", tmp_path)
    done = run(folder / "build.tcl", "--until", "project", boards="xilinx.com:zcu102:part0:3.3")
    assert done.ok and done.summary["project"]["board_part"] == "xilinx.com:zcu102:part0:3.3"


def test_switching_activity_is_read_if_it_is_there(tmp_path: Path):
    _, folder = project("pynq-z2", tmp_path)
    assert "read_saif" not in run(folder / "build.tcl").summary["used"]
    (folder / "activity.saif").write_text("(SAIFILE)\n")
    assert run(folder / "build.tcl").summary["used"]["read_saif"] == 1


@pytest.mark.parametrize("name", board_names())
def test_core_is_packaged(name: str, tmp_path: Path):
    board, folder = project(name, tmp_path)
    (folder / "ip/component.xml").unlink()
    done = run(folder / "ip/package.tcl")
    assert done.ok, done.error
    core = done.summary["core"]
    buses = [*_buses(board.accelerator), "s_axil"]
    assert core["vlnv"] == "moesaic:accelerator:accelerator:1.0"
    assert core["interfaces"] == sorted([*buses, "aclk", "aresetn", "irq"])
    assert set(core["parameters"]["aclk/ASSOCIATED_BUSIF"].split(":")) == set(buses)
    assert (folder / "ip/component.xml").exists()


def _with_component(folder: Path, vlnv: str = "moesaic:accelerator:accelerator:1.0") -> None:
    """Use the packaged component in the block design, in place of the Verilog."""
    script = folder / "bd.tcl"
    cell = "create_bd_cell -type module -reference accelerator accelerator_0"
    text = script.read_text()
    assert cell in text
    script.write_text(
        text.replace(
            cell,
            "\n".join(
                [
                    "set_property ip_repo_paths [file join [file dirname [info script]] ip] [current_project]",
                    "update_ip_catalog",
                    f"create_bd_cell -type ip -vlnv {vlnv} accelerator_0",
                ]
            ),
        )
    )


@pytest.mark.parametrize("name", ["zcu102", "pynq-z2"])
def test_component_serves_in_a_block_design(name: str, tmp_path: Path):
    _, folder = project(name, tmp_path)
    nets = run(folder / "build.tcl").summary["nets"]
    shutil.rmtree(folder / "vivado")
    _with_component(folder)
    done = run(folder / "build.tcl")
    assert done.ok, done.error
    assert done.summary["cells"]["/accelerator_0"]["vlnv"] == "moesaic:accelerator:accelerator:1.0"
    assert done.summary["nets"] == nets


@pytest.mark.parametrize(
    ("find", "put", "says"),
    [
        (
            "<spirit:name>irq</spirit:name>",
            "<spirit:name>interrupt</spirit:name>",
            "its ports are not those of module|irq",
        ),
        ("rtl/accelerator.v", "rtl/accelerator_1.v", "refers to '../rtl/accelerator_1.v', which does not exist"),
        (
            "<spirit:version>1.0<",
            "<spirit:version>1.1<",
            "'moesaic:accelerator:accelerator:1.0' is not in the IP catalog",
        ),
        (
            "<spirit:modelName>accelerator<",
            "<spirit:modelName>accelerators<",
            "module 'accelerators' is in none of its files",
        ),
    ],
)
def test_component_that_is_not_true(find: str, put: str, says: str, tmp_path: Path):
    _, folder = project("pynq-z2", tmp_path)
    _with_component(folder)
    component = folder / "ip/component.xml"
    text = component.read_text()
    assert find in text
    component.write_text(text.replace(find, put))
    done = run(folder / "build.tcl")
    assert not done.ok and re.search(says, done.error), done.error
