"""What a report says beyond what was counted: layers, energy, worst cases and peers, added to report.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from moesaic.energy.activity import total
from moesaic.flow.energy import calibration_report, energy_report, measured_toggles, unknown_energy
from moesaic.flow.execute import TaskOutcome
from moesaic.flow.layers import LayerWork, layer_works
from moesaic.flow.model_cycles import task_model
from moesaic.flow.peers import peers_report
from moesaic.flow.program import Program
from moesaic.flow.worst import worst_cases

__all__ = ["appraise"]

_ENERGY = ("power_w", "energy_mj_per_frame", "energy_error", "energy")


def _part_cycles(entry: Mapping[str, Any]) -> dict[str, int | None]:
    return {
        "embed": entry["embedding"]["cycles"],
        **{block["name"]: block["cycles"] for block in entry["blocks"]},
        "result": entry["result"]["cycles"],
    }


def _toggles(
    program: Program, outcome: TaskOutcome, before: Mapping[str, int], works: Sequence[LayerWork]
) -> dict[str, float] | None:
    if outcome.rtl is None or not outcome.rtl.mark_counters:
        return None
    done = total(work.activity for work in works)
    lanes = program.request.config.lanes
    bits = lanes * (8 * done.activation_words + 16 * done.normalised)
    return measured_toggles(before, outcome.rtl.mark_counters[-1], stream_bytes=done.stream_bytes, vector_bits=bits)


def appraise(report: dict[str, Any], program: Program, outcomes: Sequence[TaskOutcome]) -> None:
    """Add `layers`, energy and `worst_case` to every task of a report, and to the report those of the first, `peers`
    and `calibration`.

    A run that was not bit exact gets neither energy nor worst cases: it is no measure of anything.

    Parameters
    ----------
    report : dict
        Of `report.numbers`, with `resources`; changed in place.
    program : Program
    outcomes : sequence of TaskOutcome
    """
    request, config = program.request, program.request.config
    before: Mapping[str, int] = {}
    for outcome in outcomes:
        entry = report["tasks"][outcome.task]
        model = task_model(program, outcome.task, ddr_latency=report["ddr"]["latency_cycles"])
        works = layer_works(model, outcome.experts, _part_cycles(entry))
        measured = entry["cycles"] is not None
        if report["bit_exact"]:
            fetched = entry["counters"].get("fetch_bytes", outcome.counters["FETCH_BYTES"])
            entry |= energy_report(
                works,
                report["resources"],
                config,
                request.board_origin,
                instruction_bytes=fetched,
                toggles=_toggles(program, outcome, before, works),
                measured=measured,
            )
            entry["worst_case"] = worst_cases(model, outcome.experts)
        else:
            entry |= unknown_energy("not bit exact: nothing is claimed of this run")
            entry["worst_case"] = {}
        spent = entry["energy"].get("layers_mj", {})
        entry["layers"] = [{**work.to_dict(), "mj": spent.get(work.name)} for work in works]
        if outcome.rtl is not None and outcome.rtl.mark_counters:
            before = outcome.rtl.mark_counters[-1]
    first = report["tasks"][outcomes[0].task]
    report |= {key: first[key] for key in _ENERGY}
    report["worst_case"] = {task: entry["worst_case"] for task, entry in report["tasks"].items()}
    report["calibration"] = calibration_report()
    report["peers"] = peers_report(
        first,
        request.model,
        config,
        request.board_origin,
        report["resources"],
        whole=request.whole and report["bit_exact"],
        widths=report["widths"],
    )
