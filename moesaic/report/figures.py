"""Which pictures a report has, each drawn once: the page embeds them, the folder holds them as files."""

from collections.abc import Iterator
from typing import Any

from moesaic.flow.peers import OTHERS_MODEL
from moesaic.report import chart_data, charts, plots
from moesaic.report.chart import Chart
from moesaic.report.model import Report
from moesaic.report.task_model import TaskReport

__all__ = ["common_charts", "marks", "task_charts", "trace_of"]


def trace_of(task: str, data: dict[str, Any]) -> dict[str, Any]:
    """Counts by window of cycles; empty if there are none."""
    prefix = f"{task}/trace/"
    found = {name.removeprefix(prefix): values for name, values in data.items() if name.startswith(prefix)}
    return found if len(found.get("cycle", ())) else {}


def marks(task: str, entry: TaskReport, data: dict[str, Any]) -> list[tuple[str, int]]:
    """Ends of the parts of the network, cycles."""
    names = ["embed", *(block.name for block in entry.blocks)]
    return list(zip(names, (int(mark) for mark in data[f"{task}/marks"]), strict=True))


def _measured(task: str, report: Report, data: dict[str, Any]) -> Iterator[Chart]:
    """What the RTL counted."""
    entry, read = report.tasks[task], report.ddr.bytes_per_cycle
    parts = [("embed", entry.embedding.array), *((block.name, block.array) for block in entry.blocks)]
    counted = [(name, array) for name, array in (*parts, ("result", entry.result.array)) if array is not None]
    model = [entry.model_cycles[name].cycles for name, _ in counted]
    drawn = plots.block_cycles(counted, model)
    yield Chart("cycles", f"{task}-cycles", drawn, chart_data.block_cycles(counted, model))
    trace = trace_of(task, data)
    if trace and entry.cycles is not None:
        drawn = plots.timeline(trace, marks(task, entry, data), read)
        yield Chart("timeline", f"{task}-timeline", drawn, chart_data.timeline(trace, entry.counters))


def task_charts(task: str, report: Report, data: dict[str, Any]) -> Iterator[Chart]:
    """Pictures of one task."""
    entry, accelerator = report.tasks[task], report.accelerator
    layers = entry.layers
    claimed = entry.bit_exact and report.bit_exact
    if claimed and entry.array is not None:
        yield from _measured(task, report, data)
    if claimed:
        if any(layer.bytes for layer in layers):
            roof = (layers, accelerator.rows * accelerator.lanes, report.ddr.bytes_per_cycle)
            yield Chart("roofline", f"{task}-roofline", charts.roofline(*roof), chart_data.roofline(*roof))
        if entry.energy is not None:
            spent = (entry.energy, layers, entry.energy_error)
            yield Chart("energy", f"{task}-energy", charts.energy(*spent), chart_data.energy(*spent))
    if entry.tokens_per_expert:
        rows = list(entry.tokens_per_expert.items())
        yield Chart("experts", f"{task}-experts", plots.expert_tokens(rows), chart_data.expert_tokens(rows))
    if not report.not_compared:
        blocks = entry.blocks
        yield Chart("quality", f"{task}-quality", plots.block_quality(blocks), chart_data.block_quality(blocks))


def common_charts(report: Report) -> Iterator[Chart]:
    """Pictures that are there once."""
    if report.ablation is not None:
        rows = report.ablation.variants
        yield Chart("ablation", "ablation", plots.ablation(rows), chart_data.ablation(rows))
    found = report.resources
    yield Chart("resources", "resources", charts.resources(found), chart_data.resources(found))
    cases = {task: entry.worst_case for task, entry in report.tasks.items() if entry.worst_case}
    if cases and report.bit_exact:
        yield Chart("worst", "worst-case", charts.worst_cases(cases), chart_data.worst_cases(cases))
    alike = [
        row for row in report.peers if row.batch == 1 and (not row.ours or row.model == OTHERS_MODEL)
    ]  # nothing else compares
    if report.bit_exact and any(row.ours for row in alike):
        yield Chart("peers", "peers", charts.peers(alike), chart_data.peers(alike))
