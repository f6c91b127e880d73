"""The DDR window: transfers that would leave it are refused before they reach the bus."""

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out

from moesaic.hw.memory.bursts import BEATS_BITS

__all__ = ["ADDRESS_BITS", "Step", "WindowGuard"]

ADDRESS_BITS = 64  # of a byte address in the registers


class Step(Enum, shape=unsigned(3)):
    """What is known about the transfer that is held."""

    EMPTY = 0
    LOCATE = 1
    MEASURE = 2
    JUDGE = 3
    OFFER = 4


class WindowGuard(wiring.Component):
    """Passes a transfer on if all its bytes lie in the window, the address is aligned and it is not empty.

    A refused transfer is dropped and reported by one pulse of ``error``. One transfer at a time: latency 4 cycles, one
    transfer per 5 cycles; an offered transfer holds until taken or aborted. Reset state: empty.

    Parameters
    ----------
    addr_bits : int
        Width of a bus address; higher bits of the 64-bit input address must be 0.
    data_bits : int
        Width of a beat, a power of two, 8 or more.

    Members
    -------
    window_base, window_bytes : In(64)
        The window; stable while transfers pass.
    i : In(stream of {addr: unsigned(64), beats: 1..2**24 - 1})
    o : Out(stream of {addr: unsigned(addr_bits), beats: 1..2**24 - 1})
        As ``AxiReader.cmd``.
    abort : In(1)
        Drop what is held, take nothing.
    error : Out(1)
        Pulse: the transfer at ``error_addr`` was refused.
    error_addr : Out(64)

    Raises
    ------
    ValueError
        If a width is not as above.
    """

    LATENCY = 4  # cycles, input transfer to output valid or error

    window_base: Signal
    window_bytes: Signal
    i: stream.Interface
    o: stream.Interface
    abort: Signal
    error: Signal
    error_addr: Signal

    def __init__(self, *, addr_bits: int, data_bits: int) -> None:
        if not 1 <= addr_bits <= ADDRESS_BITS:
            raise ValueError(f"addr_bits must be 1 to {ADDRESS_BITS}, not {addr_bits!r}")
        if data_bits < 8 or data_bits & (data_bits - 1):
            raise ValueError(f"data_bits must be a power of two of 8 or more, not {data_bits!r}")
        self.addr_bits, self.beat_bytes = addr_bits, data_bits // 8
        super().__init__(
            {
                "window_base": In(ADDRESS_BITS),
                "window_bytes": In(ADDRESS_BITS),
                "i": In(stream.Signature(data.StructLayout({"addr": ADDRESS_BITS, "beats": BEATS_BITS}))),
                "o": Out(stream.Signature(data.StructLayout({"addr": addr_bits, "beats": BEATS_BITS}))),
                "abort": In(1),
                "error": Out(1),
                "error_addr": Out(ADDRESS_BITS),
            }
        )
        # Proofs name these.
        self.state = Signal(Step)
        self.held: Any = Signal(self.i.payload.shape(), reset_less=True)
        self.below = Signal(reset_less=True)
        self.offset = Signal(ADDRESS_BITS, reset_less=True)
        self.end = Signal(ADDRESS_BITS + 1, reset_less=True)  # in bytes from the start of the window
        self.stop = Signal(ADDRESS_BITS + 1, reset_less=True)  # address after the last byte
        # What is offered, or refused; nothing is held.
        self.good = Signal()
        self.bad = Signal()
        self.empty = Signal(init=1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = self.held
        length = held.beats * self.beat_bytes
        wrong = Signal()
        m.d.comb += [self.error_addr.eq(held.addr), self.o.p.addr.eq(held.addr), self.o.p.beats.eq(held.beats)]
        # From registers of their own, for the units go on from there.
        m.d.comb += [
            self.i.ready.eq(self.empty & ~self.abort),
            self.o.valid.eq(self.good & ~self.abort),
            self.error.eq(self.bad & ~self.abort),
        ]
        # Three steps of one 64-bit addition or comparison each: long carry chains, no hurry.
        with m.Switch(self.state):
            with m.Case(Step.EMPTY):
                m.d.sync += held.eq(self.i.payload)
                with m.If(self.i.valid):
                    m.d.sync += [self.state.eq(Step.LOCATE), self.empty.eq(0)]
            with m.Case(Step.LOCATE):
                m.d.sync += [
                    self.below.eq(held.addr < self.window_base),
                    self.offset.eq(held.addr - self.window_base),
                    self.state.eq(Step.MEASURE),
                ]
            with m.Case(Step.MEASURE):
                m.d.sync += [
                    self.end.eq(self.offset + length),
                    self.stop.eq(held.addr + length),
                    self.state.eq(Step.JUDGE),
                ]
            with m.Case(Step.JUDGE):
                m.d.comb += wrong.eq(
                    self.below
                    | (self.end > self.window_bytes)
                    | (self.stop > 1 << self.addr_bits)
                    | (held.addr % self.beat_bytes != 0)
                    | (held.beats == 0)
                )
                m.d.sync += [self.good.eq(~wrong), self.bad.eq(wrong), self.state.eq(Step.OFFER)]
            with m.Case(Step.OFFER):
                with m.If(self.bad | self.o.ready):
                    m.d.sync += [self.good.eq(0), self.bad.eq(0), self.empty.eq(1), self.state.eq(Step.EMPTY)]
        with m.If(self.abort):
            m.d.sync += [self.good.eq(0), self.bad.eq(0), self.empty.eq(1), self.state.eq(Step.EMPTY)]
        return m
