"""The hardware handoff (`.hwh`, XML): for which device it is, and at which addresses the fabric's cells answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from moesaic.boards.vendor.report_text import YEARS, VendorError
from moesaic.json_file import read_bytes

__all__ = ["Handoff", "read_handoff"]

_MOST = 32 << 20  # bytes
_MOST_ELEMENTS = 1 << 20
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{1,16}")


@dataclass(frozen=True)
class Handoff:
    """What a handoff file says.

    Parameters
    ----------
    name : str
        For messages.
    design, device, package : str
    line : int
        Where those stand.
    ranges : mapping of str to (int, int, int)
        By instance: first and last address of its registers, and the line.
    """

    name: str
    design: str
    device: str
    package: str
    line: int
    ranges: Mapping[str, tuple[int, int, int]]

    def refuse(self, line: int, why: str) -> NoReturn:
        """Say what is wrong in a line."""
        raise VendorError(f"{self.name}, line {line}: {why}")


class _Reader:
    """What the elements of interest say, as expat comes upon them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = ""
        self.elements = 0
        self.system: tuple[dict[str, str], int] | None = None
        self.ranges: dict[str, tuple[int, int, int]] = {}
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self.start
        self.parser.StartDoctypeDeclHandler = self.doctype

    def refuse(self, why: str) -> NoReturn:
        raise VendorError(f"{self.name}, line {self.parser.CurrentLineNumber}: {why}")

    def doctype(self, *_: object) -> None:
        self.refuse("a handoff file must have no document type: it is of something else")

    def start(self, element: str, attributes: dict[str, str]) -> None:
        line = self.parser.CurrentLineNumber
        self.elements += 1
        if self.elements > _MOST_ELEMENTS:
            self.refuse(f"a handoff file must have at most {_MOST_ELEMENTS:,} elements")
        if not self.root:
            self.root = element
            version = attributes.get("VIVADOVERSION", "")
            if element != "EDKSYSTEM":
                self.refuse(f"the root of a handoff file must be EDKSYSTEM, not {element!r:.60}")
            if version.partition(".")[0] not in map(str, YEARS):
                known = f"Vivado {YEARS[0]} to {YEARS[-1]}"
                self.refuse(f"the format is known of {known} only, not of {version!r:.60}")
        elif element == "SYSTEMINFO":
            if self.system is not None:
                self.refuse("SYSTEMINFO must be there once")
            self.system = attributes, line
        elif element == "MEMRANGE" and attributes.get("MEMTYPE", "").upper() == "REGISTER":
            self.range(attributes, line)

    def range(self, attributes: dict[str, str], line: int) -> None:
        values = [attributes.get(name, "") for name in ("BASEVALUE", "HIGHVALUE")]
        instance = attributes.get("INSTANCE", "")
        if not instance or not all(map(_ADDRESS.fullmatch, values)):
            self.refuse(f"a range must have INSTANCE, BASEVALUE and HIGHVALUE, not {instance!r:.40} and {values!r:.60}")
        low, high = (int(value, 16) for value in values)
        known = self.ranges.setdefault(instance, (low, high, line))
        if low > high:
            self.refuse(f"the range of {instance} must end behind its beginning, not be {low:#x} to {high:#x}")
        if known[:2] != (low, high):
            self.refuse(f"{instance} must have one range of registers, not also {low:#x} to {high:#x}")


def read_handoff(path: Path) -> Handoff:
    """What a handoff file says.

    Raises
    ------
    VendorError
        If it cannot be read, is too large, is no XML, or not of a known version.
    """
    data = read_bytes(path, most=_MOST, what="handoff file", kind="a .hwh of Vivado", error=VendorError)
    reader = _Reader(str(path))
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise VendorError(
            f"{path}, line {error.lineno}: the file must be XML ({expat.ErrorString(error.code)})"
        ) from error
    if reader.system is None:
        reader.refuse("a handoff file must have SYSTEMINFO")
    fields, line = reader.system
    return Handoff(
        str(path), fields.get("NAME", ""), fields.get("DEVICE", ""), fields.get("PACKAGE", ""), line, reader.ranges
    )
