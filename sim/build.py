"""Verilog to a simulator, built once with Verilator and the C++ compiler."""

import functools
import importlib.metadata
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cocotb_tools.config

from moesaic.children import Children
from moesaic.errors import FailedRun
from moesaic.sim.tools import Compiler, Verilator, find_compiler, find_python_library, find_verilator
from moesaic.store import Store, key_of

__all__ = ["Build", "BuildFailed", "build"]

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
FST_LIBRARIES = ("-llz4", "-lz")  # what Verilator's writer of FST compresses with
SWITCHES = ("coverage", "sc", "timing", "trace", "trace_fst", "trace_vcd", "trace_saif")  # as in verilated.mk
SMALL_BYTES = 400_000  # generated C++ below this is compiled as one file: reading the headers is what costs


class BuildFailed(FailedRun):
    """Verilator or the C++ compiler refused the sources; the message is what it printed."""


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


@functools.cache
def _recipe() -> bytes:
    """What this file says: flags and steps are a part of every key."""
    return Path(__file__).read_bytes()


def _public_signals(verilog: str, top: str) -> list[str]:
    """What cocotb can see: the ports of an exported top, everything in a hand-written one. Never what is below."""
    header = re.search(rf"^module {re.escape(top)}\(([^;]*)\);", verilog, flags=re.MULTILINE)
    if header is None:
        return ["*"]
    names = [name.strip().removeprefix("\\") for name in header[1].split(",")]
    return names if all(re.fullmatch(r"[^\s*?]+", name) for name in names) else ["*"]


def _command(
    command: Sequence[str | Path],
    *,
    what: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    children: Children | None = None,
) -> None:
    done = (Children() if children is None else children).run(command, cwd=cwd, env=env)
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
        children = Children()

        def one(job: tuple[Path, Sequence[str]]) -> Path:
            source, flags = job
            target = cwd / (source.name + ".o")
            command: list[str | Path] = [self.compiler.executable]
            command += [*self.flags, *flags, "-I", cwd, "-c", source, "-o", target]
            _command(command, what=f"compiling {source.name}", cwd=cwd, children=children)
            return target

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            try:
                return list(pool.map(one, sources))
            except BaseException:  # one failed, or an interrupt: nothing waits for the others
                pool.shutdown(wait=False, cancel_futures=True)
                children.stop()
                raise

    def runtime(self, sources: Sequence[str], *, cache: Path | None) -> Path:
        """Verilator's run-time library: half a minute of compilation, shared by all builds with equal flags."""
        include = self.verilator.root / "include"
        texts = [(include / f"{name}.cpp").read_bytes() for name in sources]
        key = key_of(_recipe(), self.verilator.version, self.compiler.version, *self.flags, *sources, *texts)

        def make(work: Path) -> None:
            objects = self.compile([(include / f"{name}.cpp", RUNTIME_FLAGS) for name in sources], cwd=work)
            _command(["ar", "rcs", "libverilated.a", *objects], what="ar", cwd=work)
            for path in objects:
                path.unlink()

        return Store("runtime", root=cache).obtain(key, make).path / "libverilated.a"


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
        Root of the `Store`; `cache_root()` if not given.
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
    libraries = cocotb_tools.config.libs_dir
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    files = {"design.sv": verilog.encode()}
    for path in extra_sources:
        if path.name in files:
            raise ValueError(f"extra_sources must be files of different names, not {path.name!r} twice")
        files[path.name] = path.read_bytes()
    lines = [f'public_flat_rw -module "{top}" -var "{name}"' for name in _public_signals(verilog, top)]
    files["public.vlt"] = "\n".join(["`verilator_config", *lines, ""]).encode()
    key = key_of(
        _recipe(),
        top,
        optimise,
        *extra_args,
        "|",
        verilator.version,
        str(compiler.executable),
        compiler.version,
        importlib.metadata.version("cocotb"),
        str(libraries),
        main.read_bytes(),
        *(part for name, data in files.items() for part in (name, data)),
    )

    def make(work: Path) -> None:
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
                *(FST_LIBRARIES if variables.get("VM_TRACE_FST") == ["1"] else ()),
            ],
            what="linking",
            cwd=work,
        )
        shutil.rmtree(work / "cpp")

    entry = Store("simulators", root=cache).obtain(f"{top}-{key}", make)
    return Build(entry.path, top, cached=entry.found)


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
