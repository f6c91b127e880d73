"""A run as a trace that Perfetto and Chrome's viewer open: parts, operations, what the array did, and DDR.

Format: Trace Event Format (Google), JSON with complete, counter and metadata events. A nanosecond of the viewer is a
cycle, whatever the clock is.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from moesaic.compiler.cost import Cost
from moesaic.compiler.memory import IDEAL, DdrTiming
from moesaic.flow.execute import TaskOutcome
from moesaic.flow.model_cycles import task_model
from moesaic.flow.program import Program
from moesaic.report.task_model import ARRAY_STATES

__all__ = ["TRACE", "trace_text"]

TRACE = "trace.json"
_PARTS, _OPERATIONS = 1, 2  # threads
_CYCLE_US = 1e-3
Event = dict[str, Any]


def _named(process: int, name: str) -> Iterator[Event]:
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}}
    for thread, title in ((_PARTS, "parts of the network"), (_OPERATIONS, "operations (analytic model)")):
        yield {"ph": "M", "pid": process, "tid": thread, "name": "thread_name", "args": {"name": title}}


def _slice(process: int, thread: int, name: str, begin: float, end: float, **more: Any) -> Event:
    return {
        "ph": "X",
        "pid": process,
        "tid": thread,
        "name": name,
        "ts": round(begin * _CYCLE_US, 6),
        "dur": round((end - begin) * _CYCLE_US, 6),
        "args": more,
    }


def _parts(process: int, outcome: TaskOutcome, names: Sequence[str]) -> Iterator[Event]:
    """A slice for each part of the network, as the RTL's marks have it."""
    assert outcome.rtl is not None
    before = 0
    counters = outcome.rtl.counters
    ends = [mark["cycles"] for mark in outcome.rtl.mark_counters] + ([counters["cycles"]] if counters else [])
    for name, end in zip([*names, "result"], ends, strict=False):
        yield _slice(process, _PARTS, name, before, end, cycles=end - before)
        before = end


def _operations(process: int, costs: Sequence[Cost]) -> Iterator[Event]:
    """A slice for each operation, from its first vector to the next one's, or until it is retired."""
    starts = [*(cost.start for cost in costs[1:]), costs[-1].end]
    for cost, following in zip(costs, starts, strict=True):
        yield _slice(
            process,
            _OPERATIONS,
            cost.name,
            cost.start,
            max(cost.start, min(cost.end, following)),
            part=cost.part,
            retired=round(cost.end),
            vectors=cost.array_cycles,
            starved=round(cost.starved_cycles),
            blocked=round(cost.blocked_cycles),
            bytes=cost.bytes,
        )


def _windows(outcome: TaskOutcome) -> Iterator[tuple[int, dict[str, int], dict[str, int]]]:
    """First cycle of each window, cycles of the array in each state, and bytes that were moved.

    The last window is what the counters have beyond the recorded ones.
    """
    assert outcome.rtl is not None
    trace, counters, begin = outcome.rtl.trace, outcome.rtl.counters, 0
    all_states, all_moved = Counter[str](), Counter[str]()
    for number, end in enumerate(trace["cycle"]):
        states = {state: int(trace[f"array_{state}"][number]) for state in ARRAY_STATES}
        moved = {kind: int(trace[f"{kind}_bytes"][number]) for kind in ("read", "written")}
        yield begin, states, moved
        all_states.update(states)
        all_moved.update(moved)
        begin = int(end)
    if counters:
        read = counters["weight_bytes"] + counters["fetch_bytes"]
        total = {"read": read, "written": counters["store_bytes"]}
        yield (
            begin,
            {state: counters[f"array_{state}"] - all_states[state] for state in ARRAY_STATES},
            {kind: total[kind] - all_moved[kind] for kind in total},
        )
        yield counters["cycles"], dict.fromkeys(ARRAY_STATES, 0), dict.fromkeys(total, 0)


def _counters(process: int, outcome: TaskOutcome) -> Iterator[Event]:
    """What happened in each window."""
    for begin, states, moved in _windows(outcome):
        at = {"ph": "C", "pid": process, "ts": round(begin * _CYCLE_US, 6)}
        yield {**at, "name": "array, cycles", "args": states}
        yield {**at, "name": "DDR, bytes", "args": moved}


def trace_text(program: Program, outcomes: Sequence[TaskOutcome], ddr: DdrTiming = IDEAL) -> str:
    """The trace of all programs of a run, a process each; without the RTL of the analytic model alone."""
    names = [entry["name"] for entry in program.image.manifest["tensors"]]
    events: list[Event] = []
    for process, outcome in enumerate(outcomes, 1):
        events += _named(process, outcome.task)
        events += _operations(process, task_model(program, outcome.task, ddr=ddr).costs(outcome.experts))
        if outcome.rtl is not None:
            events += _parts(process, outcome, names)
            events += _counters(process, outcome)
    about = {"unit": "a nanosecond is a cycle", "accelerator": program.request.accelerator.name}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns", "otherData": about}, separators=(",", ":"))
