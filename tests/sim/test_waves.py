"""Waves of a window: they hold what the run counted, views name what is there, and wrong windows are refused."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywellen

from moesaic import job
from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages
from moesaic.golden.numerics import IntArray
from moesaic.hw.control.supervisor import State
from moesaic.hw.spec.isa import Opcode, Stream
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.build import build
from moesaic.sim.rtl import RtlSimulator
from moesaic.sim.rtl_run import CYCLE_NS
from moesaic.sim.tools import ToolMissing
from moesaic.sim.waves import VIEW_FILES, WAVES, Window, check_headers, counted, shown, write_views

QUIET = Stages(quiet=True)
INDEX = "testbench.dut.core.feeder.walk.index"


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
    write_views(tmp_path, config, ["0 COPY", "1 MATMUL"], ["0 class token"])
    gtkw, sucl, instructions, tokens, *mappings = ((tmp_path / name).read_text() for name in VIEW_FILES)
    signals = [signal for group in shown(config).values() for signal in group]
    assert all(f"\n{signal.ranged}\n" in gtkw and f"variable_add {signal.path}\n" in sucl for signal in signals)
    assert "@2024\n^1 waves-instructions.txt\ntestbench.dut.core.feeder.walk.index[23:0]\n" in gtkw
    assert "@2024\n^2 waves-tokens.txt\ntestbench.waves_feeder_token[11:0]\n" in gtkw
    assert "@28\ntestbench.waves_loader_starved\n" in gtkw and "@100000028\ntestbench.waves_state[2:0]\n" in gtkw
    assert (instructions, tokens) == ("0 0 COPY\n1 1 MATMUL\n", "0 0 class token\n")
    assert mappings == [
        f"Name = Moesaic instructions\nBits = 24\n{instructions}",
        f"Name = Moesaic tokens\nBits = 12\n{tokens}",
    ]


class Wave:
    """A signal of the file: what it is at a moment, the last change counts."""

    def __init__(self, variable: Any) -> None:
        times, values = zip(*variable.tv, strict=True)
        self.times, self.values = list(times), [int(value) for value in values]

    def at(self, moments: IntArray) -> IntArray:
        places = np.searchsorted(self.times, moments, side="right") - 1
        return np.array(self.values, np.int64)[places]


def check_counted(found: dict[str, Any], counters: dict[str, int]) -> None:
    """What the signals add up to is what the accelerator has counted, in every cycle and in all."""
    # A moment in each cycle of the run: the file has the clearing before, and the first cycle of what follows.
    cycle, state = Wave(found["testbench.waves_cycle"]), Wave(found["testbench.waves_state"])
    assert cycle.values == list(range(counters["cycles"] + 1))
    assert [State(value) for value in state.values] == [State.CLEARING, State.RUNNING, State.DRAINING, State.DONE]
    moments = np.arange(state.times[1], state.times[-1], 1000 * CYCLE_NS)
    assert np.array_equal(cycle.at(moments), np.arange(counters["cycles"]))
    for name in counted():
        holds = Wave(found[f"testbench.waves_{name}"]).at(moments)
        assert holds.sum() == counters[name], name
        # The accelerator's own register has a cycle when the next but one begins.
        assert np.array_equal(np.cumsum(holds)[:-2], Wave(found[f"testbench.dut.count_{name}"]).at(moments[2:])), name
    assert all(counters[name] for name in counted() if name.startswith(("array_", "loader_"))), counters


def check_shown(found: dict[str, Any], out: Path) -> None:
    """Every signal of the views is there, and what is called by name has a name for each of its values."""
    for signal in [signal for group in shown(PRESETS["micro8"]).values() for signal in group]:
        assert signal.path in found and found[signal.path].bitwidth == signal.bits, signal
    assert "testbench.dut.core.loader.starved" in found, "a register that is an output of its module"
    instructions, tokens = (Wave(found[path]).values for path in (INDEX, "testbench.waves_feeder_token"))
    names = {kind: (out / f"waves-{kind}.txt").read_text().splitlines() for kind in ("instructions", "tokens")}
    assert instructions == list(range(len(names["instructions"])))
    assert names["tokens"][:3] == ["0 0 class token", "1 1 patch 0,0", "2 2 patch 0,1"]
    assert set(range(65)) <= set(tokens) and names["tokens"][64].endswith("patch 7,7")
    for name, words in (("opcode", Opcode), ("stream", Stream)):
        shown_as = str(found[f"testbench.waves_feeder_{name}"].enum_type)
        assert all(word.name in shown_as for word in words), shown_as


@needs_headers
@pytest.mark.slow
def test_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedding and a block of m3vit-micro on micro8, from start to end."""
    # What is built in half the time runs as long here: writing the file is what takes it.
    monkeypatch.setattr("moesaic.sim.rtl.build", partial(build, optimise="-O0"))
    out = tmp_path / "out"
    report = micro(out, Window(0, 9_999_999), memory="ideal", latency=5_000)  # so slow that the array starves
    assert report.bit_exact
    found = {variable.full_name: variable for variable in pywellen.Waveform(str(out / WAVES)).all_vars()}
    check_shown(found, out)
    check_counted(found, report.tasks["semseg"].counters)
