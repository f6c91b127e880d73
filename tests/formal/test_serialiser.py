# amaranth: UnusedElaboratable=no
"""A serialiser's beats are those of its words, each once and in order, for any traffic: proved, and refuted on planted
bugs.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Elaboratable, Module, Signal
from inside import Opened, Planted
from prove import free_inputs, prove, refute

from moesaic.hw.memory.serialiser import Serialiser
from moesaic.hw.stream.rules import StreamContract

BEAT = 2  # bits
COUNTED = 6  # bits of the counts of beats, far more than are held at once


class SerialiserProof(Elaboratable):
    """One beat of one word is followed, both picked freely; all beats are counted."""

    def __init__(self, dut: Serialiser, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)
        self.pick = Signal()
        self.which = Signal(range(dut.beats))

    def elaborate(self, platform: object) -> Module:
        m, dut = Module(), self.dut
        m.submodules.dut = inner = Opened(dut, platform)
        m.submodules.contract = StreamContract(dut.o)
        push, pop = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        active, number, value = Signal(), Signal(range(dut.beats)), Signal(BEAT)
        ahead = Signal(range(dut.beats))
        m.d.comb += Assume(self.which < dut.beats)
        with m.If(~active | (pop & (ahead == 0))):
            m.d.sync += [active.eq(push & self.pick), number.eq(self.which), ahead.eq(self.which)]
            m.d.sync += value.eq(dut.i.payload.word_select(self.which, BEAT))
        with m.Elif(pop):
            m.d.sync += ahead.eq(ahead - 1)
        with m.If(active):
            m.d.comb += Assert(dut.o.valid, "the beat was lost")
            with m.If(ahead == 0):
                m.d.comb += Assert(dut.o.payload == value, "the beat changed")
        into, out = Signal(COUNTED), Signal(COUNTED)
        m.d.sync += [into.eq(into + push * dut.beats), out.eq(out + pop)]
        held = Signal(COUNTED)
        m.d.comb += [held.eq(into - out), Assert(dut.o.valid == (held != 0)), Assert(held <= dut.beats)]
        m.d.comb += Assert(dut.o.valid | dut.i.ready, "a word is taken, or a beat offered")
        if self.invariants:
            beat = inner["beat"]
            m.d.comb += [
                Assert(beat < dut.beats),
                Assert(inner["last"] == (beat == dut.beats - 1)),
                Assert(inner["free"] == ~dut.o.valid),
                Assert(~dut.o.valid | (held + beat == dut.beats)),
                Assert(dut.o.valid | (beat == 0)),
            ]
            with m.If(active):
                m.d.comb += [
                    Assert((number < dut.beats) & (ahead + beat == number)),
                    Assert(inner["word"].word_select(number, BEAT) == value),
                ]
        return m


@pytest.mark.parametrize("beats", [1, 2, 3, 8])
def test_serialiser(tmp_path: Path, beats: int) -> None:
    top = SerialiserProof(Serialiser(word_bits=BEAT * beats, beat_bits=BEAT), invariants=True)
    prove(top, free=[*top.free, top.pick, top.which], work=tmp_path)


class TakesAWordTooEarly(Planted, Serialiser):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["last"]):
            m.d.sync += inner["word"].eq(self.i.payload)


class SkipsABeat(Planted, Serialiser):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["last"].eq(inner["beat"] == 0)


class OffersAWordAgain(Planted, Serialiser):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.o.valid & self.o.ready & inner["last"]):
            m.d.sync += self.o.valid.eq(1)


@pytest.mark.parametrize("bug", [TakesAWordTooEarly, SkipsABeat, OffersAWordAgain])
def test_serialiser_bug_is_found(tmp_path: Path, bug: type[Serialiser]) -> None:
    top = SerialiserProof(bug(word_bits=BEAT * 3, beat_bits=BEAT), invariants=False)
    assert refute(top, free=[*top.free, top.pick, top.which], work=tmp_path)
