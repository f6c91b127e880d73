"""Mutants of a design, all in one Verilog text, in a process of its own: `python -m moesaic.flow.verify.mutator`.

Yosys's `mutate` inverts a bit of a cell's port, ties it to 0 or 1, or inverts it while another bit is 0 or 1. Each
mutant has a number, and is there while the input `CONTROL` has it.
"""

import json
import re
import sys
from pathlib import Path

__all__ = ["CONTROL", "main", "mutants_wanted"]

CONTROL = "mutant"
BITS = 16  # of the number; 0 is the design as it is

# Checks are no part of the hardware, and contents of memories must be constants.
_NO_HARDWARE = ("t:$check", "t:$print", "t:$meminit", "t:$meminit_v2", "*contract*/*", "*rules*/*")


# Reads without a clock have neither; Yosys writes no Verilog of one that has an enable.
_NO_PORT = re.compile(r"-cell \$memrd\S* -port (EN|CLK) ")
SPARE = 32  # mutants asked for in place of those


def mutants_wanted(commands: str, count: int) -> str:
    """As many of the commands as are wanted, numbered from 1."""
    lines = [line for line in commands.splitlines() if not _NO_PORT.search(line)][:count]
    numbered = (
        re.sub(rf"-ctrl {CONTROL} {BITS} \d+ ", f"-ctrl {CONTROL} {BITS} {k} ", line) for k, line in enumerate(lines, 1)
    )
    return "".join(f"{line}\n" for line in numbered)


def main() -> None:
    """Mutate the design that a job on standard input names.

    A job is JSON: ``source`` and ``out`` (Verilog files), ``design`` (the same as ``out``, for Yosys), ``list`` (a file
    for the commands that made the mutants), ``top``, ``count``, ``seed``.
    """
    from pyosys import libyosys

    job = json.load(sys.stdin)
    count = int(job["count"])
    passes = [
        f"read_verilog -sv {job['source']}",
        f"hierarchy -top {job['top']}",
        "proc -norom",
        "opt_expr",  # a bit that is constant has no mutants
        "opt_clean",
        "select -set hardware t:* " + " ".join(f"{pattern} %d" for pattern in _NO_HARDWARE),
        f"mutate -list {count + SPARE} -seed {job['seed']} -o {job['list']} -ctrl {CONTROL} {BITS} 1 @hardware",
    ]
    mutants = Path(job["list"])
    written = [
        f"script {mutants}",
        f"write_verilog -sv -noattr {job['out']}",
        f"write_rtlil {job['design']}",
    ]
    design = libyosys.Design()
    for line in passes:
        libyosys.run_pass(line, design)
    mutants.write_text(mutants_wanted(mutants.read_text(encoding="utf-8"), count), encoding="utf-8")
    for line in written:
        libyosys.run_pass(line, design)
    if not Path(job["out"]).stat().st_size:
        raise SystemExit("nothing was written")


if __name__ == "__main__":
    main()
