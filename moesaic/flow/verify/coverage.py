"""Structural coverage of the RTL: what many cases together run, take and toggle, and what none of them does."""

import functools
import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moesaic.boards.hardware import hardware_digest
from moesaic.compiler.image import ProgramImage
from moesaic.flow.simulator_need import SimulatorNeed
from moesaic.flow.stages import Stages
from moesaic.flow.verify import coverage_points, programs, slaves
from moesaic.flow.verify.campaign import Campaign, Chunk
from moesaic.flow.verify.coverage_points import CHECK, Point, ports_only, read_hits
from moesaic.flow.verify.covered import Coverage, measured
from moesaic.flow.verify.ladder import ladder
from moesaic.flow.verify.mutants import climb
from moesaic.flow.verify.mutation import check_truths
from moesaic.flow.verify.mutator import CONTROL
from moesaic.flow.verify.nano import Nano, nano
from moesaic.flow.verify.runs import run_chunk
from moesaic.hw.export import accelerator_verilog
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.verilog import verilog_modules
from moesaic.scratch import scratch
from moesaic.sim.build import Build, build
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator
from moesaic.store import Store, key_of

__all__ = ["COVERAGE", "CoveredSimulator", "points"]

CHUNK = 100  # cases
_FLAGS = ("--coverage-line", "--coverage-toggle", "--coverage-max-width", "4096")
_POINTS = "points.json"


class CoveredSimulator(RtlSimulator):
    """The simulator of an accelerator that counts what it runs.

    Parameters
    ----------
    config, memory_bytes, base
        As for `RtlSimulator`.
    """

    def __init__(self, config: AcceleratorConfig, *, memory_bytes: int, base: int) -> None:
        super().__init__(config, memory_bytes=memory_bytes, base=base)
        self.hits: dict[Point, bool] = {}  # of all runs so far
        # What runs trials asks for mutants: there are none.
        ports = f"    input logic {CONTROL}, input logic watch, output logic reached,\n"
        self.testbench = self.testbench.replace("module testbench (\n", f"module testbench (\n{ports}", 1)
        self.testbench = self.testbench.replace("    assign marks", "    assign reached = 0;\n    assign marks", 1)
        verilog = accelerator_verilog(config, assertions=True)
        self.modules = frozenset(name for name in verilog_modules(verilog) if not CHECK.search(name))
        self.verilog = ports_only(verilog)

    def _build(self) -> Build:
        here = importlib.resources.files("moesaic.sim")
        return build(
            f"{self.verilog}\n{self.testbench}",
            top="testbench",
            extra_sources=[Path(str(here / name)) for name in ("ddr.sv", "dram.sv")],
            extra_args=_FLAGS,
        )

    def run(self, program: ProgramImage, runs: Sequence[RtlRun], *, work_dir: Path, **options: Any) -> list[RtlResult]:
        """As `RtlSimulator.run`; adds to `hits`."""
        results = super().run(program, runs, work_dir=work_dir, **options)
        self.add_hits(work_dir)
        return results

    def add_hits(self, work_dir: Path) -> None:
        """Add what a simulation there has left to `hits`."""
        for point, hit in read_hits(work_dir / "coverage.dat", self.verilog, self.modules).items():
            self.hits[point] = hit or self.hits.get(point, False)


def _simulator(nano: Nano) -> CoveredSimulator:
    need = SimulatorNeed.of(nano.program)
    return CoveredSimulator(need.accelerator, memory_bytes=need.memory_bytes, base=need.base)


@functools.cache
def points() -> tuple[Point, ...]:
    """All points of the accelerator that the campaigns run, in the order of a chunk's bits."""
    small = nano()
    simulator = _simulator(small)

    def make(folder: Path) -> None:
        with scratch() as work:
            simulator.run(small.program, [small.run()], work_dir=work)
        listed = [[point.module, point.kind, point.place] for point in sorted(simulator.hits)]
        (folder / _POINTS).write_text(json.dumps(listed), encoding="utf-8")

    recipe = Path(coverage_points.__file__).read_bytes()
    key = key_of(hardware_digest(), simulator.verilog, simulator.testbench, recipe, *_FLAGS)
    text = (Store("coverage").obtain(key, make).path / _POINTS).read_text(encoding="utf-8")
    return tuple(Point(*fields) for fields in json.loads(text))


def _bits(simulator: CoveredSimulator) -> str:
    return f"{sum(1 << place for place, point in enumerate(points()) if simulator.hits.get(point)):x}"


def _trials(number: int) -> Chunk:
    """All trials that mutants must pass, by the hardware as it is."""
    steps = ladder()
    trials = [trial for rung in steps.rungs for trial in rung.trials]
    need = SimulatorNeed.of(steps.truths[0].program)
    simulator = CoveredSimulator(need.accelerator, memory_bytes=len(steps.memory), base=need.base)
    with scratch() as work:
        climb(simulator, trials, steps.memory, [], work_dir=work)
        check_truths(steps.truths, [trial.name for trial in trials], work)
        simulator.add_hits(work)
    return Chunk(number, len(trials), {"trials of mutants, as they must": len(trials)}, (), covered=_bits(simulator))


def _chunk(nano: Nano, item: tuple[int, int], stages: Stages) -> Chunk:
    """First the trials of mutants, then changed programs and bad slaves in turn."""
    seed, number = item
    if number == 0:
        return _trials(number)
    draw = (programs.draw, slaves.draw)[number % 2]
    simulator = _simulator(nano)
    cases = [draw(nano, seed, number * CHUNK + place) for place in range(CHUNK)]
    chunk = run_chunk(nano, number, cases, simulator=simulator)
    return replace(chunk, covered=_bits(simulator))


def _measure(covered: int) -> Coverage:
    return measured(points(), covered)


COVERAGE = Campaign(
    name="coverage",
    title="structural coverage",
    chunk_cases=CHUNK,
    prepare=nano,
    function=_chunk,
    need=lambda _: None,
    measure=_measure,
)
