"""`report_utilization`: what the design takes, and one instance of it.

Layout after public reports; UG906 (AMD) describes them. The sections of 7 series and UltraScale+ have different names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesaic.boards.resources import Resources
from moesaic.boards.vendor.report_text import Header, ReportText, Row

__all__ = ["Utilization", "read_instance", "read_utilization"]

_TITLE, _COMMAND, _BY_INSTANCE = "Utilization Design Information", "report_utilization", "-hierarchical"
_COLUMNS = (
    ("Site Type", "Used", "Fixed", "Available", "Util%"),
    ("Site Type", "Used", "Fixed", "Prohibited", "Available", "Util%"),
)
# Of each family: the section of logic, how its names begin, the sections of memories and of DSP slices.
_SECTIONS = {
    "zynqmp": ("CLB Logic", "CLB", "BLOCKRAM", "ARITHMETIC"),
    "zynq7000": ("Slice Logic", "Slice", "Memory", "DSP"),
}
_HIERARCHY = "Utilization by Hierarchy"
_DSP = ("DSP Blocks", "DSP48 Blocks")
_LUTS = ("Logic LUTs", "LUTRAMs", "SRLs")
_COUNTED = ("Total LUTs", *_LUTS, "FFs", "RAMB36", "RAMB18")
_ROUNDING = 0.0101  # per cent: Vivado prints two digits
_INDENT = 2  # characters for a level of the hierarchy


@dataclass(frozen=True)
class Utilization:
    """What a part of the design takes, and the header of the report that says so."""

    header: Header
    used: Resources


@dataclass(frozen=True)
class _Sites:
    """A line of a table of sites."""

    used: float
    line: int


def _sites(report: ReportText, title: str, table: Sequence[Sequence[Row]]) -> dict[str, _Sites]:
    """Lines of a table by the name of the site; names without the star of their foot note."""
    columns = tuple(cell.text.strip() for row in table[0] for cell in row)
    line = table[0][0][0].line
    if columns not in _COLUMNS:
        report.refuse(
            line, f"the table of {title!r} must have the columns {', '.join(_COLUMNS[1])}, not {columns!r:.90}"
        )
    if len(table) != 2:
        report.refuse(line + 2, f"the table of {title!r} must have lines below its columns")
    found: dict[str, _Sites] = {}
    for row in table[1]:
        cells = dict(zip(columns, row, strict=True))
        name = cells["Site Type"].text.strip().rstrip("*")
        share = cells["Util%"]
        if name in found:
            report.refuse(share.line, f"{name!r} must be in its table once")
        used = report.number(cells["Used"], f"used {name}")
        found[name] = _Sites(used, share.line)
        if not cells["Available"].text.strip():  # a part of the line above, without sites of its own
            continue
        most = report.whole(cells["Available"], f"available {name}")
        percent = report.number(share, f"share of {name}")
        exact = 100 * used / most if most else 0.0
        if not 0 <= used <= most or abs(exact - percent) > _ROUNDING:
            text = f"{name} must agree with its share, not be {used:g} of {most:g} and {share.text.strip()} %"
            report.refuse(share.line, text)
    return found


def _site(report: ReportText, sites: Mapping[str, _Sites], name: str) -> float:
    if name not in sites:
        line = max((site.line for site in sites.values()), default=1)
        report.refuse(line, f"the table must have a line {name!r}, not only {', '.join(sites)}")
    return sites[name].used


def _agree(report: ReportText, sites: Mapping[str, _Sites], name: str, parts: float) -> None:
    """A sum that Vivado prints beside its parts."""
    used = _site(report, sites, name)
    if used != parts:
        report.refuse(sites[name].line, f"{name} must be the sum of its parts, {parts:g}, not {used:g}")


def read_utilization(report: ReportText, family: str) -> Utilization:
    """What the whole design takes.

    Parameters
    ----------
    report : ReportText
    family : str
        Of the board, as in `boards.family`.

    Raises
    ------
    VendorError
        If the report is not of this command, or damaged, or its figures contradict each other.
    """
    header = report.expect(_COMMAND, _TITLE, without=(_BY_INSTANCE, "-cells", "-pblocks"))
    sections = report.sections()
    logic, prefix, memory, arithmetic = _SECTIONS[family]
    cells = _sites(report, logic, report.table(sections, logic))
    luts, registers = f"{prefix} LUTs", f"{prefix} Registers"
    _agree(report, cells, luts, _site(report, cells, "LUT as Logic") + _site(report, cells, "LUT as Memory"))
    _agree(report, cells, registers, sum(site.used for name, site in cells.items() if name.startswith("Register as ")))
    memories = _sites(report, memory, report.table(sections, memory))
    blocks = _site(report, memories, "RAMB36/FIFO") + _site(report, memories, "RAMB18") / 2
    _agree(report, memories, "Block RAM Tile", blocks)
    slices = _sites(report, arithmetic, report.table(sections, arithmetic))
    for title in sections:  # what is not read here must be whole too
        if title.startswith(("Primitives", "Black Boxes", "Instantiated Netlists")):
            report.table(sections, title)
    used = Resources(
        lut=int(_site(report, cells, luts)),
        ff=int(_site(report, cells, registers)),
        dsp=int(_site(report, slices, "DSPs")),
        bram36=blocks,
        uram=int(memories["URAM"].used) if "URAM" in memories else 0,  # the line is there where the device has some
    )
    return Utilization(header, used)


def _amounts(report: ReportText, columns: Sequence[str], row: Row) -> Resources:
    cells = dict(zip(columns, row, strict=True))
    count = {name: report.whole(cells[name], name) for name in columns[2:]}
    dsp = next(name for name in _DSP if name in count)
    parts = sum(count[name] for name in _LUTS)
    if count["Total LUTs"] != parts:
        report.refuse(row[0].line, f"LUTs must be the sum of their kinds, {parts:,}, not {count['Total LUTs']:,}")
    return Resources(
        lut=count["Total LUTs"],
        ff=count["FFs"],
        dsp=count[dsp],
        bram36=count["RAMB36"] + count["RAMB18"] / 2,
        uram=count.get("URAM", 0),
    )


def read_instance(report: ReportText, path: Sequence[str], whole: Resources) -> Utilization:
    """What one instance takes, from the report by hierarchy.

    Parameters
    ----------
    report : ReportText
    path : sequence of str
        Names of instances from the top down.
    whole : Resources
        Of the design, from its other report: no instance can take more.

    Raises
    ------
    VendorError
        As `read_utilization`, or if there is no such instance.
    """
    header = report.expect(_COMMAND, _TITLE, without=("-cells", "-pblocks"))
    if _BY_INSTANCE not in header.fields["Command"].text.split():
        report.refuse(header.fields["Command"].line, f"the report must be made with {_BY_INSTANCE}")
    table = report.table(report.sections(), _HIERARCHY)
    columns = [cell.text.strip() for row in table[0] for cell in row]
    known = columns[:2] == ["Instance", "Module"] and all(name in columns for name in _COUNTED)
    if not known or len(set(columns)) != len(columns) or not any(name in columns for name in _DSP) or len(table) != 2:
        report.refuse(
            table[0][0][0].line,
            f"the table must have the columns Instance, Module, {', '.join(_COUNTED)} and DSP Blocks",
        )
    names: list[str] = []
    found: list[tuple[Row, Resources]] = []
    for row in table[1]:
        text = row[0].text.removeprefix(" ")
        name = text.strip()
        depth, rest = divmod(len(text) - len(text.lstrip()), _INDENT)
        if rest or depth > len(names) or not name:
            report.refuse(row[0].line, f"an instance must stand below the one it is in, not as {text!r:.60}")
        names[depth:] = [name]
        amount = _amounts(report, columns, row)
        if not amount.fits(whole):
            text = f"{name} must take no more than the design, not {amount.describe_excess(whole)}"
            report.refuse(row[0].line, text)
        if names == list(path):
            found.append((row, amount))
    if len(found) != 1:
        line = table[1][-1][0].line if table[1] else 1
        report.refuse(line, f"the table must have the instance {'/'.join(path)} once, not {len(found)} times")
    return Utilization(header, found[0][1])
