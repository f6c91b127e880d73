"""Words to beats, lowest first."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Serialiser"]


class Serialiser(wiring.Component):
    """One word in a register, offered beat by beat. One beat per cycle; latency 1 cycle. Empty after reset.

    Parameters
    ----------
    word_bits : int
        Width of a word, a multiple of that of a beat.
    beat_bits : int
        Width of a beat.

    Members
    -------
    i : In(stream of unsigned(word_bits))
    o : Out(stream of unsigned(beat_bits))

    Raises
    ------
    ValueError
        If a word is no whole number of beats.
    """

    LATENCY = 1  # cycles, input transfer to output valid

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *, word_bits: int, beat_bits: int) -> None:
        if beat_bits < 1 or word_bits < 1 or word_bits % beat_bits:
            raise ValueError(f"word_bits must be a multiple of beat_bits ({beat_bits!r}), not {word_bits!r}")
        self.beats, self.beat_bits = word_bits // beat_bits, beat_bits
        super().__init__({"i": In(stream.Signature(word_bits)), "o": Out(stream.Signature(beat_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = Signal(len(self.i.payload), reset_less=True)
        beat = Signal(range(self.beats))
        last = Signal(init=self.beats == 1)  # it is the word's last, judged a beat ahead
        free = Signal(init=1)  # no word is there: once more, for the many bits of one
        m.d.comb += [
            self.o.payload.eq(word.word_select(beat, self.beat_bits)),
            self.i.ready.eq(~self.o.valid | (self.o.ready & last)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), last.eq((beat + 2 == self.beats) | (self.beats == 1))]
        # A free register takes what is there: with a transfer it is on offer.
        with m.If(free | (self.o.ready & last)):
            m.d.sync += [word.eq(self.i.payload), free.eq(~self.i.valid)]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        return m
