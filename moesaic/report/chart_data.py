"""The numbers of each picture of a report, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from moesaic.flow.ablate import AblationRow
from moesaic.flow.energy import EnergyReport
from moesaic.flow.peers import Peer
from moesaic.flow.resources import ReportedResources
from moesaic.flow.worst import WorstCase
from moesaic.hw.spec.units import unit_called
from moesaic.report.plots import ZOOMED, coarse
from moesaic.report.table import Cell, Table
from moesaic.report.task_model import ARRAY_STATES, ArrayStates, BlockReport, LayerReport

__all__ = [
    "ablation",
    "block_cycles",
    "block_quality",
    "energy",
    "expert_tokens",
    "peers",
    "resources",
    "roofline",
    "timeline",
    "worst_cases",
]


def block_cycles(parts: Sequence[tuple[str, ArrayStates]], model: Sequence[int]) -> Table:
    """What the array did in each part, cycles; and what the analytic model says of the part."""
    return Table(
        ("part", *ARRAY_STATES, "model_cycles"),
        tuple(
            (name, *(getattr(array, state) for state in ARRAY_STATES), expected)
            for (name, array), expected in zip(parts, model, strict=True)
        ),
    )


def timeline(trace: Mapping[str, Any], counters: Mapping[str, int]) -> Table:
    """Counts in windows of cycles, as many as the page zooms into; the last is what the counters have beyond those."""
    units = (*(f"array_{state}" for state in ARRAY_STATES), "loader_busy", "read_bytes", "written_bytes")
    found = {name: values.tolist() for name, values in coarse(trace, ZOOMED).items()}
    moved = {
        "read_bytes": counters["weight_bytes"] + counters["fetch_bytes"],
        "written_bytes": counters["store_bytes"],
    }
    for unit in units:
        found[unit].append({**counters, **moved}[unit] - sum(found[unit]))
    ends = [*found["cycle"], counters["cycles"]]
    counts = zip(*(found[unit] for unit in units), strict=True)
    return Table(
        ("first_cycle", "end_cycle", *units),
        tuple((first, end, *row) for first, end, row in zip([0, *ends[:-1]], ends, counts, strict=True)),
    )


def roofline(layers: Sequence[LayerReport], macs_per_cycle: int, bytes_per_cycle: int) -> Table:
    """Layers with the roof above each: what multipliers and DDR allow for its bytes."""

    def row(layer: LayerReport) -> tuple[Cell, ...]:
        reached = layer.macs / layer.cycles if layer.cycles else None
        if not layer.bytes:
            return layer.name, layer.macs, 0, layer.cycles, None, reached, macs_per_cycle
        intensity = layer.macs / layer.bytes
        roof = min(macs_per_cycle, bytes_per_cycle * intensity)
        return layer.name, layer.macs, layer.bytes, layer.cycles, intensity, reached, roof

    columns = ("layer", "macs", "bytes", "cycles", "macs_per_byte", "macs_per_cycle", "roof_macs_per_cycle")
    return Table(columns, tuple(map(row, layers)))


def energy(spent: EnergyReport, layers: Sequence[LayerReport], error: float) -> Table:
    """An image's energy, once by unit and once by layer, with the least and the most that it may be."""
    units = [("static", spent.static_mj), *spent.units_mj.items()]
    rows: list[tuple[Cell, ...]] = [("unit", name, mj, (1 - error) * mj, (1 + error) * mj) for name, mj in units]
    rows.append(("unit", "DDR", spent.ddr_mj, spent.ddr_least_mj, spent.ddr_mj))
    rows += [("layer", layer.name, layer.mj, None, None) for layer in layers if layer.mj is not None]
    return Table(("by", "name", "mj", "least_mj", "most_mj"), tuple(rows))


def resources(found: ReportedResources) -> Table:
    """Every unit's share of the board, for each kind of resource."""
    budget = found.budget.to_dict()

    def rows(unit: str) -> list[tuple[Cell, ...]]:
        amounts, group = found.units[unit].to_dict(), unit_called(unit).group.value
        return [
            (kind, unit, group, amount, budget[kind], 100 * amount / budget[kind] if budget[kind] else None)
            for kind, amount in amounts.items()
        ]

    lines = sorted((row for unit in found.units for row in rows(unit)), key=lambda row: list(budget).index(str(row[0])))
    return Table(("kind", "unit", "group", "amount", "board", "percent"), tuple(lines))


def worst_cases(cases: Mapping[str, Mapping[str, WorstCase]]) -> Table:
    """Ways of routing with their cycles, and how many more those are than for the image's own."""
    return Table(
        ("task", "routing", "title", "cycles", "more_cycles", "latency_ms", "bytes"),
        tuple(
            (task, name, case.title, case.cycles, case.cycles - mine["real"].cycles, case.latency_ms, case.bytes)
            for task, mine in cases.items()
            for name, case in mine.items()
        ),
    )


def peers(rows: Sequence[Peer]) -> Table:
    """Accelerators that have a point: those whose time and energy are known."""
    return Table(
        ("name", "board", "model", "image", "ours", "ms", "ms_is", "mj", "mj_is", "mj_error"),
        tuple(
            (row.name, row.board, row.model, row.image, row.ours, row.ms, row.ms_is, row.mj, row.mj_is, row.mj_error)
            for row in rows
            if row.ms is not None and row.mj is not None
        ),
    )


def expert_tokens(rows: Sequence[tuple[str, Sequence[int]]]) -> Table:
    """Tokens of each expert of each block."""
    return Table(
        ("block", "expert", "tokens"),
        tuple((name, expert, count) for name, tokens in rows for expert, count in enumerate(tokens)),
    )


def block_quality(blocks: Sequence[BlockReport]) -> Table:
    """Integers against float after each block; the share of tokens with the same experts is between 0 and 1."""
    return Table(
        ("block", "sqnr_db", "cosine", "same_experts"),
        tuple((block.name, block.sqnr_db, block.cosine, block.routing_agreement) for block in blocks),
    )


def ablation(rows: Sequence[AblationRow]) -> Table:
    """Variants with their cycles and bytes, and how many times those of the first they are."""
    spent = [row.cycles or row.model_cycles for row in rows]
    return Table(
        ("variant", "title", "cycles", "model_cycles", "bytes_read", "times_cycles", "times_bytes"),
        tuple(
            (
                row.name,
                row.title,
                row.cycles,
                row.model_cycles,
                row.bytes_read,
                cycles / spent[0],
                row.bytes_read / rows[0].bytes_read,
            )
            for row, cycles in zip(rows, spent, strict=True)
        ),
    )
