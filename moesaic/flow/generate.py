"""The generate stage: the accelerator as Verilog for synthesis."""

import json
from pathlib import Path

from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.stages import Stages
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.register_text import to_markdown
from moesaic.hw.spec.registers import register_map
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import to_verilog

__all__ = ["VERILOG", "generate"]

VERILOG = "accelerator.v"


def generate(config: AcceleratorConfig, folder: Path, stages: Stages, *, rtl_only: bool) -> None:
    """Write `accelerator.v` (no assertions), `config.json`, and unless `rtl_only` the register map as `registers.md`.

    Raises
    ------
    InputError, ExportError, OSError
    """
    check_replaceable(folder, marker=VERILOG)
    with new_folder(folder) as new:
        with stages.stage("verilog", f"Verilog of {config.name}"):
            (new / VERILOG).write_text(to_verilog(Accelerator(config), name="accelerator", assertions=False))
        (new / "config.json").write_text(json.dumps({**config.to_dict(), "hash": config.hash}, indent=1) + "\n")
        if not rtl_only:
            (new / "registers.md").write_text(
                to_markdown(register_map(config.ports, config_hash=int(config.hash[-8:], 16)))
            )
    stages.say(f"Verilog: {folder / VERILOG}")
