"""State machines with a register for each state."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_

from amaranth.hdl import Module, Signal

from moesaic.hw.stream.rules import Check, require

__all__ = ["States"]


class States:
    """One-hot states: what a state enables is one LUT from a register, and so is what leaves it.

    Used as Amaranth's own: a state's statements stand under `state`, and `to` names the next one; of several, the last
    one counts. `close` comes after the last state.

    Parameters
    ----------
    m : Module
    names : str
        Of the states; the first one is that after reset.

    Raises
    ------
    KeyError
        Of `state` and `to`, for a name that was not given.
    """

    def __init__(self, m: Module, *names: str) -> None:
        self._m = m
        self.at = {name: Signal(init=k == 0, name=f"in_{name}") for k, name in enumerate(names)}
        self._ways: dict[tuple[str, str], Signal] = {}
        self._current = ""

    @contextmanager
    def state(self, name: str) -> Iterator[None]:
        """What holds in one state."""
        with self._m.If(self.at[name]):
            self._current = name
            yield

    def to(self, name: str) -> None:
        """Which state comes next."""
        here = self._current
        way = self._ways.setdefault((here, name), Signal(name=f"{here}_to_{self.at[name].name.removeprefix('in_')}"))
        self._m.d.comb += way.eq(1)
        self._m.d.comb += [other.eq(0) for (start, end), other in self._ways.items() if start == here and end != name]

    def close(self) -> None:
        """The next state: the one that a way leads to, or the same."""
        for name, at in self.at.items():
            enters = [way for (start, end), way in self._ways.items() if end == name and start != name]
            leaves = [way for (start, end), way in self._ways.items() if start == name and end != name]
            stays = at & ~reduce(or_, leaves) if leaves else at
            self._m.d.sync += at.eq(reduce(or_, enters, stays))
        exactly_one = sum(self.at.values()) == 1
        require(self._m, Check.ASSERT, exactly_one, "states: exactly one must hold")
