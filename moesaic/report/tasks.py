"""What the report says of one task, each number from a counter, a comparison, the analytic model or a formula."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from moesaic.compiler.batch import Item
from moesaic.compiler.cost import part_cycles
from moesaic.compiler.memory import IDEAL_MEMORY
from moesaic.energy.activity import total
from moesaic.energy.model import Toggles
from moesaic.flow.energy import RunEnergy, measured_toggles, run_energy, unknown_energy
from moesaic.flow.execute import TaskOutcome
from moesaic.flow.layers import LayerWork, layer_works
from moesaic.flow.model_cycles import TaskModel, task_model
from moesaic.flow.program import Program
from moesaic.flow.run import Outcome
from moesaic.flow.worst import WorstCase, worst_cases
from moesaic.report.doubts import saturated
from moesaic.report.numbers import array_products, needed_weight_bytes, roofline
from moesaic.report.task_model import (
    ARRAY_STATES,
    ArrayStates,
    BlockReport,
    DifferenceReport,
    EmbeddingReport,
    ItemReport,
    LayerReport,
    ModelCycles,
    PartReport,
    ResultReport,
    Stop,
    TaskReport,
)

__all__ = ["task_reports"]

_RULES = (
    "burst crosses 4 KiB",
    "burst outside the memory",
    "valid withdrawn or payload changed",
    "WLAST on a wrong beat",
    "too many bursts in flight",
    "burst not incrementing, not of full width, or not aligned",
)
_NOT_COUNTED = PartReport()


def _array(after: Mapping[str, int], before: Mapping[str, int]) -> ArrayStates:
    return ArrayStates(**{state: after[f"array_{state}"] - before.get(f"array_{state}", 0) for state in ARRAY_STATES})


def _between(before: Mapping[str, int], after: Mapping[str, int], read_before: int) -> PartReport:
    """What happened between two marks."""
    return PartReport(
        cycles=after["cycles"] - before.get("cycles", 0),
        bytes_read=after["read_bytes"] - (before["read_bytes"] if before else read_before),
        array=_array(after, before),
    )


def _fetched(counters: Mapping[str, int]) -> int:
    """Bytes that a run has read."""
    return counters["weight_bytes"] + counters["fetch_bytes"] if counters else 0


def _parts(outcome: TaskOutcome, names: Sequence[str], read_before: int) -> dict[str, PartReport]:
    """Measured cycles and bytes by part of the network; empty without RTL."""
    parts: dict[str, PartReport] = {}
    if outcome.rtl is None:
        return parts
    before: Mapping[str, int] = {}
    for name, after in zip(names, outcome.rtl.mark_counters, strict=False):
        parts[name] = _between(before, after, read_before)
        before = after
    counters = outcome.rtl.counters
    if counters and before:  # from the last block to the interrupt
        parts["result"] = _between(before, {**counters, "read_bytes": read_before + _fetched(counters)}, read_before)
    return parts


def _model_cycles(model: TaskModel, outcome: TaskOutcome, measured: Mapping[str, int | None]) -> dict[str, ModelCycles]:
    """The analytic model's cycles beside the measured ones: of the image, and by part of the network."""
    parts = part_cycles(model.costs(outcome.experts))
    rows = {"image": sum(parts.values()), **parts}

    def error(name: str) -> float | None:
        cycles = measured.get(name)
        return round(rows[name] / cycles - 1, 5) + 0.0 if cycles else None  # + 0.0: no minus before a zero

    return {name: ModelCycles(round(cycles), error(name)) for name, cycles in rows.items()}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _blocks(
    outcome: TaskOutcome, names: Sequence[str], parts: Mapping[str, PartReport], macs: Mapping[str, int]
) -> tuple[BlockReport, ...]:
    wrong = {difference.mismatch.name for difference in outcome.differences}
    rows = []
    for name, quality in zip(names[1:], outcome.agreement, strict=True):
        tokens, part = outcome.experts.get(name), parts.get(name, _NOT_COUNTED)
        rows.append(
            BlockReport(
                name=name,
                kind=quality["kind"],
                cycles=part.cycles,
                bytes_read=part.bytes_read,
                array=part.array,
                macs=macs[name],
                sqnr_db=_finite(quality["sqnr_db"]),
                cosine=_finite(quality["cosine"]),
                routing_agreement=_finite(quality["routing_agreement"]),
                bit_exact=name not in wrong,
                experts_used=None if tokens is None else sum(count > 0 for count in tokens),
                tokens_per_expert=None if tokens is None else tuple(tokens),
            )
        )
    return tuple(rows)


def _units(counters: Mapping[str, int]) -> dict[str, dict[str, int]]:
    if not counters:
        return {}
    loader = {state: counters[f"loader_{state}"] for state in ("busy", "starved", "blocked")}
    return {
        "array": {state: counters[f"array_{state}"] for state in ARRAY_STATES},
        "loader": {
            **loader,
            "idle": counters["cycles"] - sum(loader.values()),
            "queue_blocked_by_router": counters["load_blocked_router"],
            "queue_blocked_by_space": counters["load_blocked_space"],
        },
    }


def _violations(outcome: TaskOutcome) -> tuple[str, ...]:
    if outcome.rtl is None:
        return ()
    mask = outcome.rtl.violations["mask"]
    where = f"port {outcome.rtl.violations['port']}, address {outcome.rtl.violations['address']:#x}"
    return tuple(f"{rule} ({where})" for bit, rule in enumerate(_RULES) if mask >> bit & 1)


def _counted(outcome: TaskOutcome, name: str) -> int | None:
    """A counter of the RTL (None after an error), or of the functional simulator if there was no RTL."""
    return outcome.counters[name] if outcome.rtl is None else outcome.rtl.counters.get(name.lower())


def _differences(outcome: TaskOutcome) -> tuple[DifferenceReport, ...]:
    return tuple(
        DifferenceReport(
            models=found.models,
            tensor=found.mismatch.name,
            token=found.mismatch.token,
            channel=found.mismatch.channel,
            got=found.mismatch.got,
            expected=found.mismatch.expected,
            count=found.mismatch.count,
            text=found.text,
        )
        for found in outcome.differences
    )


def _toggles(lanes: int, outcome: TaskOutcome, before: Mapping[str, int], works: Sequence[LayerWork]) -> Toggles | None:
    if outcome.rtl is None or not outcome.rtl.mark_counters:
        return None
    done = total(work.activity for work in works)
    bits = lanes * (8 * done.activation_words + 16 * done.normalised)
    return measured_toggles(before, outcome.rtl.mark_counters[-1], stream_bytes=done.stream_bytes, vector_bits=bits)


def _energy(run: Outcome, outcome: TaskOutcome, before: Mapping[str, int], works: Sequence[LayerWork]) -> RunEnergy:
    request = run.program.request
    counters: Mapping[str, int] = {} if outcome.rtl is None else outcome.rtl.counters
    found = run_energy(
        works,
        run.resources,
        run.conditions.clocked(request.accelerator),
        request.board_origin,
        instruction_bytes=counters.get("fetch_bytes", outcome.counters["FETCH_BYTES"]),
        toggles=_toggles(request.accelerator.lanes, outcome, before, works),
        measured=bool(counters),
    )
    if found.energy_mj_per_frame is None:
        return found
    images = len({item.image for item in outcome.items})
    return dataclasses.replace(found, energy_mj_per_frame=round(found.energy_mj_per_frame / images, 6))


def _layers(works: Sequence[LayerWork], energy: RunEnergy) -> tuple[LayerReport, ...]:
    spent: Mapping[str, float] = {} if energy.energy is None else energy.energy.layers_mj
    return tuple(
        LayerReport(
            name=work.name,
            part=work.part,
            macs=work.macs,
            bytes=work.activity.stream_bytes,
            array_cycles=work.activity.vectors,
            cycles=round(work.cycles, 1),
            mj=spent.get(work.name),
        )
        for work in works
    )


def _macs(program: Program, outcome: TaskOutcome, works: Sequence[LayerWork]) -> dict[str, int]:
    """Multiply-accumulates of the embedding and of each block: of several items what their program does, which is less
    than each by itself where they have something in common.
    """
    network, blocks = program.request.model, program.request.blocks
    if len(outcome.items) == 1:
        return {"embed": network.embed_macs, **{f"blocks.{n}": network.block_macs(n) for n in range(blocks)}}
    found: dict[str, int] = {}
    for work in works:
        found[work.part] = found.get(work.part, 0) + work.macs
    return found


def _items(outcome: TaskOutcome, cycles: int | None) -> tuple[ItemReport, ...]:
    wrong = {found.item for found in outcome.differences}
    return tuple(
        ItemReport(item.image, item.task, cycles, item not in wrong and None not in wrong) for item in outcome.items
    )


def _apart(program: Program, outcome: TaskOutcome) -> int | None:
    """Cycles that the compiler expects of a program for each task."""
    tasks = dict.fromkeys(item.task for item in outcome.items)
    return None if len(tasks) == 1 else sum(program.estimate[task] for task in tasks)


def _measured(counters: Mapping[str, int], clock_mhz: float, items: Sequence[Item]) -> dict[str, Any]:
    """Cycles, also of an item, time of a run and images a second; None where nothing was counted."""
    cycles = counters.get("cycles")
    milliseconds = None if cycles is None else cycles / (1000 * clock_mhz)
    images = len({item.image for item in items})
    return {
        "cycles": cycles,
        "cycles_per_item": None if cycles is None else round(cycles / len(items), 1),
        "latency_ms": None if milliseconds is None else round(milliseconds, 6),
        "fps": None if not milliseconds else round(1000 * images / milliseconds, 3),
    }


def _ideal(run: Outcome, model: TaskModel, outcome: TaskOutcome, counters: Mapping[str, int]) -> dict[str, Any]:
    """Cycles with an ideal memory: counted, if that was simulated; otherwise by the analytic model."""
    cycles = counters.get("cycles")
    if run.conditions.memory == IDEAL_MEMORY and cycles is not None:
        return {"cycles_ideal": cycles, "cycles_ideal_is": "rtl"}
    costs = dataclasses.replace(model, ddr=run.conditions.ideal).costs(outcome.experts)
    return {"cycles_ideal": round(max(cost.end for cost in costs)), "cycles_ideal_is": "model"}


def _task_report(
    run: Outcome, outcome: TaskOutcome, previous: TaskOutcome | None, read_before: int, *, claimed: bool
) -> TaskReport:
    program, request = run.program, run.program.request
    network, clocked = request.model, run.conditions.clocked(request.accelerator)
    names = [entry["name"] for entry in program.image.manifest["tensors"]]
    counters: Mapping[str, int] = {} if outcome.rtl is None else outcome.rtl.counters
    parts = _parts(outcome, names, read_before)
    counted = {name: part.cycles for name, part in parts.items()}
    used = {name: sum(count > 0 for count in tokens) for name, tokens in outcome.experts.items()}
    needed = needed_weight_bytes(network, request.blocks, used, expert_bits=request.expert_bits)
    wrong = {difference.mismatch.name for difference in outcome.differences}
    model = dataclasses.replace(task_model(program, outcome.task, ddr=run.conditions.ddr), accelerator=clocked)
    works = layer_works(model, outcome.experts, counted)
    before = {} if previous is None or previous.rtl is None else (previous.rtl.mark_counters or [{}])[-1]
    energy = _energy(run, outcome, before, works) if claimed else unknown_energy()
    macs = _macs(program, outcome, works)
    alone = network.embed_macs + sum(network.block_macs(number) for number in range(request.blocks))
    cases: dict[str, WorstCase] = worst_cases(model, outcome.experts) if claimed else {}
    embedding, result = parts.get("embed", _NOT_COUNTED), parts.get("result", _NOT_COUNTED)
    blocks = _blocks(outcome, names, parts, macs)
    return TaskReport(
        task=outcome.task,
        items=_items(outcome, counters.get("cycles")),
        apart_cycles=_apart(program, outcome),
        bit_exact=not outcome.differences,
        mismatches=sum(found.mismatch.count for found in outcome.differences),
        differences=_differences(outcome),
        error=None if outcome.rtl is None or outcome.rtl.error is None else Stop(**outcome.rtl.error),
        estimated_cycles=program.estimate.get(outcome.task),
        model_cycles=_model_cycles(model, outcome, {"image": counters.get("cycles"), **counted}),
        macs=sum(macs.values()),
        weight_bytes=needed,
        weight_bytes_read=_counted(outcome, "WEIGHT_BYTES"),
        speculated_bytes_dropped=_counted(outcome, "SPECULATED_BYTES_DROPPED"),
        roofline=roofline(
            array_products(network, request.blocks, expert_bits=request.expert_bits) * sum(macs.values()) // alone,
            needed,
            macs_per_cycle=clocked.macs_per_cycle,
            bytes_per_cycle=run.conditions.ddr.bytes_per_cycle(clocked),
            cycles=counters.get("cycles"),
        ),
        **_measured(counters, clocked.clock_mhz, outcome.items),
        **_ideal(run, model, outcome, counters),
        embedding=EmbeddingReport(**vars(embedding), macs=macs["embed"], bit_exact="embed" not in wrong),
        blocks=blocks,
        result=ResultReport(**vars(result), bit_exact="output" not in wrong),
        layers=_layers(works, energy),
        units=_units(counters),
        array=_array(counters, {}) if counters else None,
        experts_used=used,
        tokens_per_expert={name: tuple(tokens) for name, tokens in outcome.experts.items()},
        speculated_experts=program.image.task(outcome.task)["speculated"],
        counters=dict(counters),
        violations=_violations(outcome),
        saturation=saturated(outcome),
        **vars(energy),
        worst_case=cases,
    )


def task_reports(run: Outcome) -> dict[str, TaskReport]:
    """Of all tasks, in the order in which they ran. A run that was not bit exact gets neither energy nor worst cases:
    it is no measure of anything.
    """
    claimed = not any(outcome.differences or _violations(outcome) for outcome in run.tasks)
    reports, read_before, previous = {}, 0, None
    for outcome in run.tasks:
        reports[outcome.task] = _task_report(run, outcome, previous, read_before, claimed=claimed)
        read_before += _fetched(reports[outcome.task].counters)
        if outcome.rtl is not None and outcome.rtl.mark_counters:
            previous = outcome
    return reports
