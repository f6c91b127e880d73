"""A thousand mutants of an accelerator in one simulator: the same text with a number that says which one it is."""

import importlib.metadata
import importlib.resources
import json
import re
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from moesaic.boards.hardware import hardware_digest
from moesaic.children import Children
from moesaic.errors import FailedRun
from moesaic.flow.verify.mutator import CONTROL
from moesaic.hw.export import TOP
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog
from moesaic.scratch import scratch
from moesaic.sim.build import Build, build
from moesaic.sim.rtl import RtlSimulator
from moesaic.store import Store, key_of

__all__ = ["Mutant", "MutantSimulator", "Mutants", "mutants_of", "selectable"]

_VERILOG, _LIST = "mutants.sv", "mutants.txt"


@dataclass(frozen=True)
class Mutant:
    """What is wrong with one.

    Parameters
    ----------
    mode : str
        `inv`, `const0`, `const1`, `cnot0` or `cnot1`, as Yosys names them.
    module, wire : str
    places : tuple of str
        Files of `hw` and lines.
    """

    mode: str
    module: str
    wire: str
    places: tuple[str, ...]

    @classmethod
    def of(cls, command: str) -> "Mutant":
        """From a command of Yosys's list."""
        words = command.split()
        options = dict(pairwise(words))
        sources = [value for name, value in pairwise(words) if name == "-src"]
        wire = options.get("-wire", options["-port"])
        return cls(
            options["-mode"],
            options["-module"].removeprefix("moesaic_"),
            f"{wire}[{options.get('-wirebit', options['-portbit'])}]",
            tuple(dict.fromkeys(source for source in sources if source.startswith("hw/"))),
        )

    def __str__(self) -> str:
        return f"{self.mode} of {self.module}.{self.wire} ({', '.join(self.places) or 'no line'})"


@dataclass(frozen=True)
class Mutants:
    """All that one simulator has; the first has number 1.

    Parameters
    ----------
    verilog : str
        With a register `CONTROL` in the top, set by the plusarg of that name.
    list : tuple of Mutant
    """

    verilog: str
    list: tuple[Mutant, ...]


def selectable(verilog: str, top: str) -> str:
    """The top's input `CONTROL` as a register that a plusarg sets.

    Raises
    ------
    FailedRun
        If there is no such input.
    """
    start = verilog.index(f"\nmodule {top}(") + 1
    end = verilog.index("\nendmodule", start)
    ports, body = verilog[start:end].split(");", 1)
    ports, removed = re.subn(rf",\s*{CONTROL}\b|\b{CONTROL}\s*,", "", ports)
    body, made = re.subn(
        rf"^  input (\[[^]]*\]) {CONTROL};\n  wire \[[^]]*\] {CONTROL};\n",
        rf'  reg \1 {CONTROL};\n  initial if (!$value$plusargs("{CONTROL}=%d", {CONTROL})) {CONTROL} = 0;\n',
        body,
        flags=re.MULTILINE,
    )
    if (removed, made) != (1, 1):
        raise FailedRun(f"module {top} must have an input {CONTROL}, found {removed} ports and {made} declarations")
    return f"{verilog[:start]}{ports});{body}{verilog[end:]}"


def mutants_of(config: AcceleratorConfig, *, count: int, seed: int) -> Mutants:
    """Mutants sampled evenly over the hardware, made or found.

    Raises
    ------
    FailedRun
        If Yosys fails.
    """

    def make(folder: Path) -> None:
        text = to_verilog(Accelerator(config), name=TOP, assertions=True, source_locations=True)
        with scratch() as work:
            source, out = work / "source.sv", work / "out.sv"
            source.write_text(text, encoding="utf-8")
            job = {"source": str(source), "out": str(out), "list": str(folder / _LIST)}
            job |= {"top": TOP, "count": str(count), "seed": str(seed)}
            command = [sys.executable, "-m", "moesaic.flow.verify.mutator"]
            done = Children().run(command, feed=json.dumps(job), cwd=work)
            if done.returncode:
                raise FailedRun("Yosys must mutate the accelerator:\n" + "\n".join(done.stdout.splitlines()[-12:]))
            (folder / _VERILOG).write_text(selectable(out.read_text(encoding="utf-8"), TOP), encoding="utf-8")

    parts = (hardware_digest(), importlib.metadata.version("pyosys"), config.hash, str(count), str(seed))
    folder = Store("mutants").obtain(key_of(*parts), make).path
    commands = (folder / _LIST).read_text(encoding="utf-8").splitlines()
    return Mutants((folder / _VERILOG).read_text(encoding="utf-8"), tuple(map(Mutant.of, commands)))


class MutantSimulator(RtlSimulator):
    """The simulator of an accelerator with its mutants; `plusargs` say which one runs.

    Parameters
    ----------
    config, memory_bytes, base
        As for `RtlSimulator`.
    verilog : str
        Of `Mutants`.
    """

    def __init__(self, config: AcceleratorConfig, *, memory_bytes: int, base: int, verilog: str) -> None:
        super().__init__(config, memory_bytes=memory_bytes, base=base)
        self.verilog = verilog

    def _build(self) -> Build:
        here = importlib.resources.files("moesaic.sim")
        return build(
            f"{self.verilog}\n{self.testbench}",
            top="testbench",
            extra_sources=[Path(str(here / name)) for name in ("ddr.sv", "dram.sv")],
        )
