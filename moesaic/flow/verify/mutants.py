"""A thousand mutants of an accelerator in one simulator: the same text with a number that says which one it is."""

import importlib.metadata
import importlib.resources
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from moesaic.boards.hardware import hardware_digest
from moesaic.children import Children
from moesaic.errors import FailedRun
from moesaic.flow.verify import mutator
from moesaic.flow.verify.mutator import BITS, CONTROL
from moesaic.flow.verify.trial import Trial
from moesaic.flow.verify.trial_hardware import movable, settable
from moesaic.hw.export import TOP
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog
from moesaic.sim.build import Build, build
from moesaic.sim.rtl import RtlSimulator
from moesaic.sim.verilated import run
from moesaic.store import Store, key_of

__all__ = [
    "PER_BUILD",
    "Climb",
    "Mutant",
    "MutantSimulator",
    "Mutants",
    "climb",
    "mutants_of",
    "named_behind",
    "watched",
]

SAME = "same"
DUMP = "dump.bin"
PER_BUILD = 1000  # mutants of a simulator
LIMIT = 600_000  # cycles until the interrupt of the right hardware
_VERILOG, _LIST, _DESIGN, _SOURCE = "mutants.sv", "mutants.txt", "mutants.il", "source.sv"
_LINE = re.compile(rf"^{re.escape(_SOURCE)}:(\d+)\.")


@dataclass(frozen=True)
class Mutant:
    """What is wrong with one.

    Parameters
    ----------
    mode : str
        `inv`, `const0`, `const1`, `cnot0` or `cnot1`, as Yosys names them; the last two with the bit of the port that
        inverts it.
    module, wire : str
        What has no name is a port of a cell, with the next that has one behind it.
    places : tuple of str
        Files of `hw` and lines.
    statement : str
        The first line of the statement in Verilog.
    """

    mode: str
    module: str
    wire: str
    places: tuple[str, ...]
    statement: str

    @classmethod
    def of(cls, command: str, lines: Sequence[str], behind: str = "") -> "Mutant":
        """From a command of Yosys's list, the lines of the Verilog, and what has a name behind it."""
        words = command.split()
        options = dict(pairwise(words))
        sources = [value for name, value in pairwise(words) if name == "-src"]
        wire = f"{options.get('-wire', options['-port'])}[{options.get('-wirebit', options['-portbit'])}]"
        statements = [found[1] for source in sources if (found := _LINE.search(source))]
        return cls(
            f"{options['-mode']} by {options['-ctrlbit']}" if "-ctrlbit" in options else options["-mode"],
            options["-module"].removeprefix("moesaic_"),
            f"{wire} to {behind}" if behind and "-wire" not in options else wire,
            tuple(dict.fromkeys(source for source in sources if source.startswith("hw/"))),
            lines[int(statements[-1]) - 1].strip() if statements else "",
        )

    def __str__(self) -> str:
        places = f" ({', '.join(self.places)})" if self.places else ""
        return f"{self.mode} of {self.module}.{self.wire} in `{self.statement}`{places}"


@dataclass(frozen=True)
class Climb:
    """What trials made of the mutants.

    Parameters
    ----------
    noticed : mapping of mutant to (trial, what)
        The first that noticed it, and what differed; empty if the simulation ended by itself.
    reached : mapping of mutant to tuple of int
        Trials in which the right hardware had the bit differ.
    """

    noticed: Mapping[int, tuple[int, str]]
    reached: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True)
class Mutants:
    """All that one simulator has; the first has number 1.

    Parameters
    ----------
    verilog : str
        With an input `CONTROL` of the top.
    list : tuple of Mutant
    design : Path
        The same for Yosys.
    """

    verilog: str
    list: tuple[Mutant, ...]
    design: Path


def named_behind(verilog: str) -> dict[int, str]:
    """The first that has a name behind each mutant's bit."""
    found = {}
    for module in re.findall(r"^module .*?^endmodule", verilog, flags=re.MULTILINE | re.DOTALL):
        takers: dict[str, list[str]] = {}
        for taker, taken in re.findall(r"^ +(?:assign )?(.+?) <?= (.+);", module, flags=re.MULTILINE):
            for name in re.findall(r"\b_\d+_", taken):
                takers.setdefault(name, []).extend(re.findall(r"\b(?<!')[a-z_]\w*", taker))
        for select, number in re.findall(rf"^  assign (\S+) = {CONTROL} == {BITS}'h(\w+);", module, flags=re.MULTILINE):
            waiting = [select]
            for name in waiting:
                if not re.fullmatch(r"_\d+_", name):
                    found[int(number, 16)] = name
                    break
                waiting += [taker for taker in takers.get(name, ()) if taker not in waiting]
    return found


def watched(verilog: str) -> str:
    """The same text, with a note in `testbench.reached`, while `testbench.watch` is 1, of mutants whose bit differs.
    Those of a clock count as reached always.
    """

    def module(found: re.Match[str]) -> str:
        text, lines = found[0], []
        before: dict[str, str] = {}  # a mutant's bit, which is the right one of another mutant of the same bit
        for select, number in re.findall(rf"^  assign (\S+) = {CONTROL} == {BITS}'h(\w+);", text, flags=re.MULTILINE):
            pattern = rf"^  assign ([^=]+) = {re.escape(select)} \? (.+) : (.+);"
            ((bit, wrong, right),) = re.findall(pattern, text, flags=re.MULTILINE)
            before[bit] = right
            lines.append((int(number, 16), wrong, right))
        if not lines:
            return text
        notes = []
        for mutant, wrong, right in lines:
            first = right
            while first in before:
                first = before[first]
            differ = "1" if first.endswith("clk") else f"({wrong}) != ({right})"
            notes.append(f"    if ({differ}) testbench.reached[{mutant}] = 1;\n")
        block = "".join(["  always @(posedge testbench.aclk) if (testbench.watch) begin\n", *notes, "  end\n"])
        return text.removesuffix("endmodule") + block + "endmodule"

    return re.sub(r"^module .*?^endmodule", module, verilog, flags=re.MULTILINE | re.DOTALL)


def mutants_of(config: AcceleratorConfig, *, count: int, seed: int) -> Mutants:
    """Mutants sampled evenly over the hardware, made or found.

    Raises
    ------
    FailedRun
        If Yosys fails.
    """

    def make(folder: Path) -> None:
        text = to_verilog(Accelerator(config), name=TOP, assertions=True, source_locations=True)
        (folder / _SOURCE).write_text(text, encoding="utf-8")
        job = {"source": _SOURCE, "out": _VERILOG, "list": _LIST, "design": _DESIGN}
        job |= {"top": TOP, "count": str(count), "seed": str(seed)}
        command = [sys.executable, "-m", "moesaic.flow.verify.mutator"]
        done = Children().run(command, feed=json.dumps(job), cwd=folder)
        if done.returncode:
            raise FailedRun("Yosys must mutate the accelerator:\n" + "\n".join(done.stdout.splitlines()[-12:]))

    recipe = Path(mutator.__file__).read_text(encoding="utf-8")
    versions = (importlib.metadata.version("pyosys"), _SOURCE)
    parts = (hardware_digest(), *versions, recipe, config.hash, str(count), str(seed))
    folder = Store("mutants").obtain(key_of(*parts), make).path
    commands, lines = ((folder / name).read_text(encoding="utf-8").splitlines() for name in (_LIST, _SOURCE))
    verilog = (folder / _VERILOG).read_text(encoding="utf-8")
    behind = named_behind(verilog)
    found = tuple(Mutant.of(command, lines, behind.get(k, "")) for k, command in enumerate(commands, start=1))
    return Mutants(verilog, found, folder / _DESIGN)


class MutantSimulator(RtlSimulator):
    """The simulator of an accelerator with its mutants.

    Parameters
    ----------
    config, memory_bytes, base
        As for `RtlSimulator`.
    verilog : str
        Of `Mutants`.
    """

    def __init__(self, config: AcceleratorConfig, *, memory_bytes: int, base: int, verilog: str) -> None:
        super().__init__(config, memory_bytes=memory_bytes, base=base)
        self.verilog = settable(watched(verilog))
        port = f"input logic [{BITS - 1}:0] {CONTROL}, input logic watch, output logic [{PER_BUILD}:0] reached,"
        self.testbench = self.testbench.replace("module testbench (", f"module testbench (\n    {port}", 1)
        forget = "    always @(posedge aclk) if (!watch) reached = 0;\n"
        self.testbench = self.testbench.replace("    assign marks =", f"{forget}    assign marks =", 1)
        self.testbench = self.testbench.replace("accelerator dut (", f"accelerator dut (\n        .{CONTROL},", 1)

        self.testbench += movable((importlib.resources.files("moesaic.sim") / "ddr.sv").read_text(encoding="utf-8"))

    def _build(self) -> Build:
        dram = importlib.resources.files("moesaic.sim") / "dram.sv"
        return build(f"{self.verilog}\n{self.testbench}", top="testbench", extra_sources=[Path(str(dram))])


def climb(
    simulator: RtlSimulator, trials: Sequence[Trial], memory: bytes, mutants: Sequence[int], *, work_dir: Path
) -> Climb:
    """Try the mutants. The memory behind each trial of the right hardware is left in `work_dir`, right_N.bin.

    Parameters
    ----------
    simulator : RtlSimulator
        Whose test bench has the ports that choose a mutant.
    trials : sequence of Trial
    memory : bytes
        From the first address of the DDR.
    mutants : sequence of int
    work_dir : Path

    Raises
    ------
    SimulationFailed
        If the simulator itself fails.
    FailedRun
        If the right hardware is not the same again at the end.
    """
    built = simulator.build()
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / "memory.bin").write_bytes(memory)
    job = {
        "mutants": list(mutants),
        "trials": [asdict(trial) for trial in trials],
        "base": simulator.base,
        "limit": LIMIT,
    }
    (work_dir / "job.json").write_text(json.dumps(job), encoding="utf-8")
    run(
        built,
        test_module="moesaic.flow.verify.mutant_run",
        work_dir=work_dir,
        env={"MOESAIC_JOB": str((work_dir / "job.json").resolve())},
        plusargs=[
            "+image=memory.bin",
            f"+image_base={simulator.base:x}",
            f"+dump={DUMP}",
            f"+window_bytes={len(memory)}",
        ],
    )
    lines = json.loads((work_dir / "outcome.json").read_text(encoding="utf-8"))
    noticed: dict[int, tuple[int, str]] = {}
    reached: dict[int, list[int]] = {mutant: [] for mutant in mutants}
    for number, line in enumerate(lines):
        noticed |= {mutant: (number, what) for mutant, what in line["found"] if what != SAME}
        for mutant in reached.keys() & set(line["reached"]):
            reached[mutant].append(number)
    if len(lines) != len(trials) or 0 in noticed or [0, SAME] not in lines[-1]["found"]:
        raise FailedRun(f"accelerator without a mutant must do the same at the end, not {noticed.get(0)}")
    return Climb(noticed, {mutant: tuple(places) for mutant, places in reached.items()})
