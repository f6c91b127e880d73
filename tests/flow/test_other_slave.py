"""The accelerator on a memory that others wrote (cocotbext-axi): every bit of every run, whatever channels pause.

`python tests/flow/test_other_slave.py 100` tries as many seeds of each manner.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from moesaic.flow.verify.nano import nano
from moesaic.hw.export import TOP, accelerator_verilog
from moesaic.sim.build import build
from moesaic.sim.verilated import run

LIMIT = 200_000  # cycles of a run
MANNERS = ("random pauses", "a shared port", "reads behind writes", "writes behind reads", "data before addresses")
IDS = {"awid": "output", "bid": "input", "arid": "output", "rid": "input"}  # which the accelerator has no use for


def _wrapped(verilog: str) -> str:
    """The accelerator in a module whose ports have identifiers too, all of them 0."""
    header = re.search(rf"^module {TOP}\((.*?)\);", verilog, flags=re.MULTILINE | re.DOTALL)
    assert header is not None
    body = verilog[header.end() :]
    ports = [name.strip() for name in header[1].split(",")]
    lines = []
    for name in ports:
        found = re.search(rf"^  (input|output) (\[\d+:0\] )?{name};", body, flags=re.MULTILINE)
        assert found is not None
        lines.append(f"  {found[1]} logic {found[2] or ''}{name}")
    names = [f"m_axi_{port}_{name}" for port in ("w0", "c") for name in IDS if port == "w0" or name in ("arid", "rid")]
    lines += [f"  {IDS[name.rsplit('_', 1)[1]]} logic [0:0] {name}" for name in names]
    lines.append("  input logic dump")  # of the project's own memory
    zero = [f"  assign {name} = 0;" for name in names if IDS[name.rsplit("_", 1)[1]] == "output"]
    return "\n".join(
        [
            "module other (",
            ",\n".join(lines),
            ");",
            *zero,
            f"  {TOP} dut ({', '.join(f'.{n}' for n in ports)});",
            "endmodule",
            "",
        ]
    )


def runs_on_it(folder: Path, wanted: list[tuple[str, int]]) -> list[int]:
    """Cycles of each run; every one must be bit exact."""
    small = nano()
    verilog = accelerator_verilog(small.program.config, assertions=True)
    simulator = build(f"{verilog}\n{_wrapped(verilog)}", top="other")
    small.program.save(folder / "program")
    np.save(folder / "image.npy", small.image)
    job = {
        "program": str(folder / "program"),
        "image": str(folder / "image.npy"),
        "runs": wanted,
        "limit": LIMIT,
        "manners": MANNERS,
    }
    (folder / "job.json").write_text(json.dumps(job))
    work = folder / "work"
    environment = {"MOESAIC_JOB": str(folder / "job.json")}
    here = [Path(__file__).parents[1] / "cocotb"]
    run(simulator, test_module="tb_other_slave", work_dir=work, python_path=here, env=environment)
    for number, (manner, seed) in enumerate(wanted):
        left = small.program.unpack_result(np.load(work / f"result_{number}.npy").tobytes())
        assert np.array_equal(left, small.expected), (manner, seed)
    return json.loads((work / "cycles.json").read_text())


def test_bit_exact_whatever_pauses(tmp_path: Path) -> None:
    """Each manner, and none: all of them hold something back."""
    *cycles, plain = runs_on_it(tmp_path, [*((manner, 5) for manner in MANNERS), ("", 0)])
    assert min(cycles) > plain and cycles[0] > 2 * plain


if __name__ == "__main__":
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        every = runs_on_it(Path(folder), [(manner, seed) for seed in range(count) for manner in MANNERS])
    for place, manner in enumerate(MANNERS):
        mine = every[place :: len(MANNERS)]
        print(f"{manner}: {len(mine)} runs bit exact, {min(mine):,} to {max(mine):,} cycles")
