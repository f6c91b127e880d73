"""Registers on a stream: one direction cut, or both."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SkidBuffer", "StreamRegister"]


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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(~self.spare_full)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += self.spare_full.eq(0)
            with m.If(self.spare_full):
                m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(self.spare)]
            with m.Else():
                m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [self.spare_full.eq(1), self.spare.eq(self.i.payload)]
        return m
