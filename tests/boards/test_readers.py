"""Bar: four readers accept the Verilog of every board, and its ports are exactly what the block design connects."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from readers import (
    TopPort,
    clocks_of,
    find_icarus,
    icarus_problems,
    slang_errors,
    top_ports,
    traps,
    verilator_problems,
    yosys_json,
)
from vivadorun import ports_only_verilog

from moesaic.boards.board import Board, board_names, load_board
from moesaic.boards.project.rtl import WAIVERS, annotated_verilog, write_rtl
from moesaic.boards.project.write import write_project
from moesaic.hw.export import TOP

# Signals that AMBA requires of a channel, beside its handshake.
CHANNELS = {
    "AXI4": {
        "AR": "ADDR LEN SIZE BURST",
        "R": "DATA RESP LAST",
        "AW": "ADDR LEN SIZE BURST",
        "W": "DATA STRB LAST",
        "B": "RESP",
    },
    "AXI4LITE": {"AR": "ADDR PROT", "R": "DATA RESP", "AW": "ADDR PROT", "W": "DATA STRB", "B": "RESP"},
}
ATTRIBUTES = ('use_dsp = "yes"', 'keep = "true"', 'ram_style = "')
DRIVEN = {"AR", "AW", "W"}  # channels that a master drives
LARGEST = 64 * 64  # multipliers: the whole array of a larger one takes minutes and gigabytes to export


icarus = pytest.mark.skipif(find_icarus() is None, reason="Icarus Verilog is not installed: apt-get install iverilog")


@dataclass(frozen=True)
class Project:
    """A board, a folder with its whole Verilog and its scripts, and the Verilog files, the top first."""

    board: Board
    folder: Path
    sources: list[Path]

    @property
    def text(self) -> str:
        return "".join(path.read_text() for path in self.sources)


def one_for_each_accelerator() -> list[str]:
    """Boards that have one accelerator have one Verilog; the board that it was made for, if there is one."""
    boards = sorted(map(load_board, board_names()), key=lambda board: board.name == board.accelerator.name)
    return list({board.accelerator.name: board.name for board in boards}.values())


@pytest.fixture(scope="module", params=one_for_each_accelerator())
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    board = load_board(request.param)
    accelerator = board.accelerator
    if accelerator.rows * accelerator.lanes > LARGEST:  # the same ports and units around a smaller array
        accelerator = accelerator.replace(rows=8, lanes=64)
    folder = tmp_path_factory.mktemp(board.name)
    sources = write_rtl(annotated_verilog(accelerator), accelerator, folder, version="test")
    write_project(board, folder, version="test")
    return Project(board, folder, [folder / source for source in sources])


def test_verilator_accepts(project: Project) -> None:
    assert verilator_problems([project.folder / WAIVERS, *project.sources], TOP) == []


@icarus
def test_icarus_accepts(project: Project) -> None:
    assert icarus_problems(project.sources, TOP) == []


def test_slang_accepts(project: Project) -> None:
    assert slang_errors(project.sources) == []


def test_yosys_accepts_and_finds_one_clock(project: Project) -> None:
    design = yosys_json(project.sources, TOP, project.folder / "accelerator.json")
    assert clocks_of(design, TOP) == {"aclk"}


def test_names_are_plain(project: Project) -> None:
    text = project.text
    assert "\\" not in text and not re.search(r"\$(?!signed\b)", text)
    modules = re.findall(r"^module (\w+)", text, flags=re.MULTILINE)
    assert modules == [path.stem for path in project.sources]
    assert all(name.startswith("moesaic_") and len(name) < 60 for name in modules[1:])
    assert not re.search(r'src = "(/|\.\.)', text)
    assert text.count("always @* begin") == len(re.findall(r'src = "[^"]+:\d+" \*\)\n  always @\* begin\n', text)) > 0
    assert re.search(r"^    \w+ <= .*;  // hw/engine/feeder.py:\d+$", text, re.MULTILINE)


def test_ports_are_those_that_the_block_design_connects(project: Project) -> None:
    ports = top_ports(project.sources, TOP)
    assert connection_problems((project.folder / "bd.tcl").read_text(), ports) == []
    config = project.board.accelerator
    assert ports["m_axi_w0_rdata"].bits == config.port_bits and ports["m_axi_w0_awaddr"].bits == config.addr_bits


TRAPS = """
  (* ram_style = "ultra" *)
  reg [7:0] words [15:0];
  initial begin
    words[0] = 8'h01;
  end
  (* ram_style = "block" *)
  reg [7:0] others [15:0];
  assign o = others[a];
  always_latch if (e) o = i;
  always @(posedge clk, posedge rst) q <= d;
"""


def test_what_vivado_trips_over_is_found() -> None:
    assert traps(TRAPS) == [
        "memory 'words' has initial contents",
        "memory 'others' is read without a clock",
        "always_latch if (e) o = i;",
        "always @(posedge clk, posedge rst) q <= d;",
    ]


def test_nothing_that_vivado_trips_over(project: Project) -> None:
    text = project.text
    assert traps(text) == []
    # Attributes that tools obey survive the export.
    assert {'use_dsp = "yes"', 'keep = "true"', 'ram_style = "'} <= {a for a in ATTRIBUTES if a in text}


def test_memory_attributes(project: Project) -> None:
    assert ('ram_style = "ultra"' in project.text) == bool(project.board.accelerator.ultra_ram)


def _axi_problems(name: str, ports: dict[str, TopPort], parameters: dict[str, str]) -> list[str]:
    """What is missing, too much, or the wrong way round in an AXI interface, by its logical names."""
    reads, writes = (mode in parameters["READ_WRITE_MODE"] for mode in ("READ", "WRITE"))
    problems = []
    expected = {}
    for channel, signals in CHANNELS[parameters["PROTOCOL"]].items():
        if (reads and channel in ("AR", "R")) or (writes and channel in ("AW", "W", "B")):
            forward = (channel in DRIVEN) == name.startswith("m_")
            expected |= {f"{channel}{signal}": forward for signal in [*signals.split(), "VALID"]}
            expected[f"{channel}READY"] = not forward
    optional = {"ARCACHE", "ARPROT", "AWCACHE", "AWPROT"}
    problems += [f"{name} has no {logical}" for logical in expected if logical not in ports]
    problems += [
        f"{name} has {logical}, which its protocol does not"
        for logical in ports
        if logical not in {*expected, *optional}
    ]
    problems += [
        f"{name} {logical} points the wrong way"
        for logical, out in expected.items()
        if logical in ports and ports[logical].output != out
    ]
    data, address = parameters["DATA_WIDTH"], parameters["ADDR_WIDTH"]
    for logical, port in ports.items():
        wanted = int(data) if logical.endswith("DATA") else int(address) if logical.endswith("ADDR") else port.bits
        if port.bits != wanted:
            problems.append(f"{port.name} must be {wanted} bits wide, not {port.bits}")
    return problems


def connection_problems(script: str, ports: dict[str, TopPort]) -> list[str]:
    """Ports without an interface or a connection, connections without a port, interfaces that are incomplete."""
    interfaces: dict[str, dict[str, TopPort]] = {}
    kinds: dict[str, str] = {}
    parameters: dict[str, dict[str, str]] = {}
    problems = []
    for port in ports.values():
        if port.interface is None:
            problems.append(f"port {port.name} belongs to no interface")
            continue
        kind, name, logical = port.interface
        kinds[name] = kind
        interfaces.setdefault(name, {})[logical] = port
        if text := port.attributes.get("X_INTERFACE_PARAMETER"):
            first, *rest = text.split(", ")
            if first != f"XIL_INTERFACENAME {name}":
                problems.append(f"parameters at {port.name} must be those of {name}, not {first!r}")
            parameters[name] = dict(item.split(" ", 1) for item in rest)
    calls = re.findall(
        r"^(connect_bd_net|connect_bd_intf_net) \[get_bd_(?:intf_)?pins ([\w/]+)\] \[get_bd_(?:intf_)?pins ([\w/]+)\]$",
        script,
        re.MULTILINE,
    )
    others = (
        r"^connect_bd(?!.*(?:\$(?:lanes|reference|steady|perst)\b|get_bd_ports hbm_cattrip\]))"  # but a card's pins
    )
    if len(calls) != len(re.findall(others, script, re.MULTILINE)):
        problems.append("a connection is not understood")
    connected = [
        (call, pin.removeprefix("accelerator_0/"))
        for call, *pins in calls
        for pin in pins
        if pin.startswith("accelerator_0/")
    ]
    for name, kind in kinds.items():
        wanted = "connect_bd_intf_net" if ":interface:" in kind else "connect_bd_net"
        count = sum(call == wanted and pin == name for call, pin in connected)
        if count != 1:
            problems.append(f"{name} must be connected once by {wanted}, not {count} times")
        if ":interface:" in kind:
            problems += _axi_problems(name, interfaces[name], parameters.get(name, {}))
    problems += [f"{pin} is connected and is no port" for _, pin in connected if pin not in kinds]
    busif = parameters.get("aclk", {}).get("ASSOCIATED_BUSIF", "").split(":")
    if sorted(busif) != sorted(name for name, kind in kinds.items() if ":interface:" in kind):
        problems.append(f"aclk must be the clock of every bus, not of {busif}")
    return problems


def edit(pattern: str, to: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        changed, count = re.subn(pattern, to, text, count=1, flags=re.MULTILINE)
        assert count == 1, pattern
        return changed

    return change


PLANTED_IN_SCRIPT = {
    "connection removed": (
        edit(r"^connect_bd_intf_net \[get_bd_intf_pins accelerator_0/m_axi_w1\].*\n", ""),
        "m_axi_w1 must be connected once",
    ),
    "interrupt removed": (
        edit(r"^connect_bd_net \[get_bd_pins accelerator_0/irq\].*\n", ""),
        "irq must be connected once",
    ),
    "connected twice": (
        edit(r"^(connect_bd_net .*accelerator_0/aresetn\]\n)", r"\1\1"),
        "aresetn must be connected once .* not 2 times",
    ),
    "pin renamed": (edit(r"accelerator_0/m_axi_c\]", "accelerator_0/m_axi_d]"), "m_axi_d is connected and is no port"),
}
PLANTED_IN_VERILOG = {
    "port renamed": (
        lambda text: text.replace("m_axi_w0_rlast", "m_axi_w0_rend").replace("m_axi_w0 RLAST", "m_axi_w0 REND"),
        "m_axi_w0 has no RLAST",
    ),
    "port not annotated": (
        edit(r"^  \(\* X_INTERFACE_INFO = .* irq INTERRUPT\" \*\)\n", ""),
        "port irq belongs to no interface",
    ),
    "port turned": (
        edit(r"^  output m_axi_w1_wvalid;", "  input m_axi_w1_wvalid;"),
        "m_axi_w1 WVALID points the wrong way",
    ),
    "port narrowed": (
        edit(r"^  input \[63:0\] m_axi_w1_rdata;", "  input [31:0] m_axi_w1_rdata;"),
        "m_axi_w1_rdata must be 64 bits",
    ),
    "writes of a port missing": (
        lambda text: re.sub(r"(?m)^(  \(\* .* \*\)\n)+  (in|out)put (\[.*\] )?m_axi_w1_(aw|w|b)[a-z]+;\n", "", text),
        "m_axi_w1 has no AWADDR",
    ),
    "writes of a port denied": (
        edit(r"(NAME m_axi_w1,.* READ_WRITE_MODE) READ_WRITE,", r"\1 READ_ONLY,"),
        "m_axi_w1 has AWADDR, which its protocol does not",
    ),
    "bus without a clock": (
        edit(r"ASSOCIATED_BUSIF m_axi_c:", "ASSOCIATED_BUSIF "),
        "aclk must be the clock of every bus",
    ),
}


@pytest.mark.parametrize("mistake", [*PLANTED_IN_SCRIPT, *PLANTED_IN_VERILOG])
def test_planted_mistakes_are_found(tmp_path: Path, mistake: str) -> None:
    board = load_board("pynq-z2")
    write_project(board, tmp_path, version="test")
    script, verilog = (tmp_path / "bd.tcl").read_text(), ports_only_verilog(board.accelerator)
    path = tmp_path / "accelerator.v"
    path.write_text(verilog)
    assert connection_problems(script, top_ports([path], TOP)) == []
    change, message = {**PLANTED_IN_SCRIPT, **PLANTED_IN_VERILOG}[mistake]
    if mistake in PLANTED_IN_SCRIPT:
        script = change(script)
    else:
        path.write_text(change(verilog))
    problems = connection_problems(script, top_ports([path], TOP))
    assert any(re.search(message, problem) for problem in problems), problems


BROKEN = {
    "syntax": "module accelerator(input aclk, output reg q);\n  always @(posedge aclk) q <= ;\nendmodule\n",
    "unknown module": "module accelerator(input aclk, output q);\n  nothing there (.clk(aclk), .q(q));\nendmodule\n",
    "unknown port": "module part(input clk);\nendmodule\nmodule accelerator(input aclk);\n  part one "
    "(.clock(aclk));\nendmodule\n",
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_readers_refuse(tmp_path: Path, mistake: str) -> None:
    path = tmp_path / "broken.v"
    path.write_text(BROKEN[mistake])
    assert verilator_problems([path], TOP)
    assert slang_errors([path])
    assert find_icarus() is None or icarus_problems([path], TOP)
    with pytest.raises(RuntimeError):
        yosys_json([path], TOP, tmp_path / "broken.json")


SECOND_CLOCK = {
    "divided": "reg half; always @(posedge aclk) half <= ~half; always @(posedge half) q <= ~q;",
    "another input": "always @(posedge irq_clock) q <= ~q;",
    "in a part": "always @(posedge aclk) q <= ~q; part one (.c(q));",
}


@pytest.mark.parametrize("mistake", SECOND_CLOCK)
def test_a_second_clock_is_found(tmp_path: Path, mistake: str) -> None:
    path = tmp_path / "clocks.v"
    part = "module part(input c); reg r; always @(posedge c) r <= ~r; (* keep *) wire k = r; endmodule\n"
    path.write_text(
        f"{part}module accelerator(input aclk, input irq_clock, output reg q);\n{SECOND_CLOCK[mistake]}\nendmodule\n"
    )
    assert clocks_of(yosys_json([path], TOP, tmp_path / "clocks.json"), TOP) != {"aclk"}


def test_a_latch_is_serious(tmp_path: Path) -> None:
    path = tmp_path / "latch.v"
    path.write_text("module accelerator(input aclk, input d, output reg q);\n  always @* if (aclk) q = d;\nendmodule\n")
    assert any("LATCH" in problem for problem in verilator_problems([path], TOP))
