"""What `moesaic run` says at the end: a few lines on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesaic.compiler.memory import BOARD_MEMORY
from moesaic.report.doubts import excessive
from moesaic.report.likeness import in_words
from moesaic.report.model import Report
from moesaic.report.task_model import TaskReport
from moesaic.terminal import result_console

__all__ = ["print_summary"]


_SHOWN = 4  # tensors that saturated, of each task
_SEPARATE = "--separate"
_NOT_MEASURED = ("–",) * 4


def _named(entry: TaskReport) -> str:
    return "one image" if len(entry.items) == 1 else f"{len(entry.items)} items"


def _measured(entry: TaskReport) -> tuple[str, ...]:
    """Cycles, share of the roofline, milliseconds, and how much of the time the array works."""
    if entry.cycles is None or entry.array is None:
        return _NOT_MEASURED
    return (
        f"{entry.cycles:,}",
        f"{entry.roofline.fraction:.2f}",
        f"{entry.latency_ms:.3f}",
        f"{100 * entry.array.busy / entry.cycles:.1f} %",
    )


def _print_saturation(console: Console, report: Report) -> None:
    """Tensors of which more values had no room than are expected to."""
    for task, entry in report.tasks.items():
        found = excessive(entry.saturation)
        for tensor in found[:_SHOWN]:
            console.print(f"[yellow]{escape(task)}, saturated:[/] {escape(tensor.in_words)}")
        if len(found) > _SHOWN:
            console.print(f"[yellow]{escape(task)}, saturated:[/] {len(found) - _SHOWN} more tensors, see the report")


def _print_conditions(console: Console, report: Report) -> None:
    """Memory and clock: what the cycles would be with an ideal one, and what the milliseconds are worth."""
    if report.memory == BOARD_MEMORY:
        ideal = " and ".join(f"{entry.cycles_ideal:,}" for entry in report.tasks.values())
        memory = f"as {report.memory_of} has it; with an ideal one {ideal} cycles by the analytic model"
    else:
        memory = "ideal: a beat for every port in every cycle"
    console.print(f"memory: {memory}", markup=False)
    console.print(f"ms at {report.clock_mhz:g} MHz, {report.timing.support}", markup=False)


def print_summary(report: Report, folder: Path) -> None:
    """Verdict, a line for each task, what differs, and where the page is."""
    console = result_console(width=100, soft_wrap=True)
    exact = report.bit_exact
    verdict = "[bold green]true[/]" if exact else "[bold red]false[/]"
    console.print(f"bit_exact: {verdict}   {(' = ' if exact else ', ').join(report.compared)}")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("task", "bit exact", "cycles", "of roofline", "ms", "array busy", "weights read", "worst SQNR"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, entry in report.tasks.items():
        worst = min((block.sqnr_db for block in entry.blocks if block.sqnr_db is not None), default=None)
        table.add_row(
            escape(task),
            "yes" if entry.bit_exact else "NO",
            *(_measured(entry) if exact else _NOT_MEASURED),
            "–" if entry.weight_bytes_read is None else f"{entry.weight_bytes_read / 1e6:.2f} MB",
            "–" if worst is None else f"{worst:.1f} dB",
        )
    console.print(table)
    _print_conditions(console, report)
    for entry in report.tasks.values():
        if len(entry.items) > 1 and entry.cycles_per_item is not None and exact:
            console.print(f"{len(entry.items)} items at once: {entry.cycles_per_item:,.0f} cycles for each")
        if entry.apart_cycles is not None and entry.estimated_cycles is not None:
            saved = 1 - entry.estimated_cycles / entry.apart_cycles
            console.print(
                f"tasks at once save {100 * saved:.0f} % of the cycles that they take one after the other, by the "
                f"compiler's estimates: {entry.estimated_cycles:,} of {entry.apart_cycles:,} ({_SEPARATE} runs them so)"
            )
    for task, entry in report.tasks.items():
        for difference in entry.differences[:4]:
            console.print(f"[red]{escape(task)}, {difference.models}:[/] {escape(difference.text)}")
        if entry.error:
            console.print(f"[red]{escape(task)}:[/] {escape(entry.error.text)}")
        for rule in entry.violations:
            console.print(f"[red]{escape(task)}, AXI4:[/] {escape(rule)}")
    _print_saturation(console, report)
    energy = report.first.energy
    if exact and energy is not None:
        console.print(
            f"energy, estimated: {energy.chip_mj:.2f} mJ ± {100 * report.first.energy_error:.0f} % on chip, "
            f"{energy.ddr_least_mj:.2f} to {energy.ddr_mj:.2f} mJ in DDR, for {_named(report.first)}"
        )
    for task, lines in report.outputs.items():
        for line in lines:
            largest = "" if line.largest is None else f", largest at {line.largest[0]} (float: {line.largest[1]})"
            console.print(
                f"{task}: output {line.output} of the module {list(line.shape)}: {in_words(line)} to float{largest}",
                markup=False,
            )
    for row in report.finer:
        console.print(f"finer: {row.in_words}", markup=False)
    if report.recentred:
        console.print(
            "norms: RMSNorm in place of LayerNorm; saves no cycle, as the mean is computed beside the variance"
        )
    if report.shared_bytes:
        console.print(
            f"weights: layers share matrices, stored once; saves {report.shared_bytes / 1e6:.2f} MB of memory"
        )
    if report.weights == "seeded":
        console.print("weights: seeded, not trained")
    elif report.weights == "partly seeded":
        drawn = len(report.imported.filled) if report.imported is not None else "some"
        console.print(f"[yellow]weights: partly seeded[/]; {drawn} tensors of experts were missing and are random")
    console.print(f"report: {folder / 'report.html'}", markup=False)
