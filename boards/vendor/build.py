"""The reports of a build of our Vivado project, read together and held against the board and each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moesaic.boards.board import REGISTERS_BYTES, Board
from moesaic.boards.host import ProcessingSystem
from moesaic.boards.project.design import ACCELERATOR, DESIGN, INTERRUPTS
from moesaic.boards.resources import Resources
from moesaic.boards.vendor.handoff import Handoff, read_handoff
from moesaic.boards.vendor.power import PowerSummary, read_power
from moesaic.boards.vendor.report_text import Header, ReportText, VendorError, read_report
from moesaic.boards.vendor.timing import TimingSummary, read_timing
from moesaic.boards.vendor.utilization import read_instance, read_utilization
from moesaic.json_file import read_json

__all__ = ["BUILD", "HIERARCHY", "POWER", "TIMING", "UTILIZATION", "VivadoBuild", "read_build"]

# What `build.tcl` calls them.
BUILD, CONFIG = "build", "config.json"
UTILIZATION, HIERARCHY, TIMING, POWER = "utilization.txt", "utilization_hierarchical.txt", "timing.txt", "power.txt"
_TOP = f"{DESIGN}_wrapper"
_PATH = (_TOP, f"{DESIGN}_i", ACCELERATOR)
_ROUTED = ("routed", "fully routed", "physopt postroute")
_MOST_CONFIG = 1 << 20  # bytes


@dataclass(frozen=True)
class VivadoBuild:
    """What a build's reports say.

    Parameters
    ----------
    tool : str
        Version of Vivado.
    accelerator, design : Resources
        Of the accelerator's instance, and of all that is in the fabric.
    timing : TimingSummary
    power : PowerSummary or None
        None without its report.
    addresses : mapping of str to int
        First address of each cell's registers; empty without a handoff file.
    config_hash : str
        Of the project's accelerator; empty where the folder does not say it.
    """

    tool: str
    accelerator: Resources
    design: Resources
    timing: TimingSummary
    power: PowerSummary | None
    addresses: Mapping[str, int]
    config_hash: str


def _plain(text: str) -> str:
    return text.lower().removeprefix("xc").replace("-", "")


def _names_of(part: str) -> tuple[str, str]:
    """A part without its speed and temperature grade, and the speed grade.

    `xczu9eg-ffvb1156-2-e`: `xczu9eg-ffvb1156` and `2`; `xc7z020clg400-1`: `xc7z020clg400` and `1`.
    """
    words = part.split("-")
    count = next((number for number, word in enumerate(words) if word[:1].isdigit()), len(words))
    return "-".join(words[:count]), words[count] if count < len(words) else ""


def _open(path: Path, board: Board) -> ReportText:
    """A report, if it is of our design, device and step. Reports write the same device in several ways."""
    report = read_report(path)
    header = report.header()
    design, device = header.fields["Design"], header.fields["Device"]
    if design.text != _TOP:
        report.refuse(design.line, f"the design must be {_TOP}, not {design.text!r:.60}")
    base, speed = _names_of(board.part)
    known = {_plain(base), _plain(f"{base}-{speed}"), _plain(board.part)}
    if _plain(device.text) not in known:
        report.refuse(device.line, f"the device must be {board.part}, as {board.name} has, not {device.text!r:.60}")
    if "Speed File" in header.fields:
        given = header.fields["Speed File"]
        if given.text.partition(" ")[0].removeprefix("-").lower() != speed.lower():
            report.refuse(given.line, f"the speed grade must be -{speed}, not {given.text!r:.60}")
    if "Design State" in header.fields:
        state = header.fields["Design State"]
        if state.text.lower() not in _ROUTED:
            report.refuse(state.line, f"the design must be routed, not {state.text!r:.60}")
    return report


def _same_tool(reports: list[tuple[ReportText, Header]]) -> str:
    first = reports[0][1].tool
    for report, header in reports[1:]:
        if header.tool != first:
            line = header.fields["Tool Version"].line
            report.refuse(
                line, f"the reports must be of one Vivado, {first} as {reports[0][0].name}, not {header.tool}"
            )
    return first


def _check_handoff(handoff: Handoff, board: Board) -> dict[str, int]:
    """Refuse another device or design, and registers where the driver does not look for them."""
    if handoff.design != DESIGN:
        handoff.refuse(handoff.line, f"the block design must be {DESIGN}, not {handoff.design!r:.60}")
    device = _plain(f"{handoff.device}{handoff.package}")
    if device != _plain(_names_of(board.part)[0]):
        found = f"{handoff.device} {handoff.package}"
        handoff.refuse(handoff.line, f"the device must be {board.part}, as {board.name} has, not {found!r:.60}")
    addresses = {}
    wanted = {ACCELERATOR: board.ports.registers_base}
    if isinstance(board.system.host, ProcessingSystem):
        wanted[INTERRUPTS] = board.ports.interrupt_base
    for cell, base in wanted.items():
        if cell not in handoff.ranges:
            handoff.refuse(handoff.line, f"there must be a range of registers of {cell}")
        low, high, line = handoff.ranges[cell]
        if (low, high) != (base, base + REGISTERS_BYTES - 1):
            place = f"{base:#x} to {base + REGISTERS_BYTES - 1:#x}"
            handoff.refuse(line, f"registers of {cell} must be at {place}, not {low:#x} to {high:#x}")
        addresses[cell] = low
    return addresses


def _hash_of(folder: Path) -> str:
    """Of the accelerator that the project was generated for, if its file is there."""
    path = folder / CONFIG
    if not path.is_file():
        return ""
    plain = read_json(path, most=_MOST_CONFIG, what="configuration", error=VendorError)
    found = plain.get("hash") if isinstance(plain, dict) else None
    if not isinstance(found, str) or not found:
        raise VendorError(f"{path} must be the configuration of a generated project, with its 'hash'")
    return found


def read_build(folder: Path, board: Board) -> VivadoBuild:
    """Read what `build.tcl` left: the project's folder, or its `build` folder.

    Parameters
    ----------
    folder : Path
    board : Board

    Raises
    ------
    VendorError
        If reports of utilisation or timing are missing, or one of the files is damaged, contradicts itself, or is of
        another board, design, step or version.
    """
    results = folder / BUILD if (folder / BUILD / TIMING).exists() or not (folder / TIMING).exists() else folder
    project = folder if results != folder else folder.absolute().parent
    for name in (UTILIZATION, HIERARCHY, TIMING):
        if not (results / name).is_file():
            raise VendorError(
                f"vivado must be a folder that build.tcl of `moesaic generate` built in, with {BUILD}/{name}, "
                f"not {str(folder)!r}"
            )
    flat, tree, times = (_open(results / name, board) for name in (UTILIZATION, HIERARCHY, TIMING))
    design = read_utilization(flat, board.system.fabric)
    instance = read_instance(tree, _PATH, design.used)
    timing = read_timing(times, board.system.host.clock_name)
    reports = [(flat, design.header), (tree, instance.header), (times, timing.header)]
    power = None
    if (results / POWER).exists():
        watts = _open(results / POWER, board)
        power = read_power(watts, _PATH)
        reports.append((watts, power.header))
    handoff = results / f"{board.name}.hwh"
    return VivadoBuild(
        tool=_same_tool(reports),
        accelerator=instance.used,
        design=design.used,
        timing=timing,
        power=power,
        addresses=_check_handoff(read_handoff(handoff), board) if handoff.exists() else {},
        config_hash=_hash_of(project),
    )
