"""trace.json of a run: the format that viewers ask for, and the sums that the report has."""

import json
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest

from moesaic.report.task_model import ARRAY_STATES
from moesaic.report.trace import TRACE

NEEDED = {  # phase -> fields, as Google's description of the format has them
    "M": {"ph", "pid", "name", "args"},
    "X": {"ph", "pid", "tid", "name", "ts", "dur"},
    "C": {"ph", "pid", "name", "ts", "args"},
}


@pytest.fixture(scope="module")
def trace(measured: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((measured.folder / TRACE).read_text())
    return found


def cycle(microseconds: float) -> int:
    return round(microseconds * 1000)


def test_the_format(trace: dict[str, Any]) -> None:
    assert trace["displayTimeUnit"] == "ns"
    for event in trace["traceEvents"]:
        assert NEEDED[event["ph"]] <= event.keys() <= NEEDED[event["ph"]] | {"tid", "args"}, event
        assert event.get("ts", 0) >= 0 and event.get("dur", 0) >= 0
        if event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())


def test_slices_of_a_track_do_not_overlap(trace: dict[str, Any]) -> None:
    tracks = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    assert len(tracks) == 2 * len({process for process, _ in tracks})
    for events in tracks.values():
        for before, after in pairwise(events):
            assert cycle(before["ts"] + before["dur"]) <= cycle(after["ts"])


def test_sums_are_those_of_the_report(trace: dict[str, Any], measured: Any) -> None:
    names = {e["pid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}
    assert [*names.values()] == [*measured.report["tasks"]]
    for process, name in names.items():
        report = measured.report["tasks"][name]
        mine = [event for event in trace["traceEvents"] if event["pid"] == process]
        parts = {e["name"]: e["args"]["cycles"] for e in mine if e["ph"] == "X" and e["tid"] == 1}
        assert parts == {
            "embed": report["embedding"]["cycles"],
            **{block["name"]: block["cycles"] for block in report["blocks"]},
            "result": report["result"]["cycles"],
        }
        assert sum(parts.values()) == report["cycles"]
        states, moved = Counter[str](), Counter[str]()
        for event in mine:
            if event["ph"] == "C":
                (states if event["name"].startswith("array") else moved).update(event["args"])
        assert states == {state: report["counters"][f"array_{state}"] for state in ARRAY_STATES}
        counters = report["counters"]
        assert moved == {"read": counters["weight_bytes"] + counters["fetch_bytes"], "written": counters["store_bytes"]}
        assert all(value >= 0 for e in mine if e["ph"] == "C" for value in e["args"].values())
        vectors = sum(e["args"]["vectors"] for e in mine if e["ph"] == "X" and e["tid"] == 2)
        assert vectors == report["counters"]["array_busy"]
        last = max(e["args"]["retired"] for e in mine if e["ph"] == "X" and e["tid"] == 2)
        assert abs(last - report["cycles"]) < 0.001 * report["cycles"]
