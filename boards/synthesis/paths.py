"""A path from register to register, cell by cell."""

import re
from dataclasses import dataclass

__all__ = ["Path", "Step", "below", "entered", "kind_of"]


@dataclass(frozen=True)
class Step:
    """One cell of a path and the net that leads to it.

    Parameters
    ----------
    where : str
        Instance path below the module that the path is reported in, dots between.
    kind : str
        Type of the cell.
    name : str
        Name of the net that the cell drives (or of the register that it is), or nothing.
    net, cell : float, ns
        Delay of the net, then of the cell.
    loads : int
        Of the net.
    """

    where: str
    kind: str
    name: str
    net: float
    cell: float
    loads: int


@dataclass(frozen=True)
class Path:
    """A path from register to register.

    Parameters
    ----------
    module : str
        The module in which both ends meet.
    steps : tuple of Step
        From the register that launches to the one that captures (its set-up is its delay).
    delay : float, ns
        All of it, set-up included.
    """

    module: str
    steps: tuple[Step, ...]
    delay: float

    @property
    def logic(self) -> float:
        """Delay of its cells, ns."""
        return sum(step.cell for step in self.steps)

    @property
    def nets(self) -> float:
        """Delay of its nets, ns."""
        return sum(step.net for step in self.steps)

    @property
    def levels(self) -> int:
        """Cells between the registers."""
        return max(len(self.steps) - 2, 0)


def below(instance: str, steps: list[Step]) -> list[Step]:
    """A way inside a child, as its parent sees it."""
    return [
        Step(
            f"{instance}.{step.where}" if step.where else instance,
            step.kind,
            step.name,
            step.net,
            step.cell,
            step.loads,
        )
        for step in steps
    ]


def entered(steps: list[Step], net: float, loads: int) -> list[Step]:
    """A way that starts at an input port, with the net outside."""
    if not steps:
        return []
    first = steps[0]
    return [Step(first.where, first.kind, first.name, first.net + net, first.cell, max(loads, first.loads)), *steps[1:]]


def kind_of(name: str) -> str:
    """A name without its numbers: one for all bits, lanes, rows."""
    return re.sub(r"\d+", "#", name)
