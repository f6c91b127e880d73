"""Runs cocotb modules on a simulator."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import cocotb_tools.config
from amaranth.lib import wiring

from moesaic.children import Children
from moesaic.errors import FailedRun
from moesaic.hw.verilog import to_verilog
from moesaic.sim.build import Build, build
from moesaic.sim.tools import find_python_library

__all__ = ["SimulationFailed", "cocotb_test", "run"]


class SimulationFailed(FailedRun):
    """A cocotb test failed, none ran, or the simulator died; the message names it and ends with the log's tail."""


def run(
    build: Build,
    *,
    test_module: str,
    work_dir: Path,
    python_path: Sequence[Path] = (),
    env: Mapping[str, str] = {},
    seed: int = 1,
    plusargs: Sequence[str] = (),
    timeout_s: float | None = None,
) -> None:
    """Run the cocotb tests of a module on a simulator.

    Writes ``simulation.log`` and ``results.xml`` into ``work_dir``, which is also the simulator's directory.

    Parameters
    ----------
    build : Build
        The simulator.
    test_module : str
        Python module with the tests, found on ``python_path`` or on this process's path; several with commas.
    work_dir : Path
        Where to run; made if it is not there.
    python_path : sequence of Path
        Directories to search first.
    env : mapping
        More environment variables, to hand parameters to the test module.
    seed : int
        Seed of Python's ``random`` in every test.
    plusargs : sequence of str
        Arguments such as ``+image=file`` for ``$value$plusargs``.
    timeout_s : float, seconds
        The simulator is ended after this time; None waits for ever.

    Raises
    ------
    SimulationFailed
        If a test fails, none runs, the simulator dies or takes too long.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    work_dir = work_dir.resolve()
    results, log = work_dir / "results.xml", work_dir / "simulation.log"
    results.unlink(missing_ok=True)
    # Also the parent's search path, so that what pytest finds the simulator finds; but not its standard library.
    inherited = [entry for entry in sys.path if entry and not Path(entry).is_relative_to(sys.base_prefix)]
    environment = {
        **os.environ,
        "GPI_USERS": f"{find_python_library()};{cocotb_tools.config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join([*(str(path.resolve()) for path in python_path), *inherited]),
        "COCOTB_TOPLEVEL": build.top,
        "COCOTB_TEST_MODULES": test_module,
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_RESULTS_FILE": str(results),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_ANSI_OUTPUT": "0",
        **env,
    }
    problem = ""
    with open(log, "w", encoding="utf-8") as out:
        try:
            done = Children().run(
                [build.executable, *plusargs], cwd=work_dir, env=environment, stdout=out, timeout_s=timeout_s
            )
            if done.returncode:
                problem = f"the simulator ended with status {done.returncode}"
        except subprocess.TimeoutExpired:
            problem = f"the simulator was stopped after {timeout_s} s"
    count, failures = _read_results(results)
    if not count and not problem:
        problem = "no test ran"
    if problem or failures:
        parts = [f"{test_module}: {', '.join([*failures, problem] if problem else failures)} (log: {log})"]
        parts += [f"{name}:\n{text}" for name, text in list(failures.items())[:3]]
        if problem:
            parts.append("\n".join(log.read_text(errors="replace", encoding="utf-8").splitlines()[-40:]))
        raise SimulationFailed("\n".join(parts))


def _read_results(path: Path) -> tuple[int, dict[str, str]]:
    """Number of tests that ran; of those that failed the name and the traceback."""
    if not path.is_file():
        return 0, {}
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except ElementTree.ParseError:  # it died while writing
        return 0, {}
    ran = [case for case in cases if case.find("skipped") is None]
    failures = {}
    for case in ran:
        for failure in [*case.findall("failure"), *case.findall("error")]:
            text = (failure.text or failure.get("message") or "").strip()
            failures[f"{case.get('classname')}.{case.get('name')} failed"] = "\n".join(text.splitlines()[-25:])
    return len(ran), failures


def cocotb_test(
    component: wiring.Component,
    *,
    name: str,
    module: str,
    tmp_path: Path,
    env: Mapping[str, str] = {},
    seed: int = 1,
    extra_sources: Sequence[Path] = (),
    plusargs: Sequence[str] = (),
    timeout_s: float | None = 600,
) -> None:
    """Export a component, build it and run a cocotb module on it: the whole of a unit test.

    ``name`` is the top module's name; ``module`` the cocotb module (``tests/cocotb`` is on pytest's path). The other
    parameters are those of :func:`build` and :func:`run`.
    """
    simulator = build(to_verilog(component, name=name), top=name, extra_sources=extra_sources)
    run(simulator, test_module=module, work_dir=tmp_path, env=env, seed=seed, plusargs=plusargs, timeout_s=timeout_s)
