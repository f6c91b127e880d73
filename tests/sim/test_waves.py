"""Waves of a window: they hold what the run counted, views name what is there, and wrong windows are refused."""

import json
import re
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pywellen

from moesaic import job
from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages
from moesaic.hw.control.supervisor import State
from moesaic.hw.spec.config import PRESETS
from moesaic.hw.spec.isa import Opcode, Stream
from moesaic.report.trace import TRACE
from moesaic.sim.rtl import RtlSimulator
from moesaic.sim.rtl_run import CYCLE_NS
from moesaic.sim.tools import ToolMissing
from moesaic.sim.waves import VIEW_FILES, WAVES, Window, check_headers, shown, write_views

QUIET = Stages(quiet=True)


def headers() -> bool:
    try:
        check_headers()
    except ToolMissing:
        return False
    return True


needs_headers = pytest.mark.skipif(not headers(), reason="headers are missing: apt-get install liblz4-dev zlib1g-dev")


@pytest.mark.parametrize(
    "text", ["", "5", "5:", ":5", "5:5", "6:5", "-1:5", "1:2:3", "a:b", "1.5:3", "٣:٤", "1:99999999999"]
)
def test_windows_that_are_none(text: str) -> None:
    message = f"waves must be FROM:TO, cycles of a run, the first below the second, such as 0:2000, not {text!r}"
    with pytest.raises(InputError, match=re.escape(message)):
        Window.parse(text)


def test_a_window() -> None:
    assert Window.parse("100:250") == Window(100, 250)
    assert Window(100, 250).plusargs == ("+waves_from=100", "+waves_to=250")


def micro(out: Path, window: Window, **more: Any) -> Any:
    request = make_request(model="m3vit-micro", board="micro8", blocks=1)
    return job.run(request, Options(out=out, waves=window, **more), QUIET)


def test_what_cannot_be_written_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.flow.run.check_headers", lambda: None)
    with pytest.raises(InputError, match=r"waves must come with --sim rtl: only the RTL has signals"):
        micro(tmp_path / "a", Window(0, 10), rtl=False)
    with pytest.raises(InputError, match=r"waves must come without --saif: each is a simulator of its own"):
        micro(tmp_path / "b", Window(0, 10), saif=True)
    with pytest.raises(InputError, match=r"must have|free|space"):
        micro(tmp_path / "c", Window(0, 9_999_999_999))
    with pytest.raises(
        InputError, match=r"waves must begin before the run of semseg ends, at about cycle [\d,]+, not at 9,"
    ):
        micro(tmp_path / "d", Window(9_000_000, 9_000_010))
    assert not any((tmp_path / name).exists() for name in "abcd")


def test_missing_headers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr("moesaic.sim.waves.find_compiler", lambda: type("C", (), {"executable": compiler})())
    with pytest.raises(ToolMissing, match="type: sudo apt-get install -y liblz4-dev zlib1g-dev"):
        check_headers()


def test_other_runs_have_no_part_in_it() -> None:
    """The test bench of an ordinary run, which decides about its build, knows nothing of waves."""
    config = PRESETS["micro8"]
    plain, traced = (RtlSimulator(config, memory_bytes=1, base=0, waves=waves) for waves in (None, Window(0, 1)))
    assert "waves" not in plain.testbench and "$dump" not in plain.testbench and "$dumpvars" in traced.testbench


def test_views(tmp_path: Path) -> None:
    config = PRESETS["zcu102"]
    write_views(tmp_path, config, ["0 COPY", "1 MATMUL"])
    gtkw, sucl, names, mapping = ((tmp_path / name).read_text() for name in VIEW_FILES)
    signals = [signal for group in shown(config).values() for signal in group]
    assert all(f"\n{signal.ranged}\n" in gtkw and f"variable_add {signal.path}\n" in sucl for signal in signals)
    assert "@2024\n^1 waves-instructions.txt\ntestbench.dut.core.feeder.walk.index[23:0]\n" in gtkw
    assert names == "0 0 COPY\n1 1 MATMUL\n"
    assert mapping == "Name = Moesaic instructions\nBits = 24\n0 0 COPY\n1 1 MATMUL\n"


def steps(variable: Any) -> tuple[list[int], list[int]]:
    """Times and values of a signal's changes."""
    times, values = zip(*variable.tv, strict=True)
    return list(times), [int(value) for value in values]


@needs_headers
def test_a_window_of_a_run(tmp_path: Path) -> None:
    """One block of m3vit-micro on micro8: cycles follow each other, counters are the trace's, words are the tables'."""
    window, out = Window(2_000, 6_000), tmp_path / "out"
    report = micro(out, window)
    assert report.bit_exact
    variables = pywellen.Waveform(str(out / WAVES)).all_vars()
    found = {variable.full_name: variable for variable in variables}
    for signal in [signal for group in shown(PRESETS["micro8"]).values() for signal in group]:
        assert signal.path in found and found[signal.path].bitwidth == signal.bits, signal

    times, cycles = steps(found["testbench.waves_cycle"])
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))
    assert abs(cycles[0] - window.first) <= 1 and abs(cycles[-1] - window.end) <= 1
    assert {after - before for before, after in pairwise(times)} == {1000 * CYCLE_NS}
    assert set(steps(found["testbench.waves_state"])[1]) == {State.RUNNING.value}
    _, instructions = steps(found["testbench.dut.core.feeder.walk.index"])
    names = (out / "waves-instructions.txt").read_text().splitlines()
    assert instructions == list(range(instructions[0], instructions[-1] + 1)) and len(instructions) > 1
    assert instructions[-1] < len(names)
    for name, words in (("opcode", Opcode), ("stream", Stream)):
        shown_as = str(found[f"testbench.waves_feeder_{name}"].enum_type)
        assert all(word.name in shown_as for word in words), shown_as

    # What the array did in every recorded window of cycles that lies inside.
    at = dict(zip(cycles, times, strict=True))
    counters = {name: steps(found[f"testbench.waves_array_{name}"]) for name in ("busy", "starved", "idle")}

    def value(name: str, cycle: int) -> int:
        moments, values = counters[name]
        return values[bisect_right(moments, at[cycle]) - 1]

    events = json.loads((out / TRACE).read_text())["traceEvents"]
    recorded = [event for event in events if event["name"] == "array, cycles"]
    checked = 0
    for event, following in pairwise(recorded):
        begin, end = round(1000 * event["ts"]), round(1000 * following["ts"])
        if begin in at and end in at:
            assert all(value(name, end) - value(name, begin) == event["args"][name] for name in counters), event
            checked += 1
    assert checked >= 10
