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
from moesaic.scratch import scratch
from moesaic.sim.build import Build, build
from moesaic.sim.rtl import RtlSimulator
from moesaic.sim.verilated import run
from moesaic.store import Store, key_of

__all__ = ["PER_BUILD", "Climb", "Mutant", "MutantSimulator", "Mutants", "climb", "mutants_of", "watched"]

SAME = "same"
DUMP = "dump.bin"
PER_BUILD = 1000  # mutants of a simulator
LIMIT = 600_000  # cycles until the interrupt of the right hardware
_VERILOG, _LIST, _DESIGN = "mutants.sv", "mutants.txt", "mutants.il"


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
        with scratch() as work:
            source = work / "source.sv"
            source.write_text(text, encoding="utf-8")
            job = {"source": str(source), "out": str(folder / _VERILOG), "list": str(folder / _LIST)}
            job["design"] = str(folder / _DESIGN)
            job |= {"top": TOP, "count": str(count), "seed": str(seed)}
            command = [sys.executable, "-m", "moesaic.flow.verify.mutator"]
            done = Children().run(command, feed=json.dumps(job), cwd=work)
            if done.returncode:
                raise FailedRun("Yosys must mutate the accelerator:\n" + "\n".join(done.stdout.splitlines()[-12:]))

    recipe = Path(mutator.__file__).read_text(encoding="utf-8")
    parts = (hardware_digest(), importlib.metadata.version("pyosys"), recipe, config.hash, str(count), str(seed))
    folder = Store("mutants").obtain(key_of(*parts), make).path
    commands = (folder / _LIST).read_text(encoding="utf-8").splitlines()
    return Mutants((folder / _VERILOG).read_text(encoding="utf-8"), tuple(map(Mutant.of, commands)), folder / _DESIGN)


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
