"""The order and grouping of one module's Verilog: ports, signals, logic, registers; nothing of it changes meaning."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

__all__ = ["lay_out"]

_WIDTH = 120
_DECLARED = re.compile(r"  (input|output|inout|wire|reg)(?: signed)?( \[\d+:\d+\])? (\w+)(?: = [^;]*)?;")
_SOURCE = re.compile(r'  \(\* src = "([^"]*)" \*\)')
_CLOCKED = re.compile(r"  always(?:_ff)? @\((?:pos|neg)edge \w+\)")
_NUMBER = re.compile(r"(\d+)")
_INNER = re.compile(r"  (\s|end\b|\))")  # a line that belongs to the one before
_PROCESS = ("  always @* begin", "  always_comb begin")
_PORTS = ("input", "output", "inout")


@dataclass
class _Part:
    """A declaration, assignment, instance or process, with its attributes."""

    attributes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        first = self.lines[0]
        if (found := _DECLARED.fullmatch(first)) is not None:
            return "port" if found[1] in _PORTS else "signal"
        if _CLOCKED.fullmatch(first) and len(self.lines) == 2:
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
    if len(parts) == 1:
        return parts[0].text
    lines = [f"{parts[0].lines[0]} begin"]
    for part in parts:
        source = next((found[1] for line in part.attributes if (found := _SOURCE.fullmatch(line))), None)
        lines.append(part.lines[1] + (f"  // {source}" if source else ""))
    return [*lines, "  end"]


def _group(part: _Part) -> tuple[str, str]:
    mergeable = part.kind == "register" and all(_SOURCE.fullmatch(line) for line in part.attributes)
    return ("registers", part.lines[0]) if mergeable else (part.kind, "")


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
    declared, others = _declarations(p for p in parts if p.declared), [p for p in parts if not p.declared]
    locations = iter(sources)
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
                if part.lines[0] in _PROCESS and (place := next(locations, None)):
                    part.attributes.append(f'  (* src = "{place}" *)')
                lines += [*part.text, ""]
    while lines[-1] == "":
        lines.pop()
    return "\n".join([*lines, f"endmodule{after}"])
