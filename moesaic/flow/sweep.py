"""Bandwidth of attention against the height of the array: one block of a network on RTL for each number of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.ticker
from matplotlib.figure import Figure

from moesaic.errors import InputError
from moesaic.flow.execute import execute
from moesaic.flow.folder import check_space
from moesaic.flow.program import Program, make_program
from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.golden.training.scenes import render
from moesaic.report import plots
from moesaic.scratch import scratch
from moesaic.sim.tools import find_compiler, find_verilator

__all__ = ["PAGE", "PLOT", "Point", "page", "plot", "sweep_rows"]

PAGE, PLOT = "attention_bandwidth.md", "attention_bandwidth.png"


@dataclass(frozen=True)
class Point:
    """Counters of one array.

    Parameters
    ----------
    rows, lanes : int
    cycles : int
        Spent on scores and on probabilities times values.
    words : int
        Read from the activation memory meanwhile.
    stationary_words : int
        Read to fill stationary blocks with keys and values.
    bit_exact : bool
        Integer golden = functional simulator = RTL.
    """

    rows: int
    lanes: int
    cycles: int
    words: int
    stationary_words: int
    bit_exact: bool

    @property
    def words_per_cycle(self) -> float:
        """Activation words read per cycle of attention."""
        return self.words / self.cycles


def _requests(request: Request, rows: Sequence[int]) -> list[Request]:
    result = []
    for height in rows:
        try:
            config = request.config.replace(name=f"{request.config.name}-{height}x{request.config.lanes}", rows=height)
        except ValueError as error:
            raise InputError(str(error)) from error
        result.append(request.replace(config=config, board=config.name))
    return result


def _measure(program: Program, stages: Stages, work: Path) -> Point:
    request = program.request
    image = render(request.seed, request.model.image_size).image
    (outcome,) = execute(program, image, stages, rtl=True, work=work)
    if outcome.rtl is None or not outcome.rtl.counters:
        raise InputError(f"run of {request.board} must end without error, not with {outcome.rtl and outcome.rtl.error}")
    counters = outcome.rtl.counters
    return Point(
        request.config.rows,
        request.config.lanes,
        counters["attention_cycles"],
        counters["attention_words_read"],
        counters["stationary_words_read"],
        not outcome.differences,
    )


def plot(points: Sequence[Point]) -> Figure:
    """Words per cycle against rows, measured; and what a streamed vector for every row would need."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    rows = [point.rows for point in points]
    axes.plot(
        rows,
        rows,
        color=plots.COLOURS["starved"],
        linestyle="--",
        linewidth=1.2,
        label="a vector for each row (calculated)",
    )
    axes.plot(
        rows,
        [point.words_per_cycle for point in points],
        color=plots.COLOURS["busy"],
        marker="o",
        label="measured on RTL",
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_ylim(0.5, 2 * max(rows))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.set_xticks(rows)
    axes.set_xlabel("rows of the array")
    axes.set_ylabel("activation words read per cycle")
    axes.grid(color="#e6e8eb", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def page(request: Request, points: Sequence[Point], command: str) -> str:
    """The page in Markdown."""
    lanes, model = points[0].lanes, request.model
    where = (
        f"Block 0 of {model.name} ({model.tokens} tokens, {model.heads} heads of {model.head_dim} channels), "
        f"all sizes as in `{request.board}` but for `rows`, {lanes} lanes. A word is {lanes} int8 values. "
        "Counters of the RTL: `ATTENTION_CYCLES`, "
        "`ATTENTION_WORDS_READ`, `STATIONARY_WORDS_READ` (only attention fills the array from on-chip memory)."
    )
    lines = [
        "# Attention reads one word per cycle, whatever the height of the array",
        "",
        where,
        "",
        f"Made by `{command}`.",
        "",
        "| rows | multipliers | attention cycles | words read | words per cycle | stationary words | bit exact |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in points:
        lines.append(
            f"| {p.rows} | {p.rows * p.lanes:,} | {p.cycles:,} | {p.words:,} | {p.words_per_cycle:.3f} "
            f"| {p.stationary_words:,} "
            f"| {'yes' if p.bit_exact else 'NO'} |"
        )
    why = (
        "Every row holds its stationary vector and sees the same streamed vector, so one read feeds all rows. "
        "The dashed line is what reading a vector for each row would take."
    )
    lines += ["", f"![words per cycle against rows]({PLOT})", "", why]
    return "\n".join(lines) + "\n"


def sweep_rows(request: Request, rows: Sequence[int], folder: Path, stages: Stages, *, command: str) -> str:
    """Build an array for each number of rows, run a block on it, write page and plot into `folder`; return the page.

    Raises
    ------
    InputError, ToolMissing, CompileError, BuildFailed, SimulationFailed
    """
    if not rows or len(set(rows)) != len(rows):
        raise InputError(f"rows must be different numbers, not {list(rows)!r}")
    requests = _requests(request, sorted(rows))
    find_compiler()
    find_verilator()
    check_space(folder, 64 << 20)
    points = []
    for variant in requests:
        stages.say(f"{variant.config.rows} x {variant.config.lanes}", style="bold")
        program, _ = make_program(variant, stages)
        with scratch() as work:
            points.append(_measure(program, stages, work))
    text = page(request, points, command)
    folder.mkdir(parents=True, exist_ok=True)
    plot(points).savefig(folder / PLOT, dpi=150)
    (folder / PAGE).write_text(text, encoding="utf-8")
    return text
