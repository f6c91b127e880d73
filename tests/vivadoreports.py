"""Reports as Vivado writes them, by hand: small, of made-up figures that agree with each other."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from moesaic.boards.board import Board, load_board

__all__ = ["Figures", "pynq_z2", "write_build", "zcu102"]

Table = list[tuple[str, ...]]


@dataclass
class Figures:
    """A build: what its reports say. Counts are of the whole design; `inside` are those of the accelerator."""

    board: Board
    devices: tuple[str, str, str]  # as reports of utilisation, timing and power write it
    tool: str
    copyright: str
    prohibited: bool
    lut_logic: int
    lut_memory: int
    ff: int
    ramb36: int
    ramb18: int
    dsp: int
    inside: tuple[int, int, int, int, int]  # LUT, FF, RAMB36, RAMB18, DSP
    period: float
    wns: float
    watts: tuple[float, float, float]  # dynamic, static, dynamic of the accelerator
    state: str = "Routed"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def tile(self) -> float:
        """Block RAMs."""
        return self.ramb36 + self.ramb18 / 2


def zcu102() -> Figures:
    """As Vivado 2022.2 writes it for UltraScale+; timing is not met."""
    return Figures(
        board=load_board("zcu102"),
        devices=("xczu9eg-ffvb1156-2-e", "xczu9eg-ffvb1156", "xczu9eg-ffvb1156-2-e"),
        tool="v.2022.2 (lin64) Build 3671981 Fri Oct 14 04:59:54 MDT 2022",
        copyright="Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.",
        prohibited=True,
        lut_logic=171_234,
        lut_memory=9_120,
        ff=242_111,
        ramb36=560,
        ramb18=47,
        dsp=2_326,
        inside=(171_990, 229_400, 558, 47, 2_326),
        period=3.333,
        wns=-0.412,
        watts=(11.204, 0.921, 7.310),
    )


def pynq_z2() -> Figures:
    """As Vivado 2020.2 writes it for 7 series: no column "Prohibited", devices without "xc" and dashes."""
    return Figures(
        board=load_board("pynq-z2"),
        devices=("7z020clg400-1", "7z020-clg400", "xc7z020clg400-1"),
        tool="v.2020.2 (win64) Build 3064766 Wed Nov 18 09:12:45 MST 2020",
        copyright="Copyright 1986-2020 Xilinx, Inc. All Rights Reserved.",
        prohibited=False,
        lut_logic=30_111,
        lut_memory=2_050,
        ff=33_900,
        ramb36=88,
        ramb18=5,
        dsp=180,
        inside=(29_700, 31_020, 88, 3, 180),
        period=10.0,
        wns=0.742,
        watts=(2.113, 0.158, 0.701),
    )


def _boxed(rows: Table, *, header: bool = True) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    inner = [lines[0], border, *lines[1:]] if header and len(lines) > 1 else lines
    return "\n".join([border, *inner, border])


def _header(build: Figures, device: str, command: str, **more: str) -> str:
    fields = {
        "Tool Version": f"Vivado {build.tool}",
        "Date": "Thu Jul  7 02:25:14 2022",
        "Host": "here running 64-bit Ubuntu 20.04.3 LTS",
        "Command": command,
        "Design": "system_wrapper",
        "Device": device,
        **more,
        **build.extra,
    }
    width = max(map(len, fields))
    rows = [f"| {name.ljust(width)} : {value}" for name, value in fields.items()]
    dashes = "-" * max(map(len, rows))
    return "\n".join([build.copyright, dashes, *rows, dashes])


def _numbered(title: str, sections: list[tuple[str, str, str]]) -> str:
    contents = "\n".join(f"{number} {name}" for number, name, _ in sections)
    bodies = (f"{n} {name}\n{'-' * (len(n) + 1 + len(name))}\n\n{body}\n\n\n" for n, name, body in sections)
    return f"\n\n{title}\n\nTable of Contents\n-----------------\n{contents}\n\n" + "".join(bodies)


def _site(build: Figures, name: str, used: float, available: int | None) -> tuple[str, ...]:
    percent = 100 * used / available if available else 0.0
    share = "<0.01" if 0 < percent < 0.01 else f"{percent:.2f}"
    prohibited = ("0",) if build.prohibited else ()
    if available is None:
        return (name, f"{used:g}", "0", *("" for _ in prohibited), "", "")
    return (name, f"{used:g}" if used != int(used) else str(int(used)), "0", *prohibited, str(available), share)


def utilization(build: Figures) -> str:
    """`report_utilization`."""
    budget, fabric = build.board.budget, build.board.family == "zynqmp"
    kind = "CLB" if fabric else "Slice"
    columns = ("Site Type", "Used", "Fixed", *(("Prohibited",) if build.prohibited else ()), "Available", "Util%")
    logic = [
        columns,
        _site(build, f"{kind} LUTs", build.lut_logic + build.lut_memory, budget.lut),
        _site(build, "  LUT as Logic", build.lut_logic, budget.lut),
        _site(build, "  LUT as Memory", build.lut_memory, budget.lut // 2),
        _site(build, "    LUT as Distributed RAM", build.lut_memory - 12, None),
        _site(build, "    LUT as Shift Register", 12, None),
        _site(build, f"{kind} Registers", build.ff, budget.ff),
        _site(build, "  Register as Flip Flop", build.ff, budget.ff),
        _site(build, "  Register as Latch", 0, budget.ff),
        _site(build, "F7 Muxes", 1, budget.lut // 2),
    ]
    memory = [
        columns,
        _site(build, "Block RAM Tile", build.tile, int(budget.bram36)),
        _site(build, "  RAMB36/FIFO*", build.ramb36, int(budget.bram36)),
        _site(build, "  RAMB18", build.ramb18, 2 * int(budget.bram36)),
    ]
    dsp = [columns, _site(build, "DSPs", build.dsp, budget.dsp)]
    primitives = [("Ref Name", "Used", "Functional Category"), ("FDRE", str(build.ff), "Register")]
    none = [("Ref Name", "Used")]
    titles = ("CLB Logic", "BLOCKRAM", "ARITHMETIC") if fabric else ("Slice Logic", "Memory", "DSP")
    note = "\n* Note: Each Block RAM Tile only has one FIFO logic available"
    sections = [
        ("1.", titles[0], _boxed(logic)),
        ("3.", titles[1], _boxed(memory) + note),
        ("4.", titles[2], _boxed(dsp)),
        ("9.", "Primitives", _boxed(primitives)),
        ("10.", "Black Boxes", _boxed(none)),
        ("11.", "Instantiated Netlists", _boxed(none)),
    ]
    header = _header(
        build, build.devices[0], "report_utilization -file utilization.txt", **{"Design State": build.state}
    )
    return header + _numbered("Utilization Design Information", sections)


def hierarchy(build: Figures) -> str:
    """`report_utilization -hierarchical`."""
    lut, ff, ramb36, ramb18, dsp = build.inside
    columns = ("Total LUTs", "Logic LUTs", "LUTRAMs", "SRLs", "FFs", "RAMB36", "RAMB18", "DSP Blocks")
    total = build.lut_logic + build.lut_memory
    whole = (total, build.lut_logic, build.lut_memory, 0, build.ff, build.ramb36, build.ramb18, build.dsp)
    own = (lut, lut - 50, 50, 0, ff, ramb36, ramb18, dsp)
    rest = (total - lut, total - lut, 0, 0, build.ff - ff, build.ramb36 - ramb36, build.ramb18 - ramb18, 0)
    rows = [
        ("Instance", "Module", *columns),
        ("system_wrapper", "(top)", *map(str, whole)),
        ("  system_i", "system", *map(str, whole)),
        ("    accelerator_0", "system_accelerator_0_0", *map(str, own)),
        ("      inst", "accelerator", *map(str, own)),
        ("    smartconnect_0", "system_smartconnect_0_0", *map(str, rest)),
    ]
    command = "report_utilization -hierarchical -hierarchical_depth 6 -file utilization_hierarchical.txt"
    header = _header(build, build.devices[0], command, **{"Design State": build.state})
    return header + _numbered("Utilization Design Information", [("1.", "Utilization by Hierarchy", _boxed(rows))])


FRAME = "-" * 96
SETUP = "    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints"
WIDTH = SETUP.replace("WNS", "WPWS").replace("TNS", "TPWS")


def timing(build: Figures) -> str:
    """`report_timing_summary`."""
    clock = build.board.system.host.clock_name
    missed = build.wns < 0
    setup = f"{build.wns:11.3f} {-12.5 if missed else 0:12.3f} {33 if missed else 0:22} {271_000:20}"
    hold = f"        0.010        0.000                      0               {271_000}"
    width = f"        {build.period / 4:.3f}        0.000                       0                {169_000}"
    figures = setup + hold + width
    columns = SETUP + SETUP.replace("WNS", "WHS").replace("TNS", "THS") + WIDTH
    under = "  ".join("-" * len(word) for word in ("WNS(ns)", "TNS(ns)") * 6)
    verdict = "Timing constraints are not met." if missed else "All user specified timing constraints are met."
    half = f"{build.period / 2:.3f}"
    parts = {
        "Timer Settings": "  Enable Multi Corner Analysis               :  Yes",
        "Design Timing Summary": f"{columns}  \n    {under}\n{figures}  \n\n\n{verdict}",
        "Clock Summary": "Clock       Waveform(ns)         Period(ns)      Frequency(MHz)\n"
        "-----       ------------         ----------      --------------\n"
        f"{clock}  {{0.000 {half}}}        {build.period:.3f}           {1e3 / build.period:.3f}         ",
        "Intra Clock Table": f"Clock  {columns}\n-----  {under}\n{clock}  {figures}  ",
        "Inter Clock Table": "From Clock    To Clock          WNS(ns)\n----------    --------          -------",
        "Other Path Groups Table": "Path Group    From Clock    To Clock\n----------    ----------    --------",
        "Timing Details": "",
    }
    text = "".join(f"{FRAME}\n| {name}\n| {'-' * len(name)}\n{FRAME}\n\n{body}\n\n\n" for name, body in parts.items())
    total = "  Total Violation        0.000ns"
    details = [
        "-" * 99,
        f"From Clock:  {clock}",
        f"  To Clock:  {clock}",
        "",
        f"Setup :       {33 if missed else 0:6}  Failing Endpoints,  Worst Slack  {build.wns:11.3f}ns,{total}",
        f"Hold  :            0  Failing Endpoints,  Worst Slack        0.010ns,{total}",
        f"PW    :            0  Failing Endpoints,  Worst Slack  {build.period / 4:11.3f}ns,{total}",
        "-" * 99,
        "",
    ]
    checks = "check_timing report\n\nTable of Contents\n-----------------\n1. checking no_clock (0)\n"
    checks += "4. checking unconstrained_internal_endpoints (0)\n\n"
    speed = {"Speed File": f"{build.board.speed_grade}  PRODUCTION 1.29 08-03-2020"}
    header = _header(build, build.devices[1], "report_timing_summary -max_paths 20 -file timing.txt", **speed)
    first = text.index(f"{FRAME}\n| Design Timing")
    body = f"{text[:first]}{checks}{text[first:]}"
    return header + "\n\nTiming Summary Report\n\n" + body + "\n".join(details) + "\n"


def power(build: Figures) -> str:
    """`report_power`."""
    dynamic, static, own = build.watts
    summary = [
        ("Total On-Chip Power (W)", f"{dynamic + static:.3f}"),
        ("Design Power Budget (W)", "Unspecified*"),
        ("Power Budget Margin (W)", "NA"),
        ("Dynamic (W)", f"{dynamic:.3f}"),
        ("Device Static (W)", f"{static:.3f}"),
        ("Junction Temperature (C)", "36.1"),
        ("Confidence Level", "Medium"),
        ("Simulation Activity File", "---"),
    ]
    names = [
        ("Name", "Power (W)"),
        ("system_wrapper", f"{dynamic:.3f}"),
        ("  system_i", f"{dynamic:.3f}"),
        ("    accelerator_0", f"{own:.3f}"),
        ("      inst", f"{own:.3f}"),
        ("    reset_0", "<0.001"),
    ]
    sections = [
        ("1.", "Summary", _boxed(summary, header=False) + "\n* Specify Design Power Budget using, ..."),
        ("1.3", "Confidence Level", _boxed([("User Input Data", "Confidence"), ("Device models", "High")])),
        ("3.", "Detailed Reports", ""),
        ("3.1", "By Hierarchy", _boxed(names)),
    ]
    header = _header(build, build.devices[2], "report_power -file power.txt", **{"Design State": build.state.lower()})
    return header + _numbered("Power Report", sections)


def handoff(build: Figures) -> str:
    """The `.hwh`."""
    board = build.board
    arch, device = ("zynquplus", "xczu9eg") if board.family == "zynqmp" else ("zynq", "7z020")
    package = "ffvb1156" if board.family == "zynqmp" else "clg400"

    def cell(name: str, base: int) -> str:
        return (
            f'      <MEMRANGE ADDRESSBLOCK="reg0" BASENAME="C_BASEADDR" BASEVALUE="0x{base:08X}" '
            f'HIGHNAME="C_HIGHADDR" HIGHVALUE="0x{base + 0xFFFF:08X}" INSTANCE="{name}" IS_DATA="TRUE" '
            'MASTERBUSINTERFACE="M_AXI" MEMTYPE="REGISTER" SLAVEBUSINTERFACE="s_axil"/>\n'
        )

    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
        f'<EDKSYSTEM EDWVERSION="1.2" TIMESTAMP="Thu Jul  7 02:25:14 2022" VIVADOVERSION="{build.tool[2:8]}">\n\n'
        f'  <SYSTEMINFO ARCH="{arch}" BOARD="" DEVICE="{device}" NAME="system" PACKAGE="{package}" SPEEDGRADE="-1"/>\n'
        '  <MODULES>\n    <MODULE INSTANCE="ps">\n     <MEMORYMAP>\n'
        + cell("accelerator_0", board.ports.registers_base)
        + cell("axi_intc_0", board.ports.interrupt_base)
        + "     </MEMORYMAP>\n    </MODULE>\n  </MODULES>\n</EDKSYSTEM>\n"
    )


def write_build(build: Figures, folder: Path) -> None:
    """A project's folder as `build.tcl` leaves it, without what is not read."""
    config = build.board.accelerator
    results = folder / "build"
    results.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "hash": config.hash}), encoding="utf-8")
    for name, text in (
        ("utilization.txt", utilization(build)),
        ("utilization_hierarchical.txt", hierarchy(build)),
        ("timing.txt", timing(build)),
        ("power.txt", power(build)),
        (f"{build.board.name}.hwh", handoff(build)),
    ):
        (results / name).write_text(text, encoding="utf-8")
