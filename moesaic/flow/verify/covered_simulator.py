"""The simulator of an accelerator that counts what it runs, with a DDR that lies wherever a run wants it."""

import importlib.resources
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moesaic.compiler.image import ProgramImage
from moesaic.flow.verify.cover_points import with_cover_points
from moesaic.flow.verify.coverage_points import CHECK, Point, ports_only, read_hits
from moesaic.flow.verify.mutator import CONTROL
from moesaic.flow.verify.trial_hardware import movable, replaced
from moesaic.hw.export import accelerator_verilog
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.verilog import verilog_modules
from moesaic.sim.build import Build, build
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

__all__ = ["FLAGS", "CoveredSimulator"]

FLAGS = ("--coverage-line", "--coverage-toggle", "--coverage-user", "--coverage-max-width", "4096")


class CoveredSimulator(RtlSimulator):
    """The simulator of an accelerator that counts what it runs.

    A variable `moved` of its DDR model is added to all addresses of the memory on the bus. The host's AXI4-Lite signals
    of protection, which the hardware must not care for, change with the address.

    Parameters
    ----------
    config, memory_bytes, base
        As for `RtlSimulator`.
    """

    def __init__(self, config: AcceleratorConfig, *, memory_bytes: int, base: int) -> None:
        super().__init__(config, memory_bytes=memory_bytes, base=base)
        self.hits: dict[Point, bool] = {}  # of all runs so far
        # What runs trials asks for mutants: there are none.
        ports = f"    input logic {CONTROL}, input logic watch, output logic reached,"
        self.testbench = replaced(
            self.testbench,
            (
                (r"module testbench \(", rf"\g<0>\n{ports}"),
                (r"    assign marks", r"    assign reached = 0;\n\g<0>"),
                (r"(\.s_axil_a([rw])prot)\(3'd0\)", r"\1(s_axil_a\2addr[4:2])"),
            ),
        )
        self.testbench += movable((importlib.resources.files("moesaic.sim") / "ddr.sv").read_text(encoding="utf-8"))
        self.exported = accelerator_verilog(config, assertions=True)
        self.modules = frozenset(name for name in verilog_modules(self.exported) if not CHECK.search(name))
        self.verilog = ports_only(with_cover_points(self.exported, self.modules))

    def _build(self) -> Build:
        dram = importlib.resources.files("moesaic.sim") / "dram.sv"
        return build(
            f"{self.verilog}\n{self.testbench}", top="testbench", extra_sources=[Path(str(dram))], extra_args=FLAGS
        )

    def run(self, program: ProgramImage, runs: Sequence[RtlRun], *, work_dir: Path, **options: Any) -> list[RtlResult]:
        """As `RtlSimulator.run`, with the memory in its place where a run says nothing else; adds to `hits`."""
        runs = [replace(run, memory={"moved": 0, **run.memory}) for run in runs]
        results = super().run(program, runs, work_dir=work_dir, **options)
        self.add_hits(work_dir)
        return results

    def add_hits(self, work_dir: Path) -> None:
        """Add what a simulation there has left to `hits`."""
        for point, hit in read_hits(work_dir / "coverage.dat", self.verilog, self.modules).items():
            self.hits[point] = hit or self.hits.get(point, False)
