"""Instructions that show each part of the legality checks at work: a comparison, or a bit of a field, that decides."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from moesaic.golden.numerics import Array
from moesaic.hw.decode.legality import refusals
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, Opcode

__all__ = ["Judged", "sensitive"]

Fields = Mapping[str, int]


class _Number:
    """Numbers of a field, of all instructions, whose comparisons can be turned over."""

    def __init__(self, values: Array, judged: "Judged") -> None:
        self.values, self.judged = values, judged

    def _made(self, values: Array) -> "_Number":
        return _Number(values, self.judged)

    def _compared(self, holds: Array) -> Array:
        return self.judged.compared(holds)

    @staticmethod
    def _plain(other: Any) -> Any:
        return other.values if isinstance(other, _Number) else other

    def __add__(self, other: Any) -> "_Number":
        return self._made(self.values + self._plain(other))

    def __sub__(self, other: Any) -> "_Number":
        return self._made(self.values - self._plain(other))

    def __mul__(self, other: Any) -> "_Number":
        return self._made(self.values * self._plain(other))

    def __and__(self, other: Any) -> "_Number":
        return self._made(self.values & self._plain(other))

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other: object) -> Any:
        return self._compared(self.values == self._plain(other))

    def __ne__(self, other: object) -> Any:
        return self._compared(self.values != self._plain(other))

    def __le__(self, other: Any) -> Array:
        return self._compared(self.values <= self._plain(other))

    def __ge__(self, other: Any) -> Array:
        return self._compared(self.values >= self._plain(other))

    def __gt__(self, other: Any) -> Array:
        return self._compared(self.values > self._plain(other))

    __hash__ = None  # type: ignore[assignment]


class _Instructions:
    """Instructions of one opcode as `refusals` looks at them: a number for each field, of all of them at once."""

    def __init__(self, columns: Mapping[str, Array], judged: "Judged") -> None:
        self.columns, self.judged = columns, judged
        self.unused = self["unused"]

    def __getitem__(self, name: str) -> _Number:
        return _Number(self.columns[name], self.judged)


class Judged:
    """What the checks make of many instructions of one opcode, as they are and with one part of them turned over.

    Parameters
    ----------
    opcode : Opcode
    instructions : sequence of mapping of field name to int
    config : AcceleratorConfig
    """

    def __init__(self, opcode: Opcode, instructions: Sequence[Fields], config: AcceleratorConfig) -> None:
        self.opcode, self.config = opcode, config
        self.fields = FORMATS[opcode].fields[1:]
        self._columns = {
            field.name: np.array([values.get(field.name, 0) for values in instructions], np.int64)
            for field in self.fields
        }
        self._columns |= {"opcode": np.full(len(instructions), opcode), "unused": np.zeros(len(instructions), np.int64)}
        self._turned = -1  # number of the comparison that is turned over
        self._seen: list[Array] = []
        self.refused = self._judge(self._columns)
        self.comparisons = list(self._seen)

    def compared(self, holds: Array) -> Array:
        """What a comparison says, which may be the opposite."""
        turned = len(self._seen) == self._turned
        self._seen.append(holds)
        return ~holds if turned else holds

    def _judge(self, columns: Mapping[str, Array]) -> Array:
        self._seen = []
        reasons: Any = refusals(self.opcode, _Instructions(columns, self), self.config)  # type: ignore[arg-type]
        return np.logical_or.reduce([np.broadcast_to(reason, self._columns["opcode"].shape) for reason in reasons])

    def decisive(self) -> Iterator[Array]:
        """For each comparison, and each bit of a field, the instructions in which it is 1 and decides whether they are
        refused, then those in which it is 0 and decides.
        """
        for number, holds in enumerate(self.comparisons):
            self._turned = number
            differs = self._judge(self._columns) != self.refused
            yield from (differs & holds, differs & ~holds)
        self._turned = -1
        for field in self.fields:
            for place in range(field.bits):
                column = self._columns[field.name]
                differs = self._judge({**self._columns, field.name: column ^ 1 << place}) != self.refused
                yield from (differs & (column >> place & 1 == 1), differs & (column >> place & 1 == 0))


def sensitive(judged: Judged) -> list[int]:
    """Places of few instructions, among which each comparison and bit decides as 1 and as 0 if it does at all."""
    goals = np.array([goal for goal in judged.decisive() if goal.any()])
    chosen: list[int] = []
    while goals.any():
        best = int(goals.sum(axis=0).argmax())
        chosen.append(best)
        goals = goals[~goals[:, best]]
    return chosen
