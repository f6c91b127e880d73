"""Measured beside estimated: what a Vivado build says of a report's accelerator, and `vivado.json`, which keeps it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table

from moesaic.boards.resources import Resources
from moesaic.boards.vendor.build import VivadoBuild, read_build
from moesaic.errors import InputError
from moesaic.flow.boards import find_board
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.json_file import read_json
from moesaic.records import Count, called, from_plain, to_plain
from moesaic.report.model import Report
from moesaic.schema import Choice, Name, Number, SchemaError, Text, Whole
from moesaic.schema import Table as TableShape
from moesaic.terminal import result_console

__all__ = ["FILE", "Comparison", "Figure", "compare", "comparison_text", "print_comparison", "read_comparison"]

FILE = "vivado.json"
FORMAT = 1
_MOST = 1 << 20  # bytes
_KINDS = {  # of figures: what they are, unit, digits
    "lut": ("LUT", "", ",.0f"),
    "ff": ("FF", "", ",.0f"),
    "dsp": ("DSP", "", ",.0f"),
    "bram36": ("BRAM36", "", ",g"),
    "uram": ("URAM", "", ",.0f"),
    "clock_long_nets": ("clock, beside long nets", "MHz", ".1f"),
    "clock_short_nets": ("clock, beside short nets", "MHz", ".1f"),
    "power_dynamic": ("power, dynamic", "W", ".3f"),
    "power_static": ("power, static", "W", ".3f"),
    "power": ("power on chip", "W", ".3f"),
}
Watts = Annotated[float, Number(0, 1e4)]
Nanoseconds = Annotated[float, Number(-1e5, 1e5)]


@dataclass(frozen=True)
class Figure:
    """One figure: as estimated, as Vivado says it, and how many times the estimate that is.

    The ratio is None where there is no estimate, or it is 0.
    """

    kind: Annotated[str, Choice(tuple(_KINDS))]
    estimated: Annotated[float, Number(0, 1e9)] | None
    measured: Annotated[float, Number(0, 1e9)]
    ratio: Annotated[float, Number(0, 1e9)] | None

    @property
    def title(self) -> str:
        """What it is."""
        return _KINDS[self.kind][0]

    def in_words(self, value: float | None) -> str:
        """A value of this kind with its unit."""
        _, unit, digits = _KINDS[self.kind]
        return "–" if value is None else f"{value:{digits}} {unit}".rstrip()

    @property
    def difference(self) -> str:
        """Of the measured figure from the estimate, per cent of the estimate."""
        return "–" if self.ratio is None else f"{100 * (self.ratio - 1):+.1f} %"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What Vivado says beyond the figures that have an estimate.

    Parameters
    ----------
    design : Resources
        All that is in the fabric, interconnect included.
    clock : str
    period_ns, wns_ns, whs_ns : float
    met : bool
    uncovered : int
        Pins and endpoints that timing analysis did not look at.
    chip_w, chip_dynamic_w : float or None
        Of the whole chip, processing system included.
    confidence : str
        Of power, in Vivado's words; empty without a report.
    simulated : bool
        Its switching activity is from simulation.
    accelerator_listed : bool
        The report of power lists the accelerator by itself; otherwise dynamic power has no figure.
    addresses_checked : bool
        A handoff file was there, with the registers where the driver looks for them.
    """

    design: Resources
    clock: Annotated[str, Text(most=64)]
    period_ns: Nanoseconds
    wns_ns: Nanoseconds
    whs_ns: Nanoseconds
    met: bool
    uncovered: Annotated[int, Whole()]
    chip_w: Watts | None
    chip_dynamic_w: Watts | None
    confidence: Annotated[str, Choice(("", "Low", "Medium", "High"))]
    simulated: bool
    accelerator_listed: bool
    addresses_checked: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A build beside a report. It says nothing of the user's machine, folders or weights, so it can be given away.

    Parameters
    ----------
    version, vivado : str
        Of Moesaic and of Vivado.
    board, part, family : str
    accelerator : AcceleratorConfig
        `config` in JSON.
    config_hash : str
    counted : bool
        Resources were counted by Yosys; otherwise estimated from other accelerators.
    timing_counted : bool
        The same of the two clocks.
    figures : tuple of Figure
        Of the accelerator alone.
    measured : Measured
    """

    version: Annotated[str, Text(most=64)]
    vivado: Annotated[str, Text(r"20\d\d\.\d(\.\d)?", title="a version of Vivado")]
    board: Annotated[str, Name()]
    part: Annotated[str, Text(most=64)]
    family: Annotated[str, Text(most=64)]
    accelerator: AcceleratorConfig = field(metadata=called("config"))
    config_hash: Annotated[str, Text(r"[0-9a-f]{64}", title="a SHA-256")]
    counted: bool
    timing_counted: bool
    figures: Annotated[tuple[Figure, ...], Count(1, len(_KINDS))]
    measured: Measured

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        return tuple(_doubts(self.measured))


def _doubts(measured: Measured) -> Iterator[str]:
    if not measured.met:
        yield "the constraints of timing are not met: the clock is what the slack would allow, not what was asked for"
    if measured.uncovered:
        yield f"timing analysis did not cover {measured.uncovered:,} pins or endpoints: no slack says anything of them"
    if measured.chip_w is None:
        yield "there is no report of power"
    elif not measured.accelerator_listed:
        yield "the report of power does not list the accelerator by itself, so its dynamic power is not known"
    if measured.chip_w is not None and not measured.simulated:
        yield "power is from Vivado's default toggle rates: `moesaic run --saif` gives it the program's own"
    if not measured.addresses_checked:
        yield "there is no handoff file (.hwh), so addresses were not checked"


def _figure(kind: str, estimated: float | None, measured: float) -> Figure:
    ratio = round(measured / estimated, 4) if estimated else None
    return Figure(kind, None if estimated is None else round(estimated, 4), round(measured, 4), ratio)


def _figures(report: Report, build: VivadoBuild) -> Iterator[Figure]:
    estimated, measured = report.resources.total.to_dict(), build.accelerator.to_dict()
    for kind in estimated:
        yield _figure(kind, estimated[kind], measured[kind])
    achieved = build.timing.achieved_mhz
    yield _figure("clock_long_nets", report.timing.pessimistic_mhz, achieved)
    yield _figure("clock_short_nets", report.timing.optimistic_mhz, achieved)
    if build.power is not None:
        power = report.first.power_w
        static = None if power is None else power.static
        # Vivado's is at the build's clock: as many toggles in a cycle, more or fewer cycles in a second.
        dynamic = None if power is None else power.dynamic * 1e3 / build.timing.period_ns / report.clock_mhz
        if build.power.instance_w is not None:
            total = None if static is None or dynamic is None else static + dynamic
            yield _figure("power_dynamic", dynamic, build.power.instance_w)
            yield _figure("power_static", static, build.power.static_w)
            yield _figure("power", total, build.power.instance_w + build.power.static_w)
        else:
            yield _figure("power_static", static, build.power.static_w)


def compare(report: Report, folder: Path) -> Comparison:
    """Read the reports of a Vivado build, and hold them against a report's estimates.

    Parameters
    ----------
    report : Report
    folder : Path
        The project's, or its `build`.

    Raises
    ------
    InputError
        If the report is of no board, or the build is of another accelerator.
    VendorError
        As `read_build`.
    """
    board = find_board(report.board_origin)
    if board is None:
        raise InputError(f"a run that is compared with Vivado must be for a board, not for {report.board!r}")
    build = read_build(folder, board)
    if build.config_hash not in ("", report.config_hash):
        wanted, found = report.config_hash[:12], build.config_hash[:12]
        raise InputError(
            f"vivado must be a build of configuration {wanted}, as the run has, not {found} ({str(folder)!r})"
        )
    timing, power = build.timing, build.power
    return Comparison(
        version=report.version,
        vivado=build.tool,
        board=board.name,
        part=board.part,
        family=board.system.fabric,
        accelerator=report.accelerator,
        config_hash=report.config_hash,
        counted=report.resources.source == "synthesis",
        timing_counted=report.timing.counted,
        figures=tuple(_figures(report, build)),
        measured=Measured(
            design=build.design,
            clock=timing.clock,
            period_ns=timing.period_ns,
            wns_ns=timing.wns_ns,
            whs_ns=timing.whs_ns,
            met=timing.met,
            uncovered=timing.uncovered,
            chip_w=None if power is None else power.total_w,
            chip_dynamic_w=None if power is None else power.dynamic_w,
            confidence="" if power is None else power.confidence,
            simulated=power is not None and power.simulated,
            accelerator_listed=power is not None and power.instance_w is not None,
            addresses_checked=bool(build.addresses),
        ),
    )


def plain_comparison(comparison: Comparison) -> dict[str, Any]:
    """What `vivado.json` holds."""
    return {"format": FORMAT, **to_plain(comparison)}


def comparison_text(comparison: Comparison) -> str:
    """The text of `vivado.json`."""
    return json.dumps(plain_comparison(comparison), indent=1, allow_nan=False) + "\n"


def read_comparison(folder: Path, report: Report) -> Comparison | None:
    """What `vivado.json` of a result folder says; None if there is none.

    Raises
    ------
    InputError
        If it is damaged, of another version, or of another accelerator than the report.
    """
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return None
    plain = read_json(path, most=_MOST, what="comparison", error=InputError)
    try:
        TableShape({"format": Choice((FORMAT,))}, open=True).check(plain, "comparison")
        found = from_plain(Comparison, {k: v for k, v in plain.items() if k != "format"}, "comparison")
        kinds = [figure.kind for figure in found.figures]
        if len(set(kinds)) != len(kinds):
            raise SchemaError(f"kinds of comparison.figures must differ, not be {kinds!r:.90}")
    except ValueError as error:
        raise InputError(f"{str(path)!r} must be a comparison with Vivado, not a damaged file ({error})") from error
    if found.config_hash != report.config_hash:
        raise InputError(f"{str(path)!r} must be of this run's accelerator: remove it, or give --vivado again")
    return found


def print_comparison(comparison: Comparison, folder: Path) -> None:
    """The table on the terminal, and what to know of it."""
    console = result_console(width=100, soft_wrap=True)
    console.print(
        f"{comparison.board} ({comparison.part}), accelerator alone; Vivado {comparison.vivado}", markup=False
    )
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("", "estimated", "Vivado", "difference", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for figure in comparison.figures:
        ratio = "–" if figure.ratio is None else f"{figure.ratio:.3f}"
        values = (figure.in_words(figure.estimated), figure.in_words(figure.measured))
        table.add_row(figure.title, *values, figure.difference, ratio)
    console.print(table)
    measured = comparison.measured
    verdict = "met" if measured.met else "NOT met"
    console.print(
        f"timing of {measured.clock} {verdict}: period {measured.period_ns:g} ns, setup slack {measured.wns_ns:g} ns, "
        f"hold slack {measured.whs_ns:g} ns",
        markup=False,
    )
    for doubt in comparison.doubts:
        console.print(f"note: {doubt}", markup=False)
    console.print(f"to contribute these ratios: {folder / FILE}", markup=False)
