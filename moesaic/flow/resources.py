"""Resources of an accelerator for a report: counted before, counted now if that was asked for, or else estimated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from moesaic.boards.board import Board, board_names, load_board
from moesaic.boards.estimate import added, model, shipped
from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.budget import Fit
from moesaic.boards.synthesis.mapping import NOT_YET, SynthesisMissing
from moesaic.boards.synthesis.synthesise import Synthesis, synthesise_verilog
from moesaic.flow.boards import find_board
from moesaic.flow.stages import Stages
from moesaic.flow.synth import NOTE, synthesise_noted
from moesaic.hw.export import known_verilog
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["ReportedResources", "judge", "report_resources"]


@dataclass(frozen=True, kw_only=True)
class ReportedResources:
    """What an accelerator takes, how that is known, and the board that it is held against.

    Parameters
    ----------
    lut, ff, dsp, bram36, uram
        Of all of it, as in `Resources`.
    source : str
        "synthesis" or "estimate".
    units : mapping of str to Resources
    incomplete : bool
        Yosys could not map everything.
    unmapped : mapping of str to str
        Modules that it could not map, and why.
    note : str
    family, board : str
    judged_by : str
        The board that it is held against, with its `part` and `budget`.
    percent : mapping of kind to float or None
        Of the budget; None where there is none.
    fits : bool
    estimate : bool
        Neither a count nor an estimate is place and route.
    """

    lut: int
    ff: int
    dsp: int
    bram36: float
    uram: int
    source: str
    units: Mapping[str, Resources]
    incomplete: bool
    unmapped: Mapping[str, str]
    note: str
    family: str
    board: str
    judged_by: str
    part: str
    budget: Resources
    percent: Mapping[str, float | None]
    fits: bool
    estimate: bool = True

    @property
    def total(self) -> Resources:
        """All of it."""
        return Resources(lut=self.lut, ff=self.ff, dsp=self.dsp, bram36=self.bram36, uram=self.uram)


@dataclass(frozen=True)
class _Taken:
    """What an accelerator takes, and how that is known.

    Parameters
    ----------
    units : mapping of str to Resources
    source : str
        "synthesis" or "estimate".
    note : str
    unmapped : mapping of str to str
        Modules that Yosys could not map, and why: the total is incomplete then.
    """

    units: Mapping[str, Resources]
    source: str
    note: str
    unmapped: Mapping[str, str] = field(default_factory=dict)


def _estimated(accelerator: AcceleratorConfig, family: str, *, uram: bool) -> _Taken:
    units = model().units(accelerator, family=family, uram=uram)
    return _Taken(
        units,
        "estimate",
        "These sizes of the hardware have not been counted: an estimate from accelerators that were synthesised; "
        "`--resources` with a run counts them, in minutes the first time.",
    )


def _counted(synthesis: Synthesis) -> _Taken:
    unmapped = {module: reason.splitlines()[0] for module, reason in synthesis.failures.items()}
    return _Taken(synthesis.units, "synthesis", NOTE, unmapped)


def _known(accelerator: AcceleratorConfig, family: str, *, uram: bool) -> _Taken | None:
    """Earlier counts of exactly this design, on this machine or those that came along; None if a module lacks them."""
    ours = shipped(accelerator, family=family, uram=uram)
    if ours is not None:
        return _Taken(ours.units, "synthesis", NOTE)
    verilog = known_verilog(accelerator, assertions=False)
    if verilog is None:
        return None
    try:
        synthesis = synthesise_verilog(verilog, family=family, uram=uram, only_known=True)
    except SynthesisMissing:  # without Yosys nobody knows what its version would have counted
        return None
    return None if NOT_YET in synthesis.failures.values() else _counted(synthesis)


def judge(accelerator: AcceleratorConfig, name: str, *, family: str = "zynqmp") -> Board:
    """The board that an accelerator which is no board's own is held against.

    The one whose name its own begins with ("zcu102-small": the ZCU102); else the smallest of the family that holds it,
    and the largest if none does. Only boards that a preset was made for are asked: what is said of a preset then stays
    the same when boards are added that use it.
    """
    boards = [board for board in map(load_board, board_names()) if board.accelerator.name == board.name]
    namesakes = [board for board in boards if f"{name}-".startswith(f"{board.name}-")]
    if namesakes:
        return namesakes[0]
    boards = sorted((board for board in boards if board.family == family), key=lambda board: board.budget.lut)
    for board in boards:
        uram = bool(accelerator.ultra_ram) and board.budget.uram > 0
        if Fit(added(model().units(accelerator, family=family, uram=uram)), board.budget).fits:
            return board
    return boards[-1]


def _whole(amount: Resources) -> Resources:
    """Half a block RAM is the only amount that is not whole."""
    halves = amount.bram36
    return Resources(
        lut=round(amount.lut),
        ff=round(amount.ff),
        dsp=round(amount.dsp),
        bram36=int(halves) if float(halves).is_integer() else halves,
        uram=round(amount.uram),
    )


def report_resources(
    accelerator: AcceleratorConfig, board: str, stages: Stages, *, count: bool = False, family: str = "zynqmp"
) -> ReportedResources:
    """What an accelerator takes, as a report says it.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    board : str
        Name or file of the board, or name of a bare preset; empty for none.
    stages : Stages
    count : bool
        Run Yosys for what has not been counted (minutes); otherwise only earlier counts are used.
    family : str
        Of a bare preset.

    Raises
    ------
    SynthesisMissing, ExportError
        Only if `count`.
    """
    found = find_board(board) if board else None  # an accelerator may stand for itself
    name = found.name if found is not None else board or accelerator.name
    family = found.system.fabric if found is not None else family
    uram = found.budget.uram > 0 if found is not None else bool(accelerator.ultra_ram)
    if count:
        taken: _Taken | None = _counted(synthesise_noted(accelerator, family=family, uram=uram, stages=stages))
    else:
        with stages.stage("resources", "resources, as counted before"):
            taken = _known(accelerator, family, uram=uram)
    estimate = _estimated(accelerator, family, uram=uram)
    taken = estimate if taken is None else taken
    total = added(taken.units)
    held = found if found is not None else judge(accelerator, name, family=family)
    fit = Fit(total, held.budget)
    # Of a count that lacks modules the estimate says whether all of it would fit.
    fits = fit.fits and (not taken.unmapped or Fit(added(estimate.units), held.budget).fits)
    return ReportedResources(
        **_whole(total).to_dict(),  # type: ignore[arg-type]
        source=taken.source,
        units={unit: _whole(amount) for unit, amount in taken.units.items()},
        incomplete=bool(taken.unmapped),
        unmapped=dict(taken.unmapped),
        note=taken.note,
        family=family,
        board=name,
        judged_by=held.name,
        part=held.part,
        budget=_whole(held.budget),
        percent={line.kind: round(line.percent, 1) if line.budget else None for line in fit.lines},
        fits=fits,
    )
