"""Cutting a transfer into AXI4 bursts."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import PAGE_BYTES

__all__ = ["BEATS_BITS", "BurstSplitter", "check_burst"]

BEATS_BITS = 24  # width of the length of one transfer, beats


def check_burst(*, data_bits: int, max_burst: int, max_outstanding: int) -> None:
    """Validate what the movers share; raises ValueError naming the parameter."""
    limit = min(256, PAGE_BYTES * 8 // data_bits)
    if not 2 <= max_burst <= limit or max_burst & (max_burst - 1):
        raise ValueError(f"max_burst must be a power of two in 2..{limit}, not {max_burst!r}")
    if max_outstanding < 1:
        raise ValueError(f"max_outstanding must be positive, not {max_outstanding!r}")


class BurstSplitter(wiring.Component):
    """Cut a run of beats at multiples of ``max_burst`` beats.

    No burst then crosses 4 KiB, since ``max_burst`` beats divide it, and no carry leaves the low bits of a beat's
    address within a burst. One burst every other cycle (its length is computed in one cycle and offered in the next),
    latency 2 cycles from command to burst. Idle after reset.

    Parameters
    ----------
    word_bits : int
        Width of an address in beats.
    max_burst : int, beats
        Longest burst, a power of two.

    Members
    -------
    i : In(stream of {word: unsigned(word_bits), beats: unsigned(24)})
        Address of the first beat, and their number; ready while no transfer is being cut.
    o : Out(stream of {word: unsigned(word_bits), last: range(max_burst)})
        Address of the first beat of a burst, and the number of beats that follow it.
    drop : In(1)
        Forget the transfer in progress; a burst on offer is withdrawn.
    """

    LATENCY = 2  # cycles, command transfer to o.valid

    i: stream.Interface
    o: stream.Interface
    drop: Signal

    def __init__(self, *, word_bits: int, max_burst: int) -> None:
        self.max_burst = max_burst
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"word": word_bits, "beats": BEATS_BITS}))),
                "o": Out(stream.Signature(data.StructLayout({"word": word_bits, "last": range(max_burst)}))),
                "drop": In(1),
            }
        )
        self.word = Signal(word_bits)
        self.more = Signal()  # beats are left, that no burst has
        self.beyond = Signal(BEATS_BITS)  # of these, all but one

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inside = (self.max_burst - 1).bit_length()
        room = Signal(inside)
        left = Signal(signed(BEATS_BITS + 1))
        m.d.comb += [
            self.i.ready.eq(~self.more & ~self.o.valid),
            room.eq(~self.word[:inside]),  # beats up to the next cut, but one
            left.eq(self.beyond - room - 1),  # beyond the cut, but one: negative if the transfer ends before it
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.word.eq(self.i.payload.word),
                self.more.eq(self.i.payload.beats != 0),
                self.beyond.eq(self.i.payload.beats - 1),
            ]
        with m.Elif(self.more & ~self.o.valid):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.word.eq(self.word),
                self.o.payload.last.eq(Mux(left < 0, self.beyond[:inside], room)),
                # What follows a burst that was cut begins at the cut.
                self.word.eq((self.word[inside:] + 1) << inside),
                self.more.eq(left >= 0),
                self.beyond.eq(left),
            ]
        with m.If(self.drop):
            m.d.sync += [self.more.eq(0), self.o.valid.eq(0)]
        return m
