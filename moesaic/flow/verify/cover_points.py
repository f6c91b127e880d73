"""Cover points of exported Verilog: what every stream, queue, state machine and error must have met.

They follow from names that the design gives: a stream's `valid` and `ready`, a queue's `level` and `storage`, the
registers `in_STATE` and wires `STATE_to_STATE` of a state machine, the supervisor's report.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from moesaic.hw.control.errors import ErrorReport
from moesaic.hw.spec.registers import ErrorCode, ErrorUnit
from moesaic.hw.verilog import verilog_modules

__all__ = ["ERRORS", "PREFIX", "cover_points", "with_cover_points"]

PREFIX = "cover_"  # of labels, which may not be names of signals
_CLOCK = "testbench.aclk"
_END = "endmodule"
_VALID, _READY = "valid", "ready"
_PORT = re.compile(r"^  (input|output) (?:\[\d+:\d+\] )?(\S+);", re.MULTILINE)
_STORAGE = re.compile(r"^  reg (?:\[\d+:\d+\] )?storage \[(\d+):0\];", re.MULTILINE)
_LEVEL = re.compile(r"^  reg (?:\[\d+:\d+\] )?level\b", re.MULTILINE)
_STATE = re.compile(r"^  reg in_(\w+)\b", re.MULTILINE)
_WAY = re.compile(r"^  (?:reg|wire) (\w+?)_to_(\w+);", re.MULTILINE)
_SUPERVISOR = "moesaic_supervisor"

# What each unit may report.
ERRORS: Mapping[ErrorUnit, tuple[ErrorCode, ...]] = {
    ErrorUnit.CONTROL: (ErrorCode.WATCHDOG, ErrorCode.HOST_ABORT),
    ErrorUnit.FETCH: (ErrorCode.ADDRESS_RANGE, ErrorCode.FETCH_SLVERR, ErrorCode.FETCH_DECERR),
    ErrorUnit.LOAD: (
        *(ErrorCode.BAD_OPCODE, ErrorCode.BAD_FIELD, ErrorCode.ADDRESS_RANGE),
        *(ErrorCode.READ_SLVERR, ErrorCode.READ_DECERR),
    ),
    ErrorUnit.COMPUTE: (ErrorCode.BAD_OPCODE, ErrorCode.BAD_FIELD, ErrorCode.MEMORY_RANGE, ErrorCode.HAZARD),
    ErrorUnit.STORE: (
        *(ErrorCode.BAD_OPCODE, ErrorCode.BAD_FIELD, ErrorCode.ADDRESS_RANGE, ErrorCode.RESULT_RANGE),
        *(ErrorCode.WRITE_SLVERR, ErrorCode.WRITE_DECERR),
    ),
}


def _streams(text: str) -> Iterator[tuple[str, str]]:
    """Each stream moves, waits and starves; where one goes in and one out, both wait at once."""
    ports = {name: direction for direction, name in _PORT.findall(text)}
    ends: dict[str, list[str]] = {"input": [], "output": []}
    for port, direction in ports.items():
        stream = port.removesuffix(_VALID)
        if port != stream and stream + _READY in ports:
            valid, ready, name = port, stream + _READY, stream.rstrip("_")
            ends[direction].append(f"{valid} & ~{ready}")
            yield f"{name}_moves", f"{valid} & {ready}"
            yield f"{name}_waits", ends[direction][-1]
            yield f"{name}_starves", f"~{valid} & {ready}"
    if len(ends["input"]) == len(ends["output"]) == 1:
        yield "both_wait", f"{ends['input'][0]} & {ends['output'][0]}"


def _queue(text: str) -> Iterator[tuple[str, str]]:
    """A queue is empty, and full."""
    storage = _STORAGE.search(text)
    if storage is not None and _LEVEL.search(text):
        yield "empty", "level == 0"
        yield "full", f"level == {int(storage[1]) + 1}"


def _machine(text: str) -> Iterator[tuple[str, str]]:
    """A state machine is in each state, and leaves it each way."""
    states = set(_STATE.findall(text))
    if len(states) == 1:  # a register of that name by chance
        return
    for state in sorted(states):
        yield f"state_{state}", f"in_{state}"
    for start, end in _WAY.findall(text):
        if {start, end} <= states and start != end:
            yield f"arc_{start}_to_{end}", f"in_{start} & {start}_to_{end}"


def _errors() -> Iterator[tuple[str, str]]:
    """Each unit reports each of its errors."""
    fields = dict(ErrorReport)

    def part(name: str) -> str:
        return f"report[{fields[name].offset}+:{fields[name].width}]"

    for unit, codes in ERRORS.items():
        for code in codes:
            is_it = f"{part('code')} == {code.value} & {part('unit')} == {unit.value}"
            yield f"error_{unit.name.lower()}_{code.name.lower()}", is_it


def cover_points(name: str, text: str) -> dict[str, str]:
    """Conditions of one module's Verilog that some cycle must meet, by label."""
    found = [*_streams(text), *_queue(text), *_machine(text)]
    if name == _SUPERVISOR:
        found += _errors()
    return dict(found)


def with_cover_points(verilog: str, modules: Collection[str]) -> str:
    """The text with statements that count them in some of its modules, for a simulation whose top is `testbench`."""
    for name, text in verilog_modules(verilog).items():
        points = cover_points(name, text) if name in modules else {}
        lines = [f"  {PREFIX}{label}: cover property (@(posedge {_CLOCK}) {met});\n" for label, met in points.items()]
        before, end, after = text.rpartition(_END)
        verilog = verilog.replace(text, "".join((before, *lines, end, after)))
    return verilog
