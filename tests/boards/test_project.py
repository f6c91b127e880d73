"""Generated folders: IP-XACT, documents, header, program; and the command that writes them."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from vivadorun import ports_only_verilog

from moesaic import __version__
from moesaic.boards.board import REGISTERS_BYTES, board_names, load_board
from moesaic.boards.host import ProcessingSystem
from moesaic.boards.project import write
from moesaic.boards.project.design import block_design
from moesaic.boards.project.interfaces import Interface, interfaces_of, port_attributes, ports_of
from moesaic.boards.project.render import render
from moesaic.cli import main
from moesaic.compiler.image import ProgramImage
from moesaic.flow import generate
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.latency import WRITES_IN_FLIGHT
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.registers import register_map

SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
FILES = {
    "README.md",
    "SHA256SUMS",
    "address_map.md",
    "bd.tcl",
    "build.tcl",
    "config.json",
    "constraints.xdc",
    "include/moesaic_board.h",
    "include/moesaic_registers.h",
    "include/moesaic_tables.h",
    "ip/component.xml",
    "ip/package.tcl",
    "linux/moesaic.bif",
    "linux/moesaic.dtso",
    "linux/reserved-memory.dtsi",
    "linux/shell.json",
    "registers.md",
    "accelerator.core",
    "rtl/accelerator.f",
    "rtl/accelerator.v",
    "c/moesaic_tables.c",
    *(f"c/{path.name}" for path in (Path(write.__file__).parents[1] / "c").iterdir()),
    "rtl/verilator.vlt",
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verilog with ports only: a whole one takes half a minute to export, and is read in test_readers."""
    monkeypatch.setattr(generate, "annotated_verilog", ports_only_verilog)


def moesaic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and standard error of a command."""
    monkeypatch.setattr("sys.argv", ["moesaic", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0), capsys.readouterr().err


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def without_linux(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith("linux/")}


@pytest.mark.parametrize("name", board_names())
def test_folder(quick, tmp_path: Path, monkeypatch, capsys, name: str) -> None:
    out = tmp_path / "out"
    assert moesaic(monkeypatch, capsys, "generate", "--board", name, "--out", out)[0] == 0
    board = load_board(name)
    processors = isinstance(board.system.host, ProcessingSystem)
    assert files(out) == (FILES if processors else without_linux(FILES))
    assert json.loads((out / "config.json").read_text()) == {
        **json.loads(json.dumps(board.accelerator.to_dict())),  # tuples are lists there
        "hash": board.accelerator.hash,
    }
    readme = (out / "README.md").read_text()
    assert "## Checked without Vivado" in readme and "## Not checked" in readme
    assert ("no device tree" in readme and "/dev/xdma0" in readme) != processors
    assert ("cannot reach" in readme) == (board.stream_gbs > board.memory.bandwidth_gbs)
    for text in ("{{", "{%"):
        assert not [path for path in sorted(files(out) - {"rtl/accelerator.v"}) if text in (out / path).read_text()], (
            text
        )
    addresses = (out / "address_map.md").read_text()
    for number in (
        board.ports.registers_base,
        *([board.ports.interrupt_base] if processors else []),
        board.memory.window_base,
        board.memory.window_base + board.memory.window_bytes - 1,
    ):
        assert f"`0x{number:09X}`" in addresses
    for bus, port in board.ports.memory.items():
        assert f"| `{bus}` | {port}, {board.accelerator.port_bits} bit |" in addresses
    done = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=out, check=False)
    assert done.returncode == 0


def test_header_is_c(quick, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    moesaic(monkeypatch, capsys, "generate", "--board", "zcu104", "--out", out)
    program = tmp_path / "probe.c"
    program.write_text(
        '#include <stdio.h>\n#include "moesaic_board.h"\n#include "moesaic_board.h"\nint main(void) {\n'
        '  printf("%u %u %u %u %u %u\\n", MOESAIC_REGISTERS_BASE, MOESAIC_WINDOW_BASE, MOESAIC_WINDOW_BYTES, '
        "MOESAIC_CLOCK_HZ,\n"
        "         MOESAIC_CONFIG_HASH_VALUE, (unsigned)MOESAIC_CTRL);\n  return 0;\n}\n"
    )
    subprocess.run(
        ["gcc", "-Wall", "-Werror", "-std=c99", f"-I{out / 'include'}", program, "-o", tmp_path / "probe"], check=True
    )
    values = [int(word) for word in subprocess.check_output([tmp_path / "probe"], text=True).split()]
    board = load_board("zcu104")
    assert values == [
        board.ports.registers_base,
        board.memory.window_base,
        board.memory.window_bytes,
        300_000_000,
        int(board.accelerator.hash[-8:], 16),
        register_map(4)["CTRL"].offset,
    ]


@pytest.mark.parametrize("name", board_names())
def test_component_describes_the_verilog(tmp_path: Path, name: str) -> None:
    config = load_board(name).accelerator
    write.write_ip(config, tmp_path, part="xczu9eg-ffvb1156-2-e")
    component = ElementTree.parse(tmp_path / "ip" / "component.xml").getroot()

    def text(element: ElementTree.Element, path: str) -> str:
        found = element.find("/".join(f"{SPIRIT}{part}" for part in path.split("/")))
        assert found is not None and found.text, path
        return found.text

    def each(element: ElementTree.Element, path: str) -> list[ElementTree.Element]:
        return element.findall("/".join(f"{SPIRIT}{part}" for part in path.split("/")))

    ports = {text(port, "name"): port for port in each(component, "model/ports/port")}
    for port in ports_of(config):
        entry = ports.pop(port.name)
        assert text(entry, "wire/direction") == ("out" if port.output else "in")
        left = entry.find(f"{SPIRIT}wire/{SPIRIT}vector/{SPIRIT}left")
        assert (int(left.text or "") + 1 if left is not None else 1) == port.bits
    assert not ports

    mapped = [
        text(port, "physicalPort/name") for port in each(component, "busInterfaces/busInterface/portMaps/portMap")
    ]
    assert sorted(mapped) == [port.name for port in ports_of(config)]
    names = {text(bus, "name") for bus in each(component, "busInterfaces/busInterface")}
    assert names == {"s_axil", "m_axi_c", "aclk", "aresetn", "irq", *(f"m_axi_w{n}" for n in range(config.ports))}
    spaces = {text(space, "name"): int(text(space, "range")) for space in each(component, "addressSpaces/addressSpace")}
    assert spaces == dict.fromkeys(names - {"s_axil", "aclk", "aresetn", "irq"}, 1 << config.addr_bits)

    block = each(component, "memoryMaps/memoryMap/addressBlock")
    assert len(block) == 1 and int(text(block[0], "range")) == REGISTERS_BYTES
    registers = {
        text(register, "name"): int(text(register, "addressOffset"), 0) for register in each(block[0], "register")
    }
    assert registers == {register.name: register.offset for register in register_map(config.ports)}
    for file in each(component, "fileSets/fileSet/file"):
        assert text(file, "name") == "../rtl/accelerator.v"


def test_annotation_is_exact() -> None:
    config = PRESETS["micro8"]
    attributes = port_attributes(interfaces_of(config))
    assert attributes.keys() == {port.name for port in ports_of(config)}
    assert all("X_INTERFACE_INFO" in found for found in attributes.values())
    assert sum("X_INTERFACE_PARAMETER" in found for found in attributes.values()) == len(interfaces_of(config))


def test_a_bus_that_the_board_does_not_place_is_refused() -> None:
    board = load_board("pynq-z2")
    with pytest.raises(ValueError, match=r"buses must be \['m_axi_c', 'm_axi_w0', 'm_axi_w1'\] and s_axil, not "):
        block_design(board, board.system.host, interfaces_of(PRESETS["zcu102"]))


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda config: config.name)
def test_results_leave_over_every_weight_port(config: AcceleratorConfig) -> None:
    """The port of instructions only reads; Vivado is told so, and how many bursts of each kind are on their way."""
    buses = {bus.name: bus for bus in interfaces_of(config) if bus.name.startswith("m_axi")}
    control, weights = buses.pop("m_axi_c"), buses.values()
    assert len(weights) == config.ports and {bus.mode for bus in weights} == {"READ_WRITE"}
    told = {(bus.parameters["NUM_READ_OUTSTANDING"], bus.parameters["NUM_WRITE_OUTSTANDING"]) for bus in weights}
    assert told == {(str(config.max_outstanding), str(WRITES_IN_FLIGHT))}
    assert control.mode == "READ_ONLY" and "NUM_WRITE_OUTSTANDING" not in control.parameters
    assert not any(name.startswith(("AW", "W", "B")) for name in control.ports)


def test_a_port_that_cannot_do_its_work_is_refused() -> None:
    board = load_board("pynq-z2")
    found = interfaces_of(board.accelerator)

    def with_mode(name: str, mode: str) -> list[Interface]:
        return [
            replace(bus, parameters={**bus.parameters, "READ_WRITE_MODE": mode}) if bus.name == name else bus
            for bus in found
        ]

    block_design(board, board.system.host, found)
    for name, mode, wanted in (
        ("m_axi_w1", "READ_ONLY", "READ_WRITE"),
        ("m_axi_w0", "WRITE_ONLY", "READ_WRITE"),
        ("m_axi_c", "READ_WRITE", "READ_ONLY"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be {wanted}, not {mode}"):
            block_design(board, board.system.host, with_mode(name, mode))


def test_a_value_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("board.h")


def test_rtl_only(quick, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    assert moesaic(monkeypatch, capsys, "generate", "--board", "micro8", "--rtl-only", "--out", out)[0] == 0
    assert files(out) == {name for name in FILES if name.startswith(("SHA", "config", "ip/", "rtl/", "accelerator"))}
    core = (out / "accelerator.core").read_text().splitlines()
    assert core[0] == "CAPI=2:" and f'name: "moesaic:accelerator:micro8:{__version__}"' in core
    assert '      - "rtl/accelerator.v"' in core and '    toplevel: "accelerator"' in core
    assert (out / "rtl/accelerator.f").read_text() == "accelerator.v\n"
    first = (out / "rtl/accelerator.v").read_text().splitlines()[:3]
    assert PRESETS["micro8"].hash in first[1] and f"Moesaic {__version__}" in first[2]


def test_with_a_program(quick, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    status, said = moesaic(
        monkeypatch, capsys, "generate", "--board", "pynq-z2", "--model", "m3vit-micro", "--out", out
    )
    assert status == 0, said
    assert {"runtime/run_image.py", "runtime/moesaic/boards/runtime.py", "program/heads.npz"} <= files(out)
    image = ProgramImage.load(out / "program")
    board = load_board("pynq-z2")
    assert image.config == board.accelerator and image.tasks == ("semseg", "depth")
    assert f"`0x{image.address:09X}`" in (out / "address_map.md").read_text()
    assert board.memory.window_base == image.address


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "abacus"], "board must be one of arty-z7-20, kr260, .*, zybo-z7-20, micro8, .*not 'abacus'"),
        (
            ["--board", "micro8"],
            "board must be a board to make a project, not the bare accelerator 'micro8': use --rtl-only",
        ),
        (
            ["--board", "kv260", "--accelerator", "zcu102"],
            "accelerator zcu102 must fit kv260, but needs at least DSP 2,048 of 1,248",
        ),
        (["--board", "kv260", "--accelerator", "abacus"], "accelerator must be one of micro8, .*not 'abacus'"),
        (["--board", "kv260", "--rtl-only", "--model", "m3vit-tiny"], "model must not be given with --rtl-only"),
        (["--board", "kv260", "--model", "alexnet"], "model must be .*not 'alexnet'"),
        (["--board", "pynq-z2", "--model", "m3vit-tiny"], "tokens must be at most 72"),
        (["--board", "none.toml"], "board must be a readable TOML file, not 'none.toml'"),
        (["--board", "kv260", "--accelerator", "micro8"], "ports.weights must be 1 ports, as accelerator micro8 has"),
    ],
)
def test_bad_input(tmp_path: Path, monkeypatch, capsys, arguments: list[str], message: str) -> None:
    monkeypatch.setattr(generate, "annotated_verilog", lambda config: pytest.fail("refused only after long work"))
    status, said = moesaic(monkeypatch, capsys, "generate", *arguments, "--out", tmp_path / "out")
    assert status == 2
    assert re.search(message, said)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_ours(quick, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work\n")
    status, said = moesaic(monkeypatch, capsys, "generate", "--board", "zcu104", "--out", out)
    assert status == 2 and "which holds 'thesis.txt'; --force moves that folder aside" in said
    status, said = moesaic(monkeypatch, capsys, "generate", "--board", "zcu104", "--out", out, "--force")
    assert status == 0 and "moved aside" in said
    assert (tmp_path / "out.old-1" / "thesis.txt").read_text() == "years of work\n"
    assert files(out) == FILES


def test_failure_leaves_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    def fail(config: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate, "annotated_verilog", fail)
    assert moesaic(monkeypatch, capsys, "generate", "--board", "zcu104", "--out", tmp_path / "out")[0] == 1
    assert not list(tmp_path.iterdir())


def test_boards_command(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["moesaic", "boards", "--json"])
    with pytest.raises(SystemExit):
        main()
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(entries) == board_names()
    assert entries["zcu102"]["budget"]["dsp"] == 2520 and entries["zcu102"]["needed_at_least"]["dsp"] == 2048
    assert moesaic(monkeypatch, capsys, "boards", "abacus")[0] == 2
