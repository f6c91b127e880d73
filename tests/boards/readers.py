"""Four independent readers of Verilog, and what each says."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyslang

from moesaic.sim.tools import find_verilator

__all__ = [
    "TopPort",
    "clocks_of",
    "find_icarus",
    "icarus_problems",
    "slang_errors",
    "top_ports",
    "verilator_problems",
    "yosys_json",
]


def verilator_problems(paths: Sequence[Path], top: str) -> list[str]:
    """Errors and warnings of Verilator's lint, all of them on; a control file among the paths waives some."""
    verilator = find_verilator()
    command = [str(verilator.executable), "--lint-only", "-Wall", "-Wno-fatal", "--top-module", top, *map(str, paths)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "VERILATOR_ROOT": str(verilator.root)}
    )
    problems = [line for line in done.stderr.splitlines() if line.startswith(("%Error", "%Warning"))]
    return problems if done.returncode == 0 or problems else [f"status {done.returncode}: {done.stderr[-500:]}"]


def find_icarus() -> str | None:
    """Icarus Verilog's compiler."""
    return shutil.which("iverilog")


def icarus_problems(paths: Sequence[Path], top: str, *, out: Path | None = None) -> list[str]:
    """Errors and warnings of Icarus Verilog for Verilog-2005; what it made is in `out`, if given."""
    command = [find_icarus() or "iverilog", "-g2005", "-Wall", "-Wno-timescale", "-s", top]
    done = subprocess.run(
        [*command, "-o", str(out or os.devnull), *map(str, paths)], capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).splitlines() or [f"status {done.returncode}"] * bool(done.returncode)


_YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


def yosys_json(paths: Sequence[Path], top: str, to: Path) -> dict[str, Any]:
    """The design as a current Yosys reads it, not the one that wrote it.

    Raises
    ------
    RuntimeError
        With its message, if it refuses.
    """
    files = " ".join(map(str, paths))
    passes = [f"read_verilog {files}", f"hierarchy -check -top {top}", "proc", "opt_clean", f"write_json {to}"]
    done = subprocess.run([sys.executable, "-c", _YOSYS, *passes], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line)
            or done.stderr[-500:]
        )
    result: dict[str, Any] = json.loads(to.read_text())
    return result


def clocks_of(design: dict[str, Any], top: str) -> set[str]:
    """Names of the top module's inputs that clock anything; a clock made inside is reported as ``module: cell``."""
    modules = design["modules"]
    known: dict[str, set[tuple[str, int]]] = {}
    inside: set[str] = set()

    def clocks(name: str) -> set[tuple[str, int]]:
        if name not in known:
            module = modules[name]
            inputs = {
                bit: (port, index)
                for port, entry in module["ports"].items()
                if entry["direction"] == "input"
                for index, bit in enumerate(entry["bits"])
            }
            known[name] = found = set()
            for cell, entry in module["cells"].items():
                for bit in _clock_bits(entry):
                    if bit in inputs:
                        found.add(inputs[bit])
                    else:
                        inside.add(f"{name}: {cell}")
        return known[name]

    def _clock_bits(cell: dict[str, Any]) -> Iterator[Any]:
        kind, connections = cell["type"], cell["connections"]
        if kind in modules:
            yield from (connections[port][index] for port, index in clocks(kind))
        elif "CLK" in connections:
            if int(cell["parameters"].get("CLK_ENABLE", "1"), 2):  # asynchronous reads of a memory have none
                yield from connections["CLK"]
        elif kind.startswith(("$dlatch", "$sr", "$adlatch")):
            inside.add(f"latch {kind}")

    return {port for port, _ in clocks(top)} | inside


def _tree(path: Path) -> Any:
    return pyslang.syntax.SyntaxTree.fromText(path.read_text())  # not fromFile: that one remembers what a file held


def slang_errors(paths: Sequence[Path]) -> list[str]:
    """Errors of slang."""
    compilation = pyslang.ast.Compilation()
    for path in paths:
        compilation.addSyntaxTree(_tree(path))
    return [str(diagnostic.code) for diagnostic in compilation.getAllDiagnostics() if diagnostic.isError()]


@dataclass(frozen=True)
class TopPort:
    """A port as slang sees it.

    Parameters
    ----------
    name : str
    output : bool
    bits : int
    attributes : dict of str to str
    """

    name: str
    output: bool
    bits: int
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def interface(self) -> tuple[str, str, str] | None:
        """Bus definition, interface and logical name that the port is annotated with."""
        kind, name, logical = self.attributes.get("X_INTERFACE_INFO", "  ").split(" ")
        return (kind, name, logical) if kind else None


def top_ports(paths: Sequence[Path], top: str) -> dict[str, TopPort]:
    """Ports of the only top module, which the first file declares."""
    trees = [_tree(path) for path in paths]
    compilation = pyslang.ast.Compilation()
    for each in trees:
        compilation.addSyntaxTree(each)
    tree = trees[0]
    instances = compilation.getRoot().topInstances
    assert [instance.name for instance in instances] == [top]
    attributes: dict[str, dict[str, str]] = {}
    parts = [tree.root] if tree.root.kind.name == "ModuleDeclaration" else tree.root.members
    (module,) = [part for part in parts if part.header.name.valueText == top]
    for member in module.members:
        if member.kind.name == "PortDeclaration":
            texts = {
                spec.name.valueText: spec.value.expr.literal.valueText
                for instance in member.attributes
                for spec in instance.specs
                if hasattr(spec, "name")
            }
            for declarator in member.declarators:
                if hasattr(declarator, "name"):
                    attributes[declarator.name.valueText] = texts
    return {
        port.name: TopPort(
            port.name,
            port.direction == pyslang.ast.ArgumentDirection.Out,
            port.type.bitWidth,
            attributes.get(port.name, {}),
        )
        for port in instances[0].body.portList
    }


def traps(verilog: str) -> list[str]:
    """What Vivado refuses or warns of, in Verilog as Yosys writes it: initial contents of a memory that is to be block
    or UltraRAM, reads of one without a clock, latches, asynchronous resets.
    """
    problems = []
    styled = re.findall(r'ram_style = "(?:block|ultra)" \*\)\n  reg (?:\[\d+:\d+\] )?(\S+) ?\[', verilog)
    for name in dict.fromkeys(styled):
        if re.search(rf"^    {re.escape(name)} ?\[[^\]]*\] = ", verilog, re.MULTILINE):
            problems.append(f"memory {name!r} has initial contents")
        if re.search(rf"^  assign [^;]*\b{re.escape(name)} ?\[", verilog, re.MULTILINE):
            problems.append(f"memory {name!r} is read without a clock")
    problems += [line.strip() for line in re.findall(r"^ *always(?:_latch| @\([^)]*,).*", verilog, re.MULTILINE)]
    return problems
