"""Reports of Vivado read back: figures as written, a line for what is damaged, foreign or contradicts itself."""

import importlib.resources
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from vivadoreports import Figures, pynq_z2, write_build, zcu102

from moesaic.boards.resources import Resources
from moesaic.boards.vendor import report_text
from moesaic.boards.vendor.build import BUILD, HIERARCHY, POWER, TIMING, UTILIZATION, VivadoBuild, read_build
from moesaic.boards.vendor.report_text import VendorError

BOTH = pytest.mark.parametrize("make", [zcu102, pynq_z2])
HANDOFF = "zcu102.hwh"


def test_figures_are_those_written(tmp_path: Path) -> None:
    write_build(zcu102(), tmp_path)
    build = read_build(tmp_path, zcu102().board)
    assert build == read_build(tmp_path / BUILD, zcu102().board)
    assert build.tool == "2022.2" and build.config_hash == zcu102().board.accelerator.hash
    assert build.design == Resources(lut=180_354, ff=242_111, dsp=2_326, bram36=583.5)
    assert build.accelerator == Resources(lut=171_990, ff=229_400, dsp=2_326, bram36=581.5)
    assert (build.timing.clock, build.timing.period_ns, build.timing.wns_ns) == ("clk_pl_0", 3.333, -0.412)
    assert build.timing.achieved_mhz == pytest.approx(1e3 / 3.745) and not build.timing.met
    assert build.power is not None and not build.power.simulated and build.power.confidence == "Medium"
    assert (build.power.total_w, build.power.static_w, build.power.instance_w) == (12.125, 0.921, 7.31)
    assert build.addresses == {"accelerator_0": 0xA000_0000, "axi_intc_0": 0xA001_0000}


def test_series_7(tmp_path: Path) -> None:
    """Other sections, other spellings of the device, no column "Prohibited", and lines that end as on Windows."""
    write_build(pynq_z2(), tmp_path)
    for name in (UTILIZATION, HIERARCHY, TIMING, POWER):
        path = tmp_path / BUILD / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    build = read_build(tmp_path, pynq_z2().board)
    assert build.tool == "2020.2" and build.design == Resources(lut=32_161, ff=33_900, dsp=180, bram36=90.5)
    assert build.timing.met and build.timing.achieved_mhz == pytest.approx(1e3 / 9.258)
    assert build.power is not None and build.power.instance_w == 0.701


def test_what_may_be_absent(tmp_path: Path) -> None:
    write_build(zcu102(), tmp_path)
    for path in (tmp_path / BUILD / POWER, tmp_path / BUILD / HANDOFF, tmp_path / "config.json"):
        path.unlink()
    build = read_build(tmp_path, zcu102().board)
    assert build.power is None and not build.addresses and not build.config_hash
    (tmp_path / BUILD / HIERARCHY).unlink()
    with pytest.raises(VendorError, match="vivado must be a folder that build.tcl of `moesaic generate` built in"):
        read_build(tmp_path, zcu102().board)


def test_files_are_those_of_the_script() -> None:
    script = (importlib.resources.files("moesaic.boards.project") / "templates/build.tcl.j2").read_text("utf-8")
    for command, name in (
        ("report_utilization", UTILIZATION),
        ("report_utilization -hierarchical -hierarchical_depth 6", HIERARCHY),
        ("report_timing_summary -max_paths 20", TIMING),
        ("report_power", POWER),
    ):
        assert f"\n{command} -file [file join $results {name}]" in script
    assert f"set results [file join $here {BUILD}]" in script and "[file join $results ${board}.hwh]" in script


OTHER = "xczu7ev-ffvc1156-2-e"
MISTAKES: list[tuple[str, str, str, str]] = [
    # foreign
    (UTILIZATION, "xczu9eg-ffvb1156-2-e", OTHER, "the device must be xczu9eg-ffvb1156-2-e, as zcu102 has"),
    (UTILIZATION, "xczu9eg-ffvb1156-2-e", "xczu9eg-ffvb1156-3-e", "the device must be xczu9eg-ffvb1156-2-e"),
    (TIMING, "-2  PRODUCTION", "-1  PRODUCTION", "the speed grade must be -2"),
    (POWER, "Design       : system_wrapper", "Design       : top", "the design must be system_wrapper"),
    (UTILIZATION, "v.2022.2 (", "v.2019.1 (", "the format is known of Vivado 2020 to 2025 only"),
    (TIMING, "v.2022.2 (", "v.2023.1 (", "the reports must be of one Vivado, 2022.2 as "),
    (UTILIZATION, ": Routed", ": Synthesized", "the design must be routed, not 'Synthesized'"),
    (UTILIZATION, "Command      : report_utilization", "Command      : report_io", "must be of report_utilization"),
    (HIERARCHY, "-hierarchical -", "-", "the report must be made with -hierarchical"),
    (UTILIZATION, "1. CLB Logic", "1. Slice Logic", "go on with section '1. Slice Logic', which its contents name"),
    (TIMING, "clk_pl_0", "clk_pl_1", "there must be the clock 'clk_pl_0', not only clk_pl_1"),
    (
        HIERARCHY,
        "    accelerator_0",
        "    accelerator_1",
        "must have the instance system_wrapper/system_i/accelerator_0",
    ),
    (HANDOFF, 'NAME="system"', 'NAME="design_1"', "the block design must be system, not 'design_1'"),
    (HANDOFF, 'DEVICE="xczu9eg"', 'DEVICE="xczu7ev"', "the device must be xczu9eg-ffvb1156-2-e"),
    (HANDOFF, '"0xA0000000"', '"0xA0100000"', "the range of accelerator_0 must end behind its beginning"),
    (HANDOFF, "<EDKSYSTEM", "<!DOCTYPE a [<!ENTITY b 'c'>]><EDKSYSTEM", "must have no document type"),
    (HANDOFF, 'VIVADOVERSION="2022.2"', 'VIVADOVERSION="2018.3"', "the format is known of Vivado 2020 to 2025 only"),
    # inconsistent
    (UTILIZATION, "171234", "171334", "LUT as Logic must agree with its share"),
    (UTILIZATION, "| 180354 |", "| 180355 |", "CLB LUTs must be the sum of its parts, 180354, not 180355"),
    (UTILIZATION, "| 583.5 |", "| 583   |", "Block RAM Tile must agree with its share"),
    (HIERARCHY, "| 229400 |", "| 929400 |", "accelerator_0 must take no more than the design, not FF"),
    (TIMING, "300.030", "250.000", "period and frequency must agree"),
    (TIMING, "Timing constraints are not met.", "All user specified timing constraints are met.", "verdict must agree"),
    (TIMING, "Worst Slack       -0.412ns", "Worst Slack       -0.112ns", "worst slack must be -0.412 ns, as in"),
    (POWER, "| 12.125 ", "| 11.125 ", "the total must be dynamic and static power together, 12.125 W"),
    # damaged
    (UTILIZATION, "| DSPs ", "  DSPs ", "the table of 'ARITHMETIC' must have lines"),
    (UTILIZATION, "| 2326 |", "| 23z6 |", "used DSPs must be a number, not '23z6'"),
    (UTILIZATION, "Util%", "Used%", "must have the columns"),
    (UTILIZATION, "Tool Version", "Toll Version", "the header must have the field 'Tool Version'"),
    (TIMING, "TNS Failing Endpoints", "TNS Failing", "must have the columns"),
    (TIMING, "3.333 ", "NA    ", "a clock must have name, waveform, period and frequency"),
    (POWER, "| Medium ", "| Some   ", "confidence must be Low, Medium or High"),
    (POWER, "Copyright", "Copyleft ", "must begin with its copyright"),
    (TIMING, "Hold  :", "Held  :", "must have setup, hold and pulse width"),
    (UTILIZATION, "F7 Muxes", "F7 \x07uxes", "a line must have no control characters"),
    (HANDOFF, "</MODULES>", "</MODULE>", "the file must be XML"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), MISTAKES)
def test_planted_mistakes(name: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    write_build(zcu102(), tmp_path)
    path = tmp_path / BUILD / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(VendorError, match=re.escape(message)) as caught:
        read_build(tmp_path, zcu102().board)
    assert re.match(rf"{re.escape(str(path))}, line \d+: ", str(caught.value)) and "\n" not in str(caught.value)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_build(zcu102(), tmp_path)
    monkeypatch.setattr(report_text, "MOST", 1_000)
    with pytest.raises(VendorError, match=r"utilization.txt.*1,000 are the most"):
        read_build(tmp_path, zcu102().board)
    monkeypatch.undo()
    path = tmp_path / BUILD / TIMING
    path.write_text(path.read_text(encoding="utf-8") + "x" * 20_000 + "\n", encoding="utf-8")
    with pytest.raises(VendorError, match="a line must have at most 16,384 characters, not 20,000"):
        read_build(tmp_path, zcu102().board)


def _outcome(folder: Path, build: Figures) -> VivadoBuild | None:
    """What is read; None after one line that names a file."""
    try:
        return read_build(folder, build.board)
    except VendorError as error:
        assert str(folder) in str(error) and "\n" not in str(error)
        return None


@BOTH
def test_cut_short(make: Callable[[], Figures], tmp_path: Path) -> None:
    """A file that ends too early is refused, unless what it lacks says nothing."""
    build, source = make(), random.Random(1)
    write_build(build, tmp_path)
    whole = read_build(tmp_path, build.board)
    for path in sorted((tmp_path / BUILD).iterdir()):
        data = path.read_bytes()
        ends = [source.randrange(len(data.rstrip()) - 100) for _ in range(25)]
        line_ends = [match.end() for match in re.finditer(rb"\n", data)]
        for end in (*ends, *source.sample(line_ends[:-1], min(15, len(line_ends) - 1)), 0):
            path.write_bytes(data[:end])
            found = _outcome(tmp_path, build)
            assert found is None or (found == whole and not data[end:].strip(b"-\n ")), (path.name, end)
        path.write_bytes(data)


@BOTH
def test_flipped(make: Callable[[], Figures], tmp_path: Path) -> None:
    """A result or a line; what no other figure contradicts is read as it stands, and is little."""
    build, source = make(), random.Random(2)
    write_build(build, tmp_path)
    whole = read_build(tmp_path, build.board)
    other = tried = 0
    for path in sorted((tmp_path / BUILD).iterdir()):
        data = path.read_bytes()
        for _ in range(80):
            at = source.randrange(len(data))
            flipped = bytearray(data)
            flipped[at] ^= 1 << source.randrange(8)
            path.write_bytes(flipped)
            found = _outcome(tmp_path, build)
            tried += 1
            other += found is not None and found != whole
        path.write_bytes(data)
    assert other < tried / 20
