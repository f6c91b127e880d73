"""The DDR window: transfers that would leave it are refused before they reach the bus."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.errors import ADDRESS_BITS
from moesaic.hw.memory.bursts import BEATS_BITS

__all__ = ["WindowGuard"]


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
        super().__init__({
            "window_base": In(ADDRESS_BITS), "window_bytes": In(ADDRESS_BITS),
            "i": In(stream.Signature(data.StructLayout({"addr": ADDRESS_BITS, "beats": BEATS_BITS}))),
            "o": Out(stream.Signature(data.StructLayout({"addr": addr_bits, "beats": BEATS_BITS}))),
            "abort": In(1), "error": Out(1), "error_addr": Out(ADDRESS_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(self.i.payload.shape(), reset_less=True)
        below, offset = Signal(reset_less=True), Signal(ADDRESS_BITS, reset_less=True)
        length = held.beats * self.beat_bytes
        end = Signal(ADDRESS_BITS + 1, reset_less=True)  # in bytes from the start of the window
        stop = Signal(ADDRESS_BITS + 1, reset_less=True)  # address after the last byte
        bad = Signal(reset_less=True)

        # Three steps of one 64-bit addition or comparison each: long carry chains, no hurry.
        m.d.comb += [self.error_addr.eq(held.addr), self.o.p.addr.eq(held.addr), self.o.p.beats.eq(held.beats)]
        with m.FSM():
            with m.State("empty"):
                m.d.comb += self.i.ready.eq(~self.abort)
                m.d.sync += held.eq(self.i.payload)
                with m.If(self.i.valid & ~self.abort):
                    m.next = "locate"
            with m.State("locate"):
                m.d.sync += [below.eq(held.addr < self.window_base), offset.eq(held.addr - self.window_base)]
                m.next = "measure"
            with m.State("measure"):
                m.d.sync += [end.eq(offset + length), stop.eq(held.addr + length)]
                m.next = "judge"
            with m.State("judge"):
                m.d.sync += bad.eq(below | (end > self.window_bytes) | (stop > 1 << self.addr_bits)
                                   | (held.addr % self.beat_bytes != 0) | (held.beats == 0))
                m.next = "offer"
            with m.State("offer"):
                m.d.comb += [self.error.eq(bad & ~self.abort), self.o.valid.eq(~bad & ~self.abort)]
                with m.If(self.abort | bad | self.o.ready):
                    m.next = "empty"
        return m
