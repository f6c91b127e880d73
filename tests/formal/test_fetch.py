# amaranth: UnusedElaboratable=no
"""Instructions are fetched from their addresses and handed over once, in order and unchanged, none after the last."""

from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal
from fetch_proof import FetchProof
from inside import Planted
from prove import ProofFailed, prove, refute

from moesaic.hw.control.fetch import InstructionFetch

TWO_BEATS = {"addr_bits": 12, "data_bits": 8, "instruction_bytes": 2, "depth": 2}


def test_fetch(tmp_path: Path) -> None:
    top = FetchProof(InstructionFetch(**TWO_BEATS), invariants=True)
    prove(top, free=top.free, work=tmp_path, depth=2)


class PlantedFetch(Planted, InstructionFetch):
    """A unit with one mistake.

    Shows in a run of ``CYCLES`` cycles; 0 if such runs are too long to search.
    """

    CYCLES = 0


class SwapsBeats(PlantedFetch):
    CYCLES = 13

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += inner["instruction"].eq(Cat(inner["arriving"], inner["earlier"]))


class FillsTheWrongQueue(PlantedFetch):
    CYCLES = 13

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["put_stream"].eq(0)


class AsksBeyondTheEnd(PlantedFetch):
    CYCLES = 8

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += [inner["some_compute"].eq(1), inner["amount_compute"].eq(1)]


class ChoosesTooSoon(PlantedFetch):
    """Does not wait until a request is booked."""

    CYCLES = 11

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["sent"]):
            m.d.sync += inner["settle"].eq(0)


class GuardIgnoresAborts(PlantedFetch):
    CYCLES = 8

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += self.guard.abort.eq(0)


class AsksAfterAnError(PlantedFetch):
    CYCLES = 15

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["failed"].eq(0)


class BlamesTheFirstStream(PlantedFetch):
    CYCLES = 9

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["in_guard"].eq(0)


class BlamesTheLastRequest(PlantedFetch):
    """Reports a beat's error with the stream that asked last."""

    CYCLES = 16

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["wrong"]):
            m.d.comb += self.report.index.eq(inner["in_guard"])


class ClearKeepsABeat(PlantedFetch):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.clear):
            m.d.sync += inner["beat"].eq(inner["beat"])


class ClearKeepsACount(PlantedFetch):
    CYCLES = 14

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.clear):
            m.d.sync += self.issued[1].eq(self.issued[1])


class ExhaustedTooEarly(PlantedFetch):
    """When all is asked for, not when all is handed out."""

    CYCLES = 11

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += self.exhausted[0].eq((self.issued[0] == self.count[0]) & self.run & ~self.clear)


BUGS = PlantedFetch.__subclasses__()
LONG = [bug for bug in BUGS if bug.CYCLES >= 15]  # for `deeper`


def find(bug: type[PlantedFetch], work: Path) -> list[str]:
    """The assertions that a planted bug violates."""
    top = FetchProof(bug(**TWO_BEATS), invariants=False)
    return refute(top, free=top.free, work=work, depth=bug.CYCLES + 2, skip=bug.CYCLES - 2)


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.CYCLES and bug not in LONG])
def test_fetch_bug_is_found(tmp_path: Path, bug: type[PlantedFetch]) -> None:
    assert find(bug, tmp_path)


@pytest.mark.parametrize("bug", [ClearKeepsABeat])
def test_fetch_bug_cannot_be_proved_away(tmp_path: Path, bug: type[PlantedFetch]) -> None:
    top = FetchProof(bug(**TWO_BEATS), invariants=True)
    with pytest.raises(ProofFailed, match="violated"):
        prove(top, free=top.free, work=tmp_path, depth=2)
