"""Points of coverage in exported Verilog: lines and branches that run, bits of ports that rise and fall, conditions."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moesaic.errors import FailedRun
from moesaic.flow.verify.cover_points import PREFIX
from moesaic.hw.verilog import verilog_modules

__all__ = ["CHECK", "KINDS", "Point", "ports_only", "read_hits"]

_OFF, _ON = "/*verilator coverage_off*/", "/*verilator coverage_on*/"
CHECK = re.compile(r"_contract$|_rules(_\w+)?$")  # modules that watch the hardware, and are none
_PORT = re.compile(r"  (?:input|output) (?:\[(\d+):0\] )?(\S+);")
_INNER = re.compile(r"  (?:reg|wire) (?:\[\d+:\d+\] )?(\S+?)(?: \[\d+:\d+\])?(?: = .*)?;")
_END = "endmodule"
WIDEST = 64  # bits of a port whose toggles Verilator counts right: in a wider one a bit's also count for bits above it
_SLICE = re.compile(r"slice_(\d+)_of_(.+?)(?:\[(\d+)\])?(:.*)")
_MESSAGE = "$write("  # of an assertion, in the line behind its condition
_KINDS = {"v_line": "line", "v_branch": "branch", "v_toggle": "port", "v_user": "cover"}
KINDS = tuple(_KINDS.values())
_NAMED = ("port", "cover")  # kinds whose points say what they are
_COUNT = re.compile(r"C '(.*)' (\d+)\s*")


@dataclass(frozen=True, order=True)
class Point:
    """Something that a run does or does not do.

    Parameters
    ----------
    module : str
        Without the prefix that all have.
    kind : str
        `line`, `branch`, `port`: one bit of one, in one direction, or `cover`.
    place : str
        What is written there; bit and direction for a port, the label of a cover point.
    """

    module: str
    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind} of {self.module}: {self.place}"


def _slices(ports: Mapping[str, int]) -> Iterator[str]:
    """Declarations of parts of ports that are too wide, to be watched in their place."""
    for name, width in ports.items():
        for low in range(0, width, WIDEST) if width > WIDEST else ():
            high = min(low + WIDEST, width) - 1
            yield f"  wire [{high - low}:0] slice_{low}_of_{name} = {name}[{high}:{low}];"


def _said(name: str) -> str:
    """The bit of a port that a point of a slice is about; any other as it is."""
    found = _SLICE.fullmatch(name)
    return name if found is None else f"{found[2]}[{int(found[1]) + int(found[3] or 0)}]{found[4]}"


def _without_inner(lines: Sequence[str]) -> Iterator[str]:
    """A module's lines; nobody watches the toggles of what is declared inside, nor what assertions say if they fail.
    Of wide ports slices are watched.
    """
    ports: dict[str, int] = {}
    watched = True
    for line, following in itertools.pairwise([*lines, ""]):
        port, inner = _PORT.match(line), _INNER.match(line)
        if port:
            ports[port[2]] = int(port[1] or 0) + 1
        declared = port[2] if port else inner[1] if inner else None
        hidden = declared is not None and not 1 <= ports.get(declared, 0) <= WIDEST
        hidden |= line.lstrip().startswith(_MESSAGE) or following.lstrip().startswith(_MESSAGE)
        if hidden == watched:
            watched = not watched
            yield _ON if watched else _OFF
        if line == _END:
            yield from _slices(ports)
        yield line
    if not watched:
        yield _ON


def ports_only(verilog: str) -> str:
    """The text with marks for Verilator: no points in checks, and toggles of ports alone.

    Toggles of all that is declared make nine tenths of the points, and ten times the simulator.
    """
    parts = []
    for name, text in verilog_modules(verilog).items():
        if CHECK.search(name):
            parts += [_OFF, text, _ON]
        else:
            parts += _without_inner(text.split("\n"))
    return "\n".join(parts)


def _fields(line: str) -> tuple[dict[str, str], int] | None:
    found = _COUNT.fullmatch(line)
    if found is None:
        return None
    return dict(part.split("\x02", 1) for part in found[1].split("\x01")[1:]), int(found[2])


def read_hits(path: Path, source: str, modules: frozenset[str]) -> dict[Point, bool]:
    """Every point of these modules in what a simulator wrote, in the order of the text, and whether an instance hit it.

    Parameters
    ----------
    path : Path
        ``coverage.dat``.
    source : str
        The text that it is about.
    modules : frozenset of str

    Raises
    ------
    FailedRun
        If there is none, or it has no points.
    """
    text = source.split("\n")
    counts: Counter[tuple[str, str, str, int, int]] = Counter()
    try:
        lines = path.read_text(encoding="latin-1").split("\n")
    except OSError as error:
        raise FailedRun(f"simulator must leave its coverage in {path.name} ({error})") from None
    for fields, hits in filter(None, map(_fields, lines)):
        page, _, module = fields["page"].partition("/")
        if module in modules:
            counts[module, _KINDS[page], fields.get("o", ""), int(fields["l"]), int(fields["n"])] += hits
    if not counts:
        raise FailedRun(f"{path.name} must have points of {len(modules)} modules, not none")
    result: dict[Point, bool] = {}
    # Verilator writes the second of two underlines as a number.
    for (module, kind, said, line, _), hits in sorted(counts.items(), key=lambda item: item[0][3:]):
        written = "" if kind in _NAMED else f": {' '.join(text[line - 1].split())}"
        place = _said(said.replace("__05F", "_")).removeprefix(PREFIX) + written
        short = module.removeprefix("moesaic_")
        names = itertools.chain((place,), (f"{place} ({n})" for n in itertools.count(2)))
        point = next(point for point in (Point(short, kind, name) for name in names) if point not in result)
        result[point] = hits > 0
    return result
