"""A run by layer: work, bytes and time of each, from the analytic model held against what the RTL counted."""

from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.compiler.ir import Op
from moesaic.energy.activity import Activity, program_activity, total
from moesaic.energy.model import Layer
from moesaic.flow.model_cycles import Routing, TaskModel

__all__ = ["LayerWork", "layer_works", "part_of"]


@dataclass(frozen=True, kw_only=True)
class LayerWork:
    """One layer of one run.

    Parameters
    ----------
    name : str
        Such as `blocks.3.experts`.
    part : str
        `embed`, `blocks.N` or `result`.
    macs : int
        Useful multiply-accumulates.
    activity : Activity
    cycles : float
        From the layer before to its last retirement.
    """

    name: str
    part: str
    macs: int
    activity: Activity
    cycles: float

    @property
    def layer(self) -> Layer:
        """For the energy model."""
        return Layer(self.name, self.activity, self.cycles)


def part_of(op: Op) -> str:
    """`embed`, `blocks.N` or `result`."""
    if op.stage == "result":
        return "result"
    return "embed" if op.block < 0 else f"blocks.{op.block}"


def _name(op: Op) -> str:
    part = part_of(op)
    return f"{part}.{op.group}" if op.group else part


def layer_works(
    model: TaskModel, routing: Routing, measured: Mapping[str, int | None] | None = None
) -> list[LayerWork]:
    """Layers of one task, in order.

    Parameters
    ----------
    model : TaskModel
    routing : mapping of block name to sequence of int
    measured : mapping of part to cycles, optional
        Counted by the RTL: the layers of a part share its cycles as the analytic model divides its own.
    """
    costs = model.costs(routing)
    tokens = model.tokens(routing)
    activities = program_activity(model.graph, costs, tokens, model.accelerator)
    names: dict[str, str] = {}
    work: dict[str, list[Activity]] = {}
    cycles: dict[str, float] = {}
    macs: dict[str, int] = {}
    before, parts = 0.0, dict[str, float]()
    for op, cost, activity in zip(model.graph.ops, costs, activities, strict=True):
        name, part = _name(op), part_of(op)
        names.setdefault(name, part)
        work.setdefault(name, []).append(activity)
        spent = max(0.0, cost.end - before)
        before = max(before, cost.end)
        cycles[name] = cycles.get(name, 0.0) + spent
        parts[part] = parts.get(part, 0.0) + spent
        macs[name] = macs.get(name, 0) + op.macs * (tokens(op) if op.expert is not None else 1)

    def scale(part: str) -> float:
        known = None if measured is None else measured.get(part)
        return 1.0 if known is None or not parts[part] else known / parts[part]

    return [
        LayerWork(name=name, part=part, macs=macs[name], activity=total(work[name]), cycles=cycles[name] * scale(part))
        for name, part in names.items()
    ]
