"""`report_power`: what Vivado estimates a chip to need, and an instance of it.

Layout after public reports; UG907 (AMD) describes them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from moesaic.boards.vendor.report_text import Cell, Header, ReportText, Row

__all__ = ["PowerSummary", "read_power"]

_TITLE, _COMMAND = "Power Report", "report_power"
_TOTAL, _DYNAMIC, _STATIC = "Total On-Chip Power (W)", "Dynamic (W)", "Device Static (W)"
_CONFIDENCE, _ACTIVITY = "Confidence Level", "Simulation Activity File"
_CONFIDENCES = ("Low", "Medium", "High")
_HOT = re.compile(r" *\([Jj]unction temp exceeded!?\) *$")
_ROUNDING = 0.0021  # W: three figures of three digits
_INDENT = 2
_NONE = "---"


@dataclass(frozen=True)
class PowerSummary:
    """Watts.

    Parameters
    ----------
    header : Header
    total_w, dynamic_w, static_w : float
        Of the whole chip, processing system included.
    instance_w : float or None
        Dynamic, of an instance; None if the report does not list it.
    confidence : str
        "Low", "Medium" or "High".
    simulated : bool
        Switching activity came from simulation; otherwise from default toggle rates.
    """

    header: Header
    total_w: float
    dynamic_w: float
    static_w: float
    instance_w: float | None
    confidence: str
    simulated: bool


def _instance(report: ReportText, table: Sequence[Sequence[Row]], path: Sequence[str]) -> float | None:
    """Watts of an instance in the table by hierarchy, which leaves out what needs next to nothing."""
    if [[cell.text.strip() for cell in row] for row in table[0]] != [["Name", "Power (W)"]]:
        report.refuse(table[0][0][0].line, "the table by hierarchy must have the columns Name, Power (W)")
    if len(table) != 2:
        report.refuse(table[0][0][0].line + 1, "the table by hierarchy must have rows: it is cut short")
    names: list[str] = []
    found: list[float] = []
    for name, watts in table[1]:
        text = name.text.removeprefix(" ")
        depth, rest = divmod(len(text) - len(text.lstrip()), _INDENT)
        if rest or depth > len(names) or not text.strip():
            report.refuse(name.line, f"an instance must stand below the one it is in, not as {text!r:.60}")
        names[depth:] = [text.strip()]
        power = report.number(watts, f"power of {names[-1]}")
        if names == list(path):
            found.append(power)
    if len(found) > 1:
        report.refuse(table[1][-1][0].line, f"the table must have {'/'.join(path)} once, not {len(found)} times")
    return found[0] if found else None


def read_power(report: ReportText, path: Sequence[str]) -> PowerSummary:
    """What the chip needs.

    Parameters
    ----------
    report : ReportText
    path : sequence of str
        Names of instances down to the one that is looked at.

    Raises
    ------
    VendorError
        If the report is not of this command, or damaged, or its figures contradict each other.
    """
    header = report.expect(_COMMAND, _TITLE)
    sections = report.sections()
    table = report.table(sections, "Summary")
    summary: dict[str, Cell] = {}
    for row in table[0] if len(table) == 1 else ():
        if len(row) != 2 or row[0].text.strip() in summary:
            report.refuse(row[0].line, "the summary must have two columns, and each line once")
        summary[row[0].text.strip()] = row[1]
    line = sections["Summary"].first + 1
    for name in (_TOTAL, _DYNAMIC, _STATIC, _CONFIDENCE):
        if name not in summary:
            report.refuse(line, f"the summary must have a line {name!r}")
    hot = Cell(_HOT.sub("", summary[_TOTAL].text), summary[_TOTAL].line)
    total, dynamic, static = (report.number(cell, "power") for cell in (hot, summary[_DYNAMIC], summary[_STATIC]))
    if abs(total - dynamic - static) > _ROUNDING or min(total, dynamic, static) < 0:
        text = f"the total must be dynamic and static power together, {dynamic + static:.3f} W, not {total:.3f} W"
        report.refuse(hot.line, text)
    confidence = summary[_CONFIDENCE].text.strip()
    if confidence not in _CONFIDENCES:
        report.refuse(summary[_CONFIDENCE].line, f"confidence must be Low, Medium or High, not {confidence!r:.60}")
    instance = _instance(report, report.table(sections, "By Hierarchy"), path)
    if instance is not None and instance > dynamic + _ROUNDING:
        report.refuse(summary[_DYNAMIC].line, f"dynamic power must be at least that of {path[-1]}, {instance:g} W")
    activity = summary[_ACTIVITY].text.strip() if _ACTIVITY in summary else _NONE
    return PowerSummary(header, total, dynamic, static, instance, confidence, activity != _NONE)
