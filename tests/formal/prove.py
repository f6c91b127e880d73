"""Unbounded proofs: temporal induction over the assertions of a design, with the SAT solver inside Yosys."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["ProofFailed", "free_inputs", "prove", "refute"]

_PREPARE = """
read_rtlil {source}
hierarchy -top top
proc
memory_map
flatten
opt -full
async2sync
chformal -lower
chformal -cover -remove
opt_clean
"""

# Yosys as a library, in a process of its own: a failed proof ends the process that runs it.
_RUN = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().split("\\n"):
    if line.strip():
        libyosys.run_pass(line.strip(), design)
"""


class ProofFailed(AssertionError):
    """The assertions do not hold, or are not inductive; names those that are violated in the last step."""


def free_inputs(component: wiring.Component) -> list[Signal]:
    """Input ports of a component, which the proof may drive as it likes."""
    ports = [(member, Value.cast(value)) for _, member, value in component.signature.flatten(component)]
    return [port for member, port in ports if member.flow == In and isinstance(port, Signal)]


def _violated(text: str, asserts: str) -> list[str]:
    """Source lines of the assertions that are violated in the last step of a trace."""
    rows = re.findall(r"^ +(\d+) (\S+) +\S+ +\S+ +([01x]+)\s*$", text, re.MULTILINE)
    last = max((int(step) for step, *_ in rows), default=0)
    value = {name: bits for step, name, bits in rows if int(step) == last}

    def bit(pin: str, cell: str) -> str | None:
        """What a pin of one bit has: a signal, or one bit of it."""
        found = re.search(rf"connect \\{pin} (\S+)(?: \[(\d+)\])?$", cell, re.MULTILINE)
        return value.get(found[1], "")[::-1][int(found[2] or 0) :][:1] if found else None

    result = []
    for cell in asserts.split("\n\n"):
        source = re.search(r'attribute \\src "([^"]*)"', cell)
        if bit("A", cell) == "0" and bit("EN", cell) in ("1", ""):
            result.append(source[1] if source else cell)
    return result


def _solve(
    top: Elaboratable, free: Iterable[Signal], work: Path, options: str, timeout: float
) -> tuple[str, list[str]]:
    """What the solver says, and the source lines of violated assertions."""
    source, asserts = work / "top.il", work / "asserts.txt"
    source.write_text(rtlil.convert(top, name="top", ports=list(free)))
    sat = f"sat -tempinduct -prove-asserts -set-assumes -show-all {options}"
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=f"{_PREPARE.format(source=source)}\ntee -q -o {asserts} dump t:$assert\n{sat}\n",
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    (work / "trace.txt").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise ProofFailed(f"Yosys ended with status {done.returncode}: {done.stderr.strip()}")
    if "Import proof for assert" not in done.stdout:
        raise ProofFailed("the design has no assertions")
    return done.stdout, _violated(done.stdout, asserts.read_text())


def prove(top: Elaboratable, *, free: Iterable[Signal], work: Path, depth: int = 8, timeout: float = 120) -> None:
    """Prove every assertion of a design for all time, for any behaviour of the free signals and of reset.

    Parameters
    ----------
    top : Elaboratable
        Design with its harness: ``Assert`` and ``Assume``.
    free : iterable of Signal
        Undriven signals that the proof may choose in every cycle; any other undriven signal keeps its initial value.
    work : Path
        Folder for the files of the proof.
    depth : int, cycles
        Longest induction that is tried.
    timeout : float, seconds
        Limit of the proof.

    Raises
    ------
    ProofFailed
        If there is a counterexample, or no induction up to ``depth``. The trace is in ``work/trace.txt``.
    """
    text, violated = _solve(top, free, work, f"-maxsteps {depth}", timeout)
    if "Induction step proven: SUCCESS!" not in text:
        verdict = "counterexample" if "model found for base case" in text else "no induction"
        raise ProofFailed(f"{verdict}; violated: {', '.join(violated)}; see {work / 'trace.txt'}")


def refute(
    top: Elaboratable, *, free: Iterable[Signal], work: Path, depth: int = 12, skip: int = 0, timeout: float = 120
) -> list[str]:
    """Find the shortest run from reset that violates an assertion.

    Parameters
    ----------
    top, free, work, timeout
        As for :func:`prove`.
    depth : int, cycles
        Longest run that is tried.
    skip : int, cycles
        Runs of so many cycles, and shorter ones, are taken to violate nothing.

    Returns
    -------
    list of str
        Source lines of the violated assertions; empty if there is no such run.
    """
    text, violated = _solve(top, free, work, f"-tempinduct-baseonly -tempinduct-skip {skip} -maxsteps {depth}", timeout)
    if "model found for base case" not in text:
        return []
    if not violated:
        raise ProofFailed(f"no violated assertion in the trace {work / 'trace.txt'}")
    return violated
