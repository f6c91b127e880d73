"""Registers on a stream: one direction cut, or both."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PairBuffer", "SkidBuffer", "StreamRegister"]


class StreamRegister(wiring.Component):
    """Register that cuts the forward path (payload and valid); ``ready`` passes through combinationally.

    One payload per cycle, latency 1 cycle, empty after reset.

    Parameters
    ----------
    shape : ShapeLike
        Payload.

    Members
    -------
    i : In(stream of shape)
    o : Out(stream of shape)
    """

    LATENCY = 1  # cycles, input transfer to output valid

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(self.o.ready | ~self.o.valid)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        return m


class SkidBuffer(wiring.Component):
    """Buffer of two entries that cuts both paths: ``i.ready``, ``o.valid`` and the payload come from registers.

    One payload per cycle, latency 1 cycle when not stalled. Empty and ready after reset.

    Parameters
    ----------
    shape : ShapeLike
        Payload.

    Members
    -------
    i : In(stream of shape)
    o : Out(stream of shape)
    """

    LATENCY = 1  # cycles, input transfer to output valid

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})
        self.spare = Signal(shape, reset_less=True)  # what arrived in the cycle in which the output stalled
        self.spare_full = Signal()
        self.free = Signal(init=1)  # it is not, for those who ask: all bits of a payload hang on the other

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(self.free)
        with m.If(~self.spare_full):
            m.d.sync += self.spare.eq(self.i.payload)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.spare_full.eq(0), self.free.eq(1)]
            with m.If(self.spare_full):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(self.spare)]
            with m.Else():
                m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [self.spare_full.eq(1), self.free.eq(0)]
        return m


class PairBuffer(wiring.Component):
    """Two entries, filled and emptied in turn; cuts both paths as `SkidBuffer` does, for payloads of many bits.

    What enables an entry's many registers is a register: a free entry takes whatever is there, and becomes full with a
    transfer. ``o.valid`` is a register; the payload passes a multiplexer of two on its way out. One payload per cycle,
    latency 1 cycle when not stalled. Empty and ready after reset.

    Parameters
    ----------
    shape : ShapeLike
        Payload.

    Members
    -------
    i : In(stream of shape)
    o : Out(stream of shape)
    """

    LATENCY = 1  # cycles, input transfer to output valid

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})
        self.entries = [Signal(shape, name=f"entry_{k}", reset_less=True) for k in range(2)]
        self.full = [Signal(name=f"full_{k}") for k in range(2)]
        self.write = Signal()
        self.read = Signal()
        self.second = Signal()  # there is an entry behind the one on offer

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [
            self.i.ready.eq(~Mux(self.write, self.full[1], self.full[0])),
            self.o.payload.eq(Mux(self.read, self.entries[1], self.entries[0])),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.write.eq(~self.write)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.read.eq(~self.read)
        # The entry to be read next is full: it was and stays, or what arrives goes there, or behind what is there.
        m.d.comb += self.second.eq(Mux(self.read, self.full[0], self.full[1]))
        m.d.sync += self.o.valid.eq(self.i.valid | (self.o.valid & (~self.o.ready | self.second)))
        for k, (entry, full) in enumerate(zip(self.entries, self.full, strict=True)):
            with m.If(~full):
                m.d.sync += [entry.eq(self.i.payload), full.eq(self.i.valid & (self.write == k))]
            with m.Elif(self.o.ready & (self.read == k)):
                m.d.sync += full.eq(0)
        return m
