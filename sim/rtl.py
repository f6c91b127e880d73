"""The RTL as a simulator: the whole accelerator with its DDR in Verilator, driven over AXI4-Lite under cocotb."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from moesaic.compiler.image import ProgramImage
from moesaic.golden.numerics import IntArray
from moesaic.hw.export import TOP, accelerator_verilog
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.build import Build, build
from moesaic.sim.saif import trace_registers
from moesaic.sim.verilated import run
from moesaic.sim.waves import Window, enumerations, mirrors

__all__ = ["SAIF", "RtlResult", "RtlRun", "RtlSimulator", "limit_of"]

SAIF = "verilator.saif"

_LEAST_LIMIT = 20_000_000  # cycles of a run, however small its program

# Counters that are registers of the top module, and those of them that the trace records.
_TRACED = (
    "array_busy",
    "array_starved",
    "array_loading",
    "array_blocked",
    "array_idle",
    "loader_busy",
    "loader_starved",
    "loader_blocked",
    "load_blocked_router",
    "load_blocked_space",
)
_LIVE = (
    "cycles",
    *_TRACED,
    "activation_words_read",
    "attention_cycles",
    "attention_words_read",
    "stationary_words_read",
    "marks",
)


@dataclass(frozen=True)
class RtlRun:
    """One run of a job.

    Parameters
    ----------
    task : str
    image : [(images,) 3, height, width] uint8 or None
        Input written before this run; None keeps what is there.
    memory : mapping
        Variables of the DDR model to set before this run (`ddr.sv`: stalls, faults).
    watchdog : int, cycles
    overrides : mapping
        Register values that replace the program's.
    soft_reset : bool
        Write CTRL.soft_reset afterwards.
    patches : sequence of (address, bytes)
        Written into the DDR before this run and undone after it; whole words of a port.
    command : str
        What happens while it runs: a bit of CTRL is written (`abort`, `soft_reset`, `start`), or everything is reset
        (`reset`), its bus and DDR too; empty for nothing.
    command_after : int, cycles
        From the start to that command.
    memory_after : mapping
        Variables of the DDR model to set once the run has ended, before `soft_reset`.
    """

    task: str
    image: IntArray | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    watchdog: int = 200_000
    overrides: Mapping[str, int] = field(default_factory=dict)
    soft_reset: bool = False
    patches: Sequence[tuple[int, bytes]] = ()
    command: str = ""
    command_after: int = 0
    memory_after: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RtlResult:
    """What one run left.

    Parameters
    ----------
    output : [items * tokens, dim] int16, or None after an error
        Final residuals, as read from DDR.
    marks : list of [items * tokens, dim] int16
        Residuals at every finished block, the embedding first.
    counters : mapping
    mark_counters : list of mapping
        Counters when each block finished.
    trace : mapping of name to int64 array
        Units per window of cycles.
    error : mapping or None
        Code, unit, index, address, text. The code is an `ErrorCode`'s name, or TIMEOUT if no interrupt came within the
        limit, or SOFT_RESET or RESET if the run was ended by one.
    violations : mapping
        AXI4 rules the master broke (ddr.sv): `mask` is 0 if none.
    status : int
        STATUS register after the run and its drain; still `busy` if the memory kept it from draining.
    """

    output: IntArray | None
    marks: list[IntArray]
    counters: Mapping[str, int]
    mark_counters: list[Mapping[str, int]]
    trace: Mapping[str, IntArray]
    error: Mapping[str, Any] | None
    violations: Mapping[str, int]
    status: int = 0


def limit_of(program: ProgramImage) -> int:
    """Cycles after which a run of any of the program's tasks is given up: eight times what its products take, and
    20 million beside.
    """
    items = max(len(task["items"]) for task in program.manifest["tasks"].values())
    return _LEAST_LIMIT + 8 * int(program.manifest["macs"]) * items // (program.config.rows * program.config.lanes)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class RtlSimulator:
    """Builds an accelerator once (cached by content) and runs jobs on it.

    Parameters
    ----------
    config : AcceleratorConfig
    memory_bytes : int
        Size of the DDR model; at least 32 MiB and grown in powers of two, so that an accelerator is built once for most
        programs.
    base : int
        First address of the DDR model.
    cache : Path or None
        Root of the `Store`; None: `cache_root()`.
    saif : bool
        Build a simulator that writes the switching activity of every run, `SAIF` in the job's folder; much slower.
    waves : Window or None
        Build a simulator that writes these cycles of the first run, `WAVES` in the job's folder; slower too.

    Raises
    ------
    BuildFailed, ToolMissing
    """

    def __init__(
        self,
        config: AcceleratorConfig,
        *,
        memory_bytes: int,
        base: int,
        cache: Path | None = None,
        saif: bool = False,
        waves: Window | None = None,
    ) -> None:
        self.config, self.base, self.cache, self.saif, self.waves = config, base, cache, saif, waves
        self._built: Build | None = None
        self.memory_bytes = max(1 << 25, 1 << (memory_bytes - 1).bit_length())
        source = (importlib.resources.files("moesaic.sim") / "testbench.sv.j2").read_text(encoding="utf-8")
        self.testbench = jinja2.Template(source, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(
            ports=config.ports,
            addr_bits=config.addr_bits,
            port_bits=config.port_bits,
            lanes=config.lanes,
            base=base,
            bytes=self.memory_bytes,
            max_outstanding=max(config.max_outstanding, 8),
            residual_words=config.residual_words,
            traced=_TRACED,
            counters=_LIVE,
            waves=None if waves is None else {"enumerations": enumerations(), "mirrors": mirrors()},
        )

    def build(self) -> Build:
        """Export, Verilator, C++: minutes the first time, nothing after."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> Build:
        verilog = accelerator_verilog(self.config, assertions=True, cache=self.cache)
        here = importlib.resources.files("moesaic.sim")
        sources, arguments = [here / "ddr.sv", here / "dram.sv"], []
        if self.saif or self.waves is not None:
            verilog = trace_registers(verilog, top=TOP)
            sources.append(here / "untraced.vlt")
            # SAIF of everything, however wide.
            arguments = ["--trace-saif", "--trace-max-width", "0"] if self.saif else ["--trace-fst"]
        return build(
            f"{verilog}\n{self.testbench}",
            top="testbench",
            extra_sources=[Path(str(source)) for source in sources],
            cache=self.cache,
            extra_args=arguments,
        )

    def run(
        self,
        program: ProgramImage,
        runs: Sequence[RtlRun],
        *,
        work_dir: Path,
        plusargs: Sequence[str] = (),
        seed: int = 1,
        limit: int | None = None,
        trace_window: int = 256,
        timeout_s: float | None = None,
        watched: bool = True,
    ) -> list[RtlResult]:
        """Run a job. `limit`: cycles after which a run is given up; by default many times what its products take.
        Unless `watched`, results have neither marks nor traces, which cost more time than short runs themselves.

        Raises
        ------
        SimulationFailed
            If an assertion of the design fails or the simulator dies.
        ValueError
            If the program is for another accelerator.
        """
        if program.config.hash != self.config.hash:
            raise ValueError(
                f"program must be compiled for {self.config.name} ({self.config.hash[:12]}), "
                f"not {program.config.name} ({program.config.hash[:12]})"
            )
        if limit is None:
            limit = limit_of(program)
        simulator = self.build()
        work_dir.mkdir(parents=True, exist_ok=True)
        program.save(work_dir / "program")
        first = next((r.image for r in runs if r.image is not None), None)
        (work_dir / "memory.bin").write_bytes(program.memory if first is None else program.memory_with(first))
        entries: list[dict[str, Any]] = []
        current = first
        for item in runs:
            entry: dict[str, Any] = {
                "task": item.task,
                "memory": dict(item.memory),
                "watchdog": item.watchdog,
                "overrides": dict(item.overrides),
                "soft_reset": item.soft_reset,
                "patches": [(address, data.hex()) for address, data in item.patches],
                "command": item.command,
                "command_after": item.command_after,
                "memory_after": dict(item.memory_after),
            }
            if item.image is not None and item.image is not current:
                parts = program.image_parts(item.image)
                entry |= {"addresses": [address for address, _ in parts], "parts": [part.hex() for _, part in parts]}
                current = item.image
            entries.append(entry)
        (work_dir / "job.json").write_text(
            json.dumps({"program": str((work_dir / "program").resolve()), "limit": limit, "runs": entries}),
            encoding="utf-8",
        )
        run(
            simulator,
            test_module="moesaic.sim.rtl_run",
            work_dir=work_dir,
            seed=seed,
            timeout_s=timeout_s,
            env={"MOESAIC_JOB": str((work_dir / "job.json").resolve())},
            plusargs=[
                "+image=memory.bin",
                f"+image_base={program.address:x}",
                *(("+residual=mark_", "+marks=marks.jsonl", "+trace=trace.csv") if watched else ()),
                f"+trace_window={trace_window}",
                f"+seed={seed}",
                *(("--trace", "--trace-file", SAIF) if self.saif else ()),
                *(() if self.waves is None else self.waves.plusargs),
                *plusargs,
            ],
        )
        return self._collect(program, runs, work_dir, watched=watched)

    def _collect(
        self, program: ProgramImage, runs: Sequence[RtlRun], work_dir: Path, *, watched: bool
    ) -> list[RtlResult]:
        outcomes, lines = _lines(work_dir / "outcomes.jsonl"), _lines(work_dir / "marks.jsonl") if watched else []
        head, *rest = (work_dir / "trace.csv").read_text(encoding="utf-8").splitlines() if watched else ("run",)
        names = head.split(",")
        table = np.array([line.split(",") for line in rest], dtype=np.int64).reshape(-1, len(names))
        results = []
        for number, outcome in enumerate(outcomes):
            mine: list[Mapping[str, int]] = [line for line in lines if line["run"] == number]
            task = runs[number].task
            marks = [
                self._residual(program, work_dir / f"mark_{line['mark']}.hex", task, position)
                for position, line in enumerate(mine)
            ]
            saved = work_dir / f"result_{number}.npy"
            output = program.unpack_result(np.load(saved).tobytes(), task) if "error" not in outcome else None
            rows = table[table[:, 0] == number] if len(table) else table
            results.append(
                RtlResult(
                    output=output,
                    marks=marks,
                    counters=outcome.get("counters", {}),
                    mark_counters=mine,
                    trace={name: rows[:, k] for k, name in enumerate(names) if k} if len(table) else {},
                    error=outcome.get("error"),
                    violations=outcome["violations"],
                    status=outcome["status"],
                )
            )
        return results

    @staticmethod
    def _residual(program: ProgramImage, path: Path, task: str, mark: int) -> IntArray:
        """Residual rows of a program's items from a dump of the whole memory; a corrupt program may leave more marks
        than it has.
        """
        mark = min(mark, len(program.task(task)["marks"]) - 1)
        words = [line for line in path.read_text(encoding="utf-8").split() if not line.startswith(("@", "//"))]
        first = program.manifest["tensors"][mark]["address"]
        return program.unpack_items(b"".join(bytes.fromhex(word)[::-1] for word in words[first:]), task, mark)
