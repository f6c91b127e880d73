"""The order and grouping of one module's Verilog: ports, signals, registers, logic; nothing of it changes meaning."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from moesaic.hw.rtlil.names import TRIGGER
from moesaic.hw.verilog_fold import clocked_statements, is_next_of

__all__ = ["lay_out"]

_WIDTH = 120
_DECLARED = re.compile(r"  (input|output|inout|wire|reg)(?: signed)?( \[\d+:\d+\])? (\w+)(?: = [^;]*)?;")
_SOURCE = re.compile(r'  \(\* src = "([^"]*)" \*\)')
_CLOCKED = re.compile(r"  always(?:_ff)? @\((?:pos|neg)edge \w+\)")
_NUMBER = re.compile(r"(\d+)")
_INNER = re.compile(r"  (\s|end\b|\))")  # a line that belongs to the one before
_PROCESS = ("  always @* begin", "  always_comb begin")
_COPY = re.compile(r"    (\w+) <= (\w+);")
_WORD = re.compile(r"\w+")
_PORTS = ("input", "output", "inout")


@dataclass
class _Part:
    """A declaration, assignment, instance or process, with its attributes.

    A register has the head of its process and its statements; all other parts are as they are printed.
    """

    attributes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    folded: bool = False  # a register with the logic of its next value

    @property
    def kind(self) -> str:
        first = self.lines[0]
        if (found := _DECLARED.fullmatch(first)) is not None:
            return "port" if found[1] in _PORTS else "signal"
        if _CLOCKED.fullmatch(first) and (len(self.lines) == 2 or self.folded):
            return "register"
        return first.split()[0]

    @property
    def declared(self) -> str:
        found = _DECLARED.fullmatch(self.lines[0])
        return "" if found is None else found[3]

    @property
    def text(self) -> list[str]:
        return [*self.attributes, *self.lines]


def _parts(lines: Iterable[str]) -> Iterator[_Part]:
    part = _Part()
    for line in lines:
        if part.lines and not _INNER.match(line):
            yield part
            part = _Part()
        (part.attributes if line.startswith("  (* ") else part.lines).append(line)
    if part.lines:
        yield part


def _natural(part: _Part) -> list[tuple[str, int]]:
    """``x_2`` before ``x_10``."""
    pieces = _NUMBER.split(part.declared) + ["0"]
    return [(text, int(number)) for text, number in zip(pieces[::2], pieces[1::2], strict=True)]


def _declarations(parts: Iterable[_Part]) -> tuple[list[_Part], list[_Part]]:
    """Ports, each with its type, and signals; both by name."""
    ports: dict[str, _Part] = {}
    signals: list[_Part] = []
    for part in parts:
        port = ports.get(part.declared)
        if part.kind == "port":
            ports[part.declared] = part
        elif port is None:
            signals.append(part)
        elif part.lines[0].startswith("  reg"):
            port.lines += part.lines
        # A port is a wire without being said to be one.
    return sorted(ports.values(), key=_natural), sorted(signals, key=_natural)


def _registers(parts: list[_Part]) -> list[str]:
    """Registers of one clock in one process."""
    if len(parts) == 1 and not parts[0].folded:
        return parts[0].text
    if len(parts) == 1:
        return [*parts[0].attributes, f"{parts[0].lines[0]} begin", *parts[0].lines[1:], "  end"]
    lines = [f"{parts[0].lines[0]} begin"]
    for part in parts:
        source = next((found[1] for line in part.attributes if (found := _SOURCE.fullmatch(line))), None)
        lines += [part.lines[1] + (f"  // {source}" if source else ""), *part.lines[2:]]
    return [*lines, "  end"]


def _group(part: _Part) -> tuple[str, str]:
    """Parts that stand together; a register with logic and a source stands alone, because tools keep its attribute."""
    mergeable = part.kind == "register" and all(_SOURCE.fullmatch(line) and not part.folded for line in part.attributes)
    return ("registers", part.lines[0]) if mergeable else (part.kind, "")


def _drives(part: _Part) -> str:
    """What an assignment, or a process without a clock, gives a value first."""
    if part.kind == "assign":
        return _WORD.findall(part.lines[0])[1]
    statements = [line for line in part.lines[1:-1] if " = " in line] if part.lines[0] in _PROCESS else []
    return _WORD.findall(statements[0])[0] if statements else ""


def _fold(parts: list[_Part]) -> list[_Part]:
    """Next values into their registers' processes, where nothing else reads them."""
    words = Counter(word for part in parts for line in part.lines for word in _WORD.findall(line))
    logic = {_drives(part): part for part in parts}
    declared = {part.declared: part for part in parts if part.kind == "signal" and not part.attributes}
    gone: set[int] = set()
    for part in parts:
        copy = _COPY.fullmatch(part.lines[1]) if part.kind == "register" and len(part.lines) == 2 else None
        if copy is None or not is_next_of(copy[2], copy[1]):
            continue
        process, signal = logic.get(copy[2]), declared.get(copy[2])
        if process is None or signal is None:
            continue
        inside = sum(_WORD.findall(line).count(copy[2]) for line in process.lines)
        statements = clocked_statements(process.lines, copy[1])
        if statements is None or words[copy[2]] != inside + 2:
            continue
        part.lines[1:] = statements
        if process.kind != "assign":
            part.folded = True
            part.attributes = [line for line in part.attributes if not _SOURCE.fullmatch(line)] + process.attributes
        gone |= {id(process), id(signal)}
    kept = [part for part in parts if id(part) not in gone]
    started = any(TRIGGER in line for part in kept if part.declared != TRIGGER for line in part.lines)
    return [part for part in kept if started or part.declared != TRIGGER]


def lay_out(text: str, sources: Iterable[str | None]) -> str:
    """Verilog of one module, from Yosys, in the order in which people read it.

    Parameters
    ----------
    text : str
    sources : iterable of str or None
        Where each ``always @*`` comes from, in the order of the text.
    """
    before, _, rest = text.partition("module ")
    header, _, rest = rest.partition(");\n")
    body, _, after = rest.rpartition("endmodule")
    name, _, ports = header.partition("(")
    listed = " ".join(ports.split())
    if "\\" not in listed:  # an escaped name, as a unit alone may have, ends at its blank
        listed = listed.replace(" ,", ",")
    wrapped = textwrap.fill(listed, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines = [f"{before}module {name}(", wrapped, ");"] if ports.strip() else [f"{before}module {name}();"]
    parts = list(_parts(body.splitlines()))
    locations = iter(sources)
    for part in parts:
        if part.lines[0] in _PROCESS and (place := next(locations, None)):
            part.attributes.append(f'  (* src = "{place}" *)')
    parts = _fold(parts)
    declared, others = _declarations(p for p in parts if p.declared), [p for p in parts if not p.declared]
    for group in declared:
        lines += [line for part in group for line in part.text] + [""] * bool(group)
    for (kind, _), members in groupby(others, key=_group):
        found = list(members)
        if kind == "registers":
            lines += [*_registers(found), ""]
        elif kind == "assign":
            lines += [*(line for part in found for line in part.text), ""]
        else:
            for part in found:
                lines += [*(_registers([part]) if part.folded else part.text), ""]
    while lines[-1] == "":
        lines.pop()
    return "\n".join([*lines, f"endmodule{after}"])
