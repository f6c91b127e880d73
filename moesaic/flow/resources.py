"""Resources of an accelerator for a report: what synthesis has counted before, or counts now if that was asked for."""

from typing import Any

from moesaic.boards.synthesis.mapping import NOT_YET, SynthesisMissing
from moesaic.boards.synthesis.synthesise import Synthesis, synthesise_verilog
from moesaic.boards.verilog import known_verilog
from moesaic.flow.boards import find_board
from moesaic.flow.stages import Stages
from moesaic.flow.synth import fit_report, synthesise_noted
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["KINDS", "report_resources", "unknown_resources"]

KINDS = ("lut", "ff", "dsp", "bram36", "uram")


def unknown_resources(board: str, note: str) -> dict[str, Any]:
    """The entry of an accelerator that nobody has counted."""
    return {**dict.fromkeys(KINDS), "fits": None, "board": board, "source": None, "estimate": True, "incomplete": True, "note": note}


def _known(config: AcceleratorConfig, family: str, *, uram: bool) -> Synthesis | None:
    """Earlier counts of exactly this design; None if a module lacks them."""
    verilog = known_verilog(config)
    if verilog is None:
        return None
    synthesis = synthesise_verilog(verilog, family=family, uram=uram, only_known=True)
    return None if NOT_YET in synthesis.failures.values() else synthesis


def report_resources(
    config: AcceleratorConfig, board: str, stages: Stages, *, count: bool = False, family: str = "zynqmp"
) -> dict[str, Any]:
    """What `report.json` says about resources.

    Parameters
    ----------
    config : AcceleratorConfig
    board : str
        Name or file of the board, or name of a bare preset; empty for none.
    stages : Stages
    count : bool
        Run Yosys for what has not been counted (minutes); otherwise only earlier counts are used.
    family : str
        Of a bare preset.

    Returns
    -------
    dict
        `lut`, `ff`, `dsp`, `bram36`, `uram`, `fits`; `source` ("synthesis", or None if nothing is known), `units`, `budget`,
        `percent`, `incomplete`, `unmapped` (modules that Yosys could not map, and why) and a `note`.

    Raises
    ------
    SynthesisMissing, ExportError
        Only if `count`.
    """
    found = find_board(board) if board else None  # an accelerator may stand for itself
    name = found.name if found is not None else board or config.name
    family = found.family if found is not None else family
    uram = found.budget.uram > 0 if found is not None else config.ultra_ram
    synthesis: Synthesis | None
    if count:
        synthesis = synthesise_noted(config, family=family, uram=uram, stages=stages)
    else:
        with stages.stage("resources", "resources, as counted before"):
            try:
                synthesis = _known(config, family, uram=uram)
            except SynthesisMissing as error:
                return unknown_resources(name, str(error))
    if synthesis is None:
        return unknown_resources(
            name, f"not counted yet for this state of the hardware; `moesaic synth --board {board}` counts, minutes the first time"
        )
    fit = fit_report(synthesis, config, found)
    return {
        **fit["resources"],
        "fits": fit.get("fits"),
        "board": name,
        "source": "synthesis",
        "estimate": True,
        "incomplete": not fit["complete"],
        "units": fit["units"],
        "unmapped": {module: reason.splitlines()[0] for module, reason in fit["unmapped"].items()},
        "family": fit["family"],
        "part": fit.get("part"),
        "budget": fit.get("budget"),
        "percent": fit.get("percent"),
        "note": fit["note"],
    }
