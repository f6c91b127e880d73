"""The text of a report of Vivado: lines, header, sections and tables, without what they mean.

Layout after public reports of Vivado; UG906 (design analysis, AMD) describes them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from moesaic.errors import InputError
from moesaic.json_file import read_utf8

__all__ = ["Cell", "Header", "ReportText", "Row", "Section", "VendorError", "read_report"]

MOST = 16 << 20  # bytes of a report
_MOST_LINES, _LONGEST = 200_000, 16_384  # lines; characters of a line
YEARS = range(2020, 2026)
_FIELD = re.compile(r"\| ([A-Z][A-Za-z ]*?) *: ?(.*)")
_TOOL = re.compile(r"Vivado v\.((\d{4})\.\d(?:\.\d)?) .*")
_HEADING = re.compile(r"\d+(?:\.\d+)*\.? (\S.*)")
_CONTENTS = "Table of Contents"


class VendorError(InputError):
    """A file of a vendor's tool is damaged, of another design, or of an unknown format; names file, line and reason."""


@dataclass(frozen=True)
class Cell:
    """A value and where it stands."""

    text: str
    line: int


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Header:
    """What a report says of itself.

    Parameters
    ----------
    tool : str
        Version of Vivado.
    fields : mapping of str to Cell
    title : Cell
        Of what follows.
    """

    tool: str
    fields: Mapping[str, Cell]
    title: Cell


@dataclass(frozen=True)
class Section:
    """Lines of a report, from index `first` to before `end`."""

    title: str
    first: int
    end: int


@dataclass(frozen=True)
class ReportText:
    """A report.

    Parameters
    ----------
    name : str
        For messages.
    lines : tuple of str
    """

    name: str
    lines: tuple[str, ...]

    def refuse(self, line: int, why: str) -> NoReturn:
        """Say what is wrong in a line (the first is 1)."""
        raise VendorError(f"{self.name}, line {line}: {why}")

    def cut(self, what: str) -> NoReturn:
        """Say what is missing at the end."""
        self.refuse(len(self.lines), f"the report must go on with {what}, but ends; it is cut short")

    def number(self, cell: Cell, what: str, *, decimals: int | None = None) -> float:
        """A decimal number; with `decimals` of exactly so many digits. "<0.01" is half of that."""
        digits = r"\d{1,9}(\.\d{1,4})?" if decimals is None else rf"\d{{1,9}}\.\d{{{decimals}}}"
        text = cell.text.strip()
        small = re.fullmatch(r"<(0\.0*1)", text)
        if small:
            return float(small[1]) / 2
        if not re.fullmatch(f"-?{digits}", text, re.ASCII):
            self.refuse(cell.line, f"{what} must be a number, not {text!r:.60}")
        return float(text)

    def whole(self, cell: Cell, what: str) -> int:
        """A whole number that is not negative."""
        text = cell.text.strip()
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            self.refuse(cell.line, f"{what} must be a whole number, not {text!r:.60}")
        return int(text)

    def header(self) -> Header:
        """What the report says of itself, if it is of a known version.

        Raises
        ------
        VendorError
        """
        if not self.lines[0].startswith("Copyright "):
            self.refuse(1, f"a report of Vivado must begin with its copyright, not {self.lines[0]!r:.60}")
        fields: dict[str, Cell] = {}
        for index in range(1, len(self.lines)):
            text = self.lines[index]
            if text and not text.strip("-"):
                if fields:
                    break
                continue
            match = _FIELD.fullmatch(text.rstrip())
            if match is None:
                self.refuse(index + 1, f"the header must have lines '| Name : value', not {text!r:.60}")
            if match[1] in fields:
                self.refuse(index + 1, f"{match[1]!r} must be in the header once")
            fields[match[1]] = Cell(match[2].strip(), index + 1)
        else:
            self.cut("the rest of its header")
        for name in ("Tool Version", "Command", "Design", "Device"):
            if name not in fields:
                self.refuse(index + 1, f"the header must have the field {name!r}")
        version = fields["Tool Version"]
        tool = _TOOL.fullmatch(version.text)
        if tool is None or int(tool[2]) not in YEARS:
            known = f"Vivado {YEARS[0]} to {YEARS[-1]}"
            self.refuse(version.line, f"the format is known of {known} only, not of {version.text!r:.60}")
        title = next((number for number, text in enumerate(self.lines, 1) if number > index + 1 and text.strip()), None)
        if title is None:
            self.cut("its title")
        return Header(tool[1], fields, Cell(self.lines[title - 1].strip(), title))

    def expect(self, command: str, title: str, without: Sequence[str] = ()) -> Header:
        """The header, if the report was made by a command of Tcl without some options, and has this title.

        Raises
        ------
        VendorError
        """
        header = self.header()
        given = header.fields["Command"]
        words = given.text.split()
        if words[:1] != [command]:
            self.refuse(given.line, f"the report must be of {command}, not {given.text!r:.60}")
        for option in without:
            if option in words:
                self.refuse(given.line, f"the report must be made without {option}")
        if header.title.text != title:
            self.refuse(header.title.line, f"the title must be {title!r}, not {header.title.text!r:.60}")
        return header

    def sections(self) -> dict[str, Section]:
        """Numbered sections by title: exactly those of the table of contents, in its order."""
        if _CONTENTS not in self.lines:
            self.cut("a table of contents")
        start = self.lines.index(_CONTENTS) + 2
        named = []
        for index in range(start, len(self.lines)):
            match = _HEADING.fullmatch(self.lines[index].rstrip())
            if match is None:
                break
            named.append((match[1], self.lines[index].rstrip()))
        else:
            self.cut("its sections")
        places = []
        at = start + len(named)
        for _, heading in named:
            found = next((i for i in range(at, len(self.lines) - 1) if self._is_heading(i, heading)), None)
            if found is None:
                self.cut(f"section {heading!r}, which its contents name")
            places.append(found)
            at = found + 1
        ends = [*places[1:], len(self.lines)]
        sections = {
            title: Section(title, place, end) for (title, _), place, end in zip(named, places, ends, strict=True)
        }
        if len(sections) != len(named) or not named:
            self.refuse(start, "the table of contents must name sections, each once")
        return sections

    def _is_heading(self, index: int, heading: str) -> bool:
        under = self.lines[index + 1].rstrip()
        return self.lines[index].rstrip() == heading and under == "-" * len(heading)

    def table(self, sections: Mapping[str, Section], title: str) -> list[list[Row]]:
        """The first table of a section: rows between its borders, group by group."""
        if title not in sections:
            self.refuse(len(self.lines), f"the report must have a section {title!r}, not only {', '.join(sections)}")
        section = sections[title]
        lines = range(section.first + 2, section.end)
        first = next((index for index in lines if self.lines[index].startswith("+-")), None)
        if first is None:
            self.refuse(section.first + 1, f"section {title!r} must have a table")
        groups: list[list[Row]] = []
        border = self.lines[first].rstrip()
        for index in range(first, section.end):
            text = self.lines[index].rstrip()
            if text == border:
                groups.append([])
            elif text.startswith("|"):
                groups[-1].append(self._row(index, border.count("+") - 1))
            elif text.startswith("+") or groups[-1]:
                self.refuse(index + 1, f"a table must go on with a row or its border, not {text!r:.60}")
            else:
                break
        if groups[-1]:
            self.refuse(section.end, f"the table of {title!r} must end with a border: it is cut short")
        if not groups[0]:
            self.refuse(min(first + 2, len(self.lines)), f"the table of {title!r} must have rows")
        return groups[:-1]

    def _row(self, index: int, count: int) -> Row:
        text = self.lines[index].rstrip()
        cells = text.split("|")
        if len(cells) != count + 2 or cells[-1]:
            self.refuse(index + 1, f"a row of this table must have {count} cells, not {text!r:.60}")
        return tuple(Cell(cell.rstrip(), index + 1) for cell in cells[1:-1])

    def parts(self) -> Iterator[tuple[str, int]]:
        """Titles of parts that stand in a frame (`| Title`), each with the index of the first line behind it."""
        for index in range(len(self.lines) - 2):
            text, under, frame = (line.rstrip() for line in self.lines[index : index + 3])
            if text.startswith("| ") and under == "| " + "-" * (len(text) - 2) and not frame.strip("-"):
                yield text[2:], index + 3


def read_report(path: Path) -> ReportText:
    """The lines of a report.

    Raises
    ------
    VendorError
        If it cannot be read, is too large, or is not text that ends with a line.
    """
    text = read_utf8(path, most=MOST, what="report", kind="a report of Vivado", error=VendorError)
    lines = tuple(line.removesuffix("\r") for line in text.split("\n"))
    report = ReportText(str(path), lines[:-1] or ("",))
    if not text.strip():
        report.refuse(1, "a report of Vivado must not be empty")
    if lines[-1]:
        report.refuse(len(lines), "the last line must end: the report is cut short")
    if len(lines) > _MOST_LINES:
        report.refuse(_MOST_LINES, f"a report must have at most {_MOST_LINES:,} lines")
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST:
            report.refuse(number, f"a line must have at most {_LONGEST:,} characters, not {len(line):,}")
        if not line.replace("\t", " ").isprintable():
            report.refuse(number, "a line must have no control characters")
    return report
