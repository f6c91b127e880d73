"""Resources of an accelerator for a report: counted before, counted now if that was asked for, or else estimated."""

from typing import Any

from moesaic.boards.board import Board
from moesaic.boards.estimate import model
from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.fit import Fit
from moesaic.boards.synthesis.mapping import NOT_YET, SynthesisMissing
from moesaic.boards.synthesis.synthesise import Synthesis, synthesise_verilog
from moesaic.flow.boards import find_board
from moesaic.flow.stages import Stages
from moesaic.flow.synth import fit_report, synthesise_noted
from moesaic.hw.export import known_verilog
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["report_resources"]


def _known(config: AcceleratorConfig, family: str, *, uram: bool) -> Synthesis | None:
    """Earlier counts of exactly this design; None if a module lacks them."""
    verilog = known_verilog(config, assertions=False)
    if verilog is None:
        return None
    try:
        synthesis = synthesise_verilog(verilog, family=family, uram=uram, only_known=True)
    except SynthesisMissing:  # without Yosys nobody knows what its version would have counted
        return None
    return None if NOT_YET in synthesis.failures.values() else synthesis


def _plain(amount: Resources) -> dict[str, int | float]:
    return {kind: int(value) if float(value).is_integer() else value for kind, value in amount.to_dict().items()}


def _estimated(config: AcceleratorConfig, board: Board | None, family: str, *, uram: bool) -> dict[str, Any]:
    """The fields that synthesis would give, from `boards.estimate`."""
    units = model().units(config, family=family, uram=uram)
    total = sum(units.values(), Resources())
    fit = None if board is None else Fit(total, board.budget)
    how = (
        ""
        if board is None
        else f"; `moesaic synth --board {board.name}` counts (minutes the first time), or `--resources` with a run"
    )
    return {
        **_plain(total),
        "fits": None if fit is None else fit.fits,
        "source": "estimate",
        "incomplete": False,
        "units": {unit: _plain(amount) for unit, amount in units.items()},
        "unmapped": {},
        "family": family,
        "percent": None
        if fit is None
        else {line.kind: round(line.percent, 1) if line.budget else None for line in fit.lines},
        "note": f"This state of the hardware has not been counted: an estimate from accelerators that were "
        f"synthesised{how}.",
    }


def _counted(synthesis: Synthesis, config: AcceleratorConfig, board: Board | None) -> dict[str, Any]:
    fit = fit_report(synthesis, config, board)
    return {
        **fit["resources"],
        "fits": fit.get("fits"),
        "source": "synthesis",
        "incomplete": not fit["complete"],
        "units": fit["units"],
        "unmapped": {module: reason.splitlines()[0] for module, reason in fit["unmapped"].items()},
        "family": fit["family"],
        "percent": fit.get("percent"),
        "note": fit["note"],
    }


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
        `lut`, `ff`, `dsp`, `bram36`, `uram`, `fits`; `source` ("synthesis" or "estimate"), `units`, `budget`,
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
    if count:
        synthesis: Synthesis | None = synthesise_noted(config, family=family, uram=uram, stages=stages)
    else:
        with stages.stage("resources", "resources, as counted before"):
            synthesis = _known(config, family, uram=uram)
    fields = _estimated(config, found, family, uram=uram) if synthesis is None else _counted(synthesis, config, found)
    return {
        **fields,
        "board": name,
        "part": None if found is None else found.part,
        "budget": None if found is None else _plain(found.budget),
        "estimate": True,  # neither is place and route
    }
