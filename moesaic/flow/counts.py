"""Counts that the estimate of resources is fitted to, and clocks: `python -m moesaic.flow.counts zcu102 kv260 --out
boards/counts.json`. With `--renew`, an accelerator whose Verilog is as it was when it was counted is not counted again.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from moesaic.boards.estimate import COUNTS
from moesaic.boards.hardware import hardware_digest
from moesaic.boards.synthesis.advice import reachable_mhz
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.errors import InputError
from moesaic.flow.boards import accelerator_of, find_board
from moesaic.flow.stages import Stages
from moesaic.flow.synth import long_path, synthesise_noted
from moesaic.hw.export import verilog_digest
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.records import to_plain

_PATHS = 3  # that are kept of each accelerator

__all__ = ["count", "main", "renewed"]


def count(name: str, stages: Stages) -> dict[str, Any]:
    """One accelerator by unit, and the clocks that it supports, as `boards.estimate` reads it; kept results of
    synthesis are used.

    Raises
    ------
    InputError
        If a module could not be mapped.
    BoardError, SynthesisMissing, ExportError
    """
    board, accelerator = find_board(name), accelerator_of(name)[2]
    family = board.system.fabric if board is not None else "zynqmp"
    uram = board.budget.uram > 0 if board is not None else bool(accelerator.ultra_ram)
    synthesis = synthesise_noted(accelerator, family=family, uram=uram, stages=stages)
    if not synthesis.complete:
        raise InputError(f"accelerator {name!r} must be mapped whole, but {', '.join(synthesis.failures)} could not be")
    delays = DELAYS[family]
    clocks = {}
    for corner in ("optimistic", "pessimistic"):
        with stages.stage(corner, f"longest paths, {corner}"):
            paths = synthesis.timing(_PATHS, pessimistic=corner == "pessimistic").paths
        clocks[f"{corner}_mhz"] = reachable_mhz(paths, delays)
    return {
        "config": accelerator.to_dict(),
        "family": family,
        "uram": uram,
        "hardware": hardware_digest(),
        "verilog": verilog_digest(accelerator),
        **clocks,
        "delays": delays.digest,
        "paths": [to_plain(long_path(path, delays)) for path in paths],  # the pessimistic corner's
        "units": {unit: amount.to_dict() for unit, amount in synthesis.units.items()},
    }


def renewed(name: str, known: Iterable[Mapping[str, Any]], stages: Stages) -> dict[str, Any]:
    """The count of an accelerator: the one there is, as one of today's hardware, if neither Verilog nor delays have
    changed since; else a new one. Errors as of `count`.
    """
    _, _, accelerator = accelerator_of(name)
    for entry in known:
        same_sizes = AcceleratorConfig(**entry["config"]) == accelerator
        if same_sizes and entry["delays"] == DELAYS[entry["family"]].digest:
            with stages.stage("verilog", f"Verilog of {name}"):
                same = entry.get("verilog") == verilog_digest(accelerator)
            if same:
                return {**entry, "config": accelerator.to_dict(), "hardware": hardware_digest()}
    return count(name, stages)


def main() -> None:
    """Synthesise the boards that are named and write the file."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.flow.counts", description=__doc__)
    parser.add_argument("boards", nargs="+", help="boards, files that describe one, or bare accelerators")
    parser.add_argument("--out", type=Path, default=Path(COUNTS), help="file to write")
    parser.add_argument("--renew", action="store_true", help="keep counts of accelerators whose Verilog is the same")
    given = parser.parse_args()
    stages = Stages()
    known = json.loads(given.out.read_text(encoding="utf-8")) if given.renew and given.out.is_file() else []
    entries = [renewed(name, known, stages) for name in given.boards]
    given.out.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
