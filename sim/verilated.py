"""Build Verilog into a simulator once, and run cocotb modules on it."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cocotb_tools.config
from amaranth.lib import wiring

from moesaic.cache import cache_root
from moesaic.errors import FailedRun
from moesaic.hw.verilog import to_verilog
from moesaic.sim.tools import Compiler, ToolMissing, Verilator, find_compiler, find_python_library, find_verilator

__all__ = ["Build", "BuildFailed", "SimulationFailed", "ToolMissing", "build", "cocotb_test", "run"]

# Amaranth's Verilog is full of width warnings that say nothing; assertions are the check.
VERILATOR_FLAGS = (
    "-Wno-fatal",
    "-Wno-lint",
    "-O3",
    "--assert",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--timescale",
    "1ns/1ps",
    "--output-split",
    "20000",
)
FAST_FLAGS = ("-march=native",)  # code that runs every cycle; the level is a parameter of `build`
SLOW_FLAGS = ("-O0",)  # code that runs once
MAIN_FLAGS = ("-O1",)
RUNTIME_FLAGS = ("-O2", "-march=native")
SWITCHES = ("coverage", "sc", "timing", "trace", "trace_fst", "trace_vcd", "trace_saif")  # as in verilated.mk
SMALL_BYTES = 400_000  # generated C++ below this is compiled as one file: reading the headers is what costs


class BuildFailed(FailedRun):
    """Verilator or the C++ compiler refused the sources; the message is what it printed."""


class SimulationFailed(FailedRun):
    """A cocotb test failed, none ran, or the simulator died; the message names it and ends with the log's tail."""


@dataclass(frozen=True)
class Build:
    """A simulator that is ready to run.

    Parameters
    ----------
    path : Path
        Its directory in the cache, named by the hash of all that went into it. Not to be written to.
    top : str
        Top module.
    cached : bool
        It was there already.
    """

    path: Path
    top: str
    cached: bool

    @property
    def executable(self) -> Path:
        return self.path / "simulator"


def _digest(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:32]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make an entry; the lock goes with the process that holds it."""
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _made_at_once(final: Path) -> Iterator[Path]:
    """Give a temporary directory that takes its final name when the block ends well, and goes when it does not."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        yield temporary
        os.rename(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _public_signals(verilog: str, top: str) -> list[str]:
    """What cocotb can see: the ports of an exported top, everything in a hand-written one. Never what is below."""
    header = re.search(rf"^module {re.escape(top)}\(([^;]*)\);", verilog, flags=re.MULTILINE)
    if header is None:
        return ["*"]
    names = [name.strip().removeprefix("\\") for name in header[1].split(",")]
    return names if all(re.fullmatch(r"[^\s*?]+", name) for name in names) else ["*"]


def _command(command: Sequence[str | Path], *, what: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise BuildFailed(f"{what} ended with status {done.returncode}:\n{done.stdout[-8000:]}")


def _make_variables(text: str) -> dict[str, list[str]]:
    joined = text.replace("\\\n", " ")
    return {name: value.split() for name, value in re.findall(r"^(VM_\w+) \+?= *(.*)$", joined, flags=re.MULTILINE)}


class _Objects:
    """Compiles the C++ of one build with as many compilers as there are processors."""

    def __init__(self, *, verilator: Verilator, compiler: Compiler, variables: Mapping[str, list[str]]) -> None:
        self.verilator, self.compiler = verilator, compiler
        self.timing = variables["VM_TIMING"] == ["1"]
        flag = {name.removeprefix("VM_").lower(): (value or ["0"])[0] for name, value in variables.items()}
        defines = [f"-DVM_{name.upper()}={flag.get(name, '0')}" for name in SWITCHES]
        include = verilator.root / "include"
        standard = "-std=gnu++20" if self.timing else "-std=gnu++17"
        self.flags = [standard, "-DVERILATOR=1", *defines, f"-I{include}", f"-I{include / 'vltstd'}", "-w"]

    def compile(self, sources: Sequence[tuple[Path, Sequence[str]]], *, cwd: Path) -> list[Path]:
        def one(job: tuple[Path, Sequence[str]]) -> Path:
            source, flags = job
            target = cwd / (source.name + ".o")
            command: list[str | Path] = [
                self.compiler.executable,
                *self.flags,
                *flags,
                "-I",
                cwd,
                "-c",
                source,
                "-o",
                target,
            ]
            _command(command, what=f"compiling {source.name}", cwd=cwd)
            return target

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(one, sources))

    def runtime(self, sources: Sequence[str], *, cache: Path) -> Path:
        """Verilator's run-time library: half a minute of compilation, shared by all builds with equal flags."""
        include = self.verilator.root / "include"
        texts = [(include / f"{name}.cpp").read_bytes() for name in sources]
        key = _digest(self.verilator.version, self.compiler.version, *self.flags, *RUNTIME_FLAGS, *sources, *texts)
        final = cache / f"runtime-{key}"
        with _locked(cache / "locks" / final.name):
            if not final.exists():
                with _made_at_once(final) as work:
                    jobs = [(include / f"{name}.cpp", RUNTIME_FLAGS) for name in sources]
                    objects = self.compile(jobs, cwd=work)
                    _command(["ar", "rcs", "libverilated.a", *objects], what="ar", cwd=work)
                    for path in objects:
                        path.unlink()
        return final / "libverilated.a"


def build(
    verilog: str,
    *,
    top: str,
    extra_sources: Sequence[Path] = (),
    extra_args: Sequence[str] = (),
    cache: Path | None = None,
    optimise: str = "-O1",
) -> Build:
    """Build a simulator, or find it in the cache.

    Only the ports of an exported top module, or all signals of a hand-written one, can be seen by cocotb: that keeps
    the design below free for Verilator to optimise. To see more, give a Verilator control file in ``extra_sources``.

    Parameters
    ----------
    verilog : str
        SystemVerilog text, usually from :func:`moesaic.hw.verilog.to_verilog`.
    top : str
        Name of the top module, in ``verilog`` or in ``extra_sources``.
    extra_sources : sequence of Path
        More sources (``.sv``, ``.v``, ``.vlt``), copied into the build.
    extra_args : sequence of str
        More arguments for Verilator.
    cache : Path
        Directory of all builds; `cache_root` if not given. What was not used for a month is removed.
    optimise : str
        Level of the C++ compiler. For 4,096 multipliers ``-O2`` runs 1.4 times as fast as ``-O1`` and takes 1.8 times
        as long to build: right for whole networks, not for unit tests.

    Raises
    ------
    ToolMissing
        If there is no Verilator or C++ compiler.
    BuildFailed
        If the sources are wrong.
    """
    compiler, verilator = find_compiler(), find_verilator()
    find_python_library()  # would only be missed after minutes
    cache = (cache or cache_root()).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    libraries = cocotb_tools.config.libs_dir
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    files = {"design.sv": verilog.encode()}
    for path in extra_sources:
        if path.name in files:
            raise ValueError(f"extra_sources must be files of different names, not {path.name!r} twice")
        files[path.name] = path.read_bytes()
    lines = [f'public_flat_rw -module "{top}" -var "{name}"' for name in _public_signals(verilog, top)]
    files["public.vlt"] = "\n".join(["`verilator_config", *lines, ""]).encode()
    key = _digest(
        "3",
        top,
        optimise,
        *VERILATOR_FLAGS,
        "|",
        *extra_args,
        "|",
        *FAST_FLAGS,
        "|",
        *SLOW_FLAGS,
        "|",
        *RUNTIME_FLAGS,
        verilator.version,
        compiler.version,
        str(libraries),
        main.read_bytes(),
        *(part for name, data in files.items() for part in (name, data)),
    )
    final = cache / f"{top}-{key}"
    if final.exists():
        os.utime(final)
        return Build(final, top, cached=True)
    with _locked(cache / "locks" / final.name):
        if final.exists():
            return Build(final, top, cached=True)
        with _made_at_once(final) as work:
            for name, data in files.items():
                (work / name).write_bytes(data)
            _command(
                [
                    verilator.executable,
                    "--cc",
                    "--Mdir",
                    "cpp",
                    "--prefix",
                    "Vtop",
                    "--top-module",
                    top,
                    "--vpi",
                    *VERILATOR_FLAGS,
                    *extra_args,
                    "public.vlt",
                    *(name for name in files if name != "public.vlt"),
                ],
                what="Verilator",
                cwd=work,
                env=verilator.environment,
            )
            variables = _make_variables((work / "cpp" / "Vtop_classes.mk").read_text(encoding="utf-8"))
            objects = _Objects(verilator=verilator, compiler=compiler, variables=variables)
            runtime = objects.runtime(variables["VM_GLOBAL_FAST"] + variables["VM_GLOBAL_SLOW"], cache=cache)
            sources = _model_sources(work / "cpp", variables, fast=(optimise, *FAST_FLAGS))
            model = objects.compile([*sources, (main, MAIN_FLAGS)], cwd=work / "cpp")
            _command(
                [
                    compiler.executable,
                    "-o",
                    "simulator",
                    *model,
                    runtime,
                    f"-L{libraries}",
                    f"-Wl,-rpath,{libraries}",
                    "-lcocotbvpi_verilator",
                    "-pthread",
                ],
                what="linking",
                cwd=work,
            )
            shutil.rmtree(work / "cpp")
    _prune(cache)
    return Build(final, top, cached=False)


def _prune(cache: Path) -> None:
    """Remove simulators that were not used for a month."""
    oldest = time.time() - 30 * 24 * 3600
    for path in cache.iterdir():
        if not path.name.startswith("runtime-") and path.stat().st_mtime < oldest:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _model_sources(
    cpp: Path, variables: Mapping[str, list[str]], *, fast: Sequence[str]
) -> list[tuple[Path, Sequence[str]]]:
    often = variables["VM_CLASSES_FAST"] + variables["VM_SUPPORT_FAST"]
    once = variables["VM_CLASSES_SLOW"] + variables["VM_SUPPORT_SLOW"]
    if sum((cpp / f"{name}.cpp").stat().st_size for name in often + once) < SMALL_BYTES:
        single = cpp / "all.cpp"
        single.write_text("".join(f'#include "{name}.cpp"\n' for name in often + once), encoding="utf-8")
        return [(single, fast)]
    jobs = [(cpp / f"{name}.cpp", fast) for name in often] + [(cpp / f"{name}.cpp", SLOW_FLAGS) for name in once]
    return sorted(jobs, key=lambda job: -job[0].stat().st_size)  # the longest first, so that none is left alone at last


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
            done = subprocess.run(
                [str(build.executable), *plusargs],
                cwd=work_dir,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                timeout=timeout_s,
                check=False,
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
