"""One Yosys run, in a process of its own (an error inside Yosys ends the process): `python -m
moesaic.boards.synthesis.worker`.
"""

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]

BUNDLE = "moesaic_bundle"


def _trimmed(module: dict[str, Any]) -> dict[str, Any]:
    """What counting and timing read of a module of Yosys's JSON."""
    return {
        "ports": {name: [port["direction"], port["bits"]] for name, port in module["ports"].items()},
        "cells": {
            name: [cell["type"], cell["parameters"] if len(cell["parameters"]) < 200 else {}, cell["connections"]]
            for name, cell in module["cells"].items()
        },
        "nets": {name: net["bits"] for name, net in module["netnames"].items() if not net["hide_name"]},
    }


def main() -> None:
    """Synthesise the modules that a job on standard input names.

    A job is JSON: ``source`` (Verilog file), ``out`` (folder), ``modules`` (list of names), ``passes`` (list of Yosys
    commands, ``{top}`` where the top module's name goes). Writes ``out/<index>.json`` for each module.
    """
    from pyosys import libyosys

    job = json.load(sys.stdin)
    out = Path(job["out"])
    design = libyosys.Design()
    libyosys.run_pass(f"read_verilog {job['source']}", design)
    for line in job["passes"]:
        libyosys.run_pass(line.format(top=BUNDLE), design)
    whole = out / "design.json"
    libyosys.run_pass(f"write_json {whole}", design)
    mapped = json.loads(whole.read_text(encoding="utf-8"))["modules"]
    whole.unlink()
    for index, name in enumerate(job["modules"]):
        (out / f"{index}.json").write_text(json.dumps(_trimmed(mapped[name])), encoding="utf-8")


if __name__ == "__main__":
    main()
