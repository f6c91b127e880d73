"""`report_timing_summary`: the slack of a clock, and the frequency that it leaves room for.

Layout after public reports; UG906 (AMD) describes them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.boards.vendor.report_text import Cell, Header, ReportText

__all__ = ["TimingSummary", "read_timing"]

_TITLE, _COMMAND = "Timing Summary Report", "report_timing_summary"
_SETUP = "WNS(ns) TNS(ns) TNS Failing Endpoints TNS Total Endpoints"
_HOLD = "WHS(ns) THS(ns) THS Failing Endpoints THS Total Endpoints"
_WIDTH = "WPWS(ns) TPWS(ns) TPWS Failing Endpoints TPWS Total Endpoints"
_COLUMNS = f"{_SETUP} {_HOLD} {_WIDTH}"
_DESIGN, _CLOCKS, _INTRA, _DETAILS = "Design Timing Summary", "Clock Summary", "Intra Clock Table", "Timing Details"
_PARTS = (_DESIGN, _CLOCKS, _INTRA, "Inter Clock Table", "Other Path Groups Table", _DETAILS)
_MET, _NOT_MET = "All user specified timing constraints are met.", "Timing constraints are not met."
_CLOCK = re.compile(r" *(\S+) +(?:\.\.\. +)?\{[\d. ]+\} +(\d{1,6}\.\d{3}) +(\d{1,6}\.\d{3}) *", re.ASCII)
_DETAIL = re.compile(
    r"(Setup|Hold|PW) +: +\d+ +Failing Endpoints?, +Worst Slack +(-?\d+\.\d{3})ns, +Total Violation +-?\d+\.\d{3}ns *",
    re.ASCII,
)
_OPEN = re.compile(r"\d+\. checking (no_clock|unconstrained_internal_endpoints) \((\d{1,9})\)", re.ASCII)
_FRAME = "-" * 90  # begins the line around the title of a part
_ROUNDING = 0.0006  # ns: Vivado prints three digits
_LEAST, _MOST = 0.1, 1e5  # ns, of a period


@dataclass(frozen=True)
class _Slack:
    """Worst slack, ns, sum of violations, and how many of how many endpoints fail."""

    worst: float
    total: float
    failing: int


@dataclass(frozen=True)
class TimingSummary:
    """What timing analysis says of a clock.

    Parameters
    ----------
    header : Header
    clock : str
    period_ns : float
    wns_ns, whs_ns : float
        Worst slacks: setup, hold.
    met : bool
        All constraints of the design are.
    uncovered : int
        Pins without a clock, and endpoints without a constraint: no slack says anything of them.
    """

    header: Header
    clock: str
    period_ns: float
    wns_ns: float
    whs_ns: float
    met: bool
    uncovered: int

    @property
    def achieved_mhz(self) -> float:
        """The clock that the slack would allow, if placement and routing stayed the same."""
        return 1e3 / (self.period_ns - self.wns_ns)


def _part(report: ReportText, parts: Mapping[str, int], title: str) -> list[tuple[int, str]]:
    """Lines of a part that hold something, with their numbers."""
    found: list[tuple[int, str]] = []
    for index in range(parts[title], len(report.lines)):
        text = report.lines[index]
        if text.startswith(_FRAME) and not text.strip("- "):
            break
        if text.strip():
            found.append((index + 1, text))
    return found


def _slack(report: ReportText, line: int, words: list[str]) -> _Slack:
    worst, total = (report.number(Cell(word, line), "a slack", decimals=3) for word in words[:2])
    failing, all_of_them = (report.whole(Cell(word, line), "a count of endpoints") for word in words[2:])
    if failing > all_of_them or (worst < 0) != (total < 0) or (total < 0) != (failing > 0) or total > 0:
        text = f"slack {worst:g} ns, sum {total:g} ns and {failing} of {all_of_them} endpoints must agree"
        report.refuse(line, text)
    return _Slack(worst, total, failing)


def _slacks(report: ReportText, line: int, words: list[str]) -> tuple[_Slack, _Slack, _Slack]:
    """Of setup, hold and pulse width."""
    if len(words) != 12:
        report.refuse(line, f"there must be 12 figures, not {len(words)}: is the design constrained?")
    setup, hold, width = (_slack(report, line, words[at : at + 4]) for at in (0, 4, 8))
    return setup, hold, width


def _columns(report: ReportText, title: str, lines: list[tuple[int, str]], columns: str) -> None:
    """The two lines at the head of a table."""
    if len(lines) < 3:
        report.cut(f"the table of {title!r}")
    (line, head), (_, under) = lines[:2]
    if " ".join(head.split()) != columns or under.replace("-", "").strip():
        report.refuse(line, f"{title!r} must have the columns {columns!r}, not {' '.join(head.split())!r:.60}")


def _clocks(report: ReportText, lines: list[tuple[int, str]]) -> dict[str, float]:
    """Periods, ns, by clock."""
    _columns(report, _CLOCKS, lines, "Clock Waveform(ns) Period(ns) Frequency(MHz)")
    found: dict[str, float] = {}
    for line, text in lines[2:]:
        match = _CLOCK.fullmatch(text)
        if match is None:
            report.refuse(line, f"a clock must have name, waveform, period and frequency, not {text.strip()!r:.60}")
        period, frequency = float(match[2]), float(match[3])
        if not _LEAST <= period <= _MOST or abs(1e3 / period - frequency) > 1e3 / period**2 * _ROUNDING + _ROUNDING:
            report.refuse(line, f"period and frequency must agree, not be {period:g} ns and {frequency:g} MHz")
        if match[1] in found:
            report.refuse(line, f"clock {match[1]!r} must be there once")
        found[match[1]] = period
    return found


def _verdict(report: ReportText, lines: list[tuple[int, str]], slacks: tuple[_Slack, ...]) -> bool:
    """What Vivado says in words, held against its figures."""
    said = [(line, text.strip()) for line, text in lines[3:]]
    line, text = said[0] if said else (lines[-1][0], "")
    if text not in (_MET, _NOT_MET):
        report.refuse(line, f"there must be {_MET!r} or {_NOT_MET!r}, not {text!r:.60}")
    met = all(slack.worst >= 0 for slack in slacks)
    if met != (text == _MET):
        report.refuse(line, f"the verdict must agree with the slacks, not be {text!r}")
    return met


def _details(report: ReportText, first: int, clock: str) -> dict[str, tuple[int, float]]:
    """What the details say of the paths from a clock to itself: line and worst slack."""
    for index in range(first, len(report.lines) - 1):
        if report.lines[index].split() == ["From", "Clock:", clock] and report.lines[index + 1].split() == [
            "To",
            "Clock:",
            clock,
        ]:
            break
    else:
        report.cut(f"the details of {clock}")
    found: dict[str, tuple[int, float]] = {}
    for at in range(index + 2, min(index + 7, len(report.lines))):
        match = _DETAIL.fullmatch(report.lines[at])
        if match is not None:
            found[match[1]] = (at + 1, float(match[2]))
    if found.keys() != {"Setup", "Hold", "PW"}:
        report.refuse(
            min(index + 7, len(report.lines)), f"the details of {clock} must have setup, hold and pulse width"
        )
    return found


def read_timing(report: ReportText, clock: str) -> TimingSummary:
    """The slack of a clock in a summary of timing.

    Parameters
    ----------
    report : ReportText
    clock : str
        The clock of the fabric.

    Raises
    ------
    VendorError
        If the report is not of this command, or damaged, or its figures contradict each other.
    """
    header = report.expect(_COMMAND, _TITLE)
    parts: dict[str, int] = {}
    for title, index in report.parts():
        if title in parts:
            report.refuse(index - 1, f"{title!r} must be there once")
        parts[title] = index
    for title in _PARTS:
        if title not in parts:
            report.cut(f"the part {title!r}")
    design = _part(report, parts, _DESIGN)
    _columns(report, _DESIGN, design, _COLUMNS)
    whole = _slacks(report, design[2][0], design[2][1].split())
    met = _verdict(report, design, whole)
    clocks = _clocks(report, _part(report, parts, _CLOCKS))
    if clock not in clocks:
        report.refuse(parts[_CLOCKS] + 1, f"there must be the clock {clock!r}, not only {', '.join(clocks)}")
    intra = _part(report, parts, _INTRA)
    _columns(report, _INTRA, intra, f"Clock {_COLUMNS}")
    rows = [(line, text.split()) for line, text in intra[2:]]
    own = [(line, words[1:]) for line, words in rows if words[0] == clock]
    if len(own) != 1:
        report.refuse(intra[0][0], f"the table must have the clock {clock!r} once, not {len(own)} times")
    slacks = _slacks(report, *own[0])
    for title, part, all_parts in zip(("Setup", "Hold", "PW"), slacks, whole, strict=True):
        if part.worst < all_parts.worst or part.failing > all_parts.failing:
            report.refuse(own[0][0], f"a slack must be no worse than the design's, not {part.worst:g} ns ({title})")
    for title, (line, worst) in _details(report, parts[_DETAILS], clock).items():
        said = dict(zip(("Setup", "Hold", "PW"), slacks, strict=True))[title].worst
        if worst != said:
            report.refuse(line, f"the worst slack must be {said:g} ns, as in {_INTRA!r}, not {worst:g} ns")
    alone = len(clocks) == 1  # then recovery and other groups of paths are this clock's too
    setup, hold = (whole if alone else slacks)[:2]
    period = clocks[clock]
    if period - setup.worst < _LEAST:
        report.refuse(own[0][0], f"the slack must be less than the period of {period:g} ns, not {setup.worst:g} ns")
    uncovered = {match[1]: int(match[2]) for match in map(_OPEN.fullmatch, report.lines) if match is not None}
    return TimingSummary(header, clock, period, setup.worst, hold.worst, met, sum(uncovered.values()))
