"""Retirement: instructions leave in order, when everything they write is written."""

from amaranth.hdl import Array as HdlArray
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.instruction import INDEX_BITS
from moesaic.hw.decode.operation import CONTEXTS
from moesaic.hw.engine.walk import retirement_layout
from moesaic.hw.memory.ports import Port, WriteSignature

__all__ = ["Retirement"]


class Retirement(wiring.Component):
    """Counts instructions; one that routes waits for the router. One per cycle; 0 after reset.

    Members
    -------
    i : In(WriteSignature)
        An instruction starts.
    ended : In(1)
        The last result of one is written.
    routed : In(1)
        The router is done.
    retired : Out(24), mark : Out(1)
        Instructions retired; pulses when a marked one retires.
    """

    i: Port
    ended: Signal
    routed: Signal
    retired: Signal
    mark: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(WriteSignature(range(CONTEXTS), retirement_layout())),
                "ended": In(1),
                "routed": In(1),
                "retired": Out(INDEX_BITS),
                "mark": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        finished = Signal(INDEX_BITS)
        routed = Signal()
        is_route = HdlArray(Signal(name=f"is_route_{k}") for k in range(CONTEXTS))
        is_marked = HdlArray(Signal(name=f"is_marked_{k}") for k in range(CONTEXTS))
        with m.If(self.i.mask):
            m.d.sync += [
                is_route[self.i.address].eq(self.i.data.route),
                is_marked[self.i.address].eq(self.i.data.mark),
            ]
        with m.If(self.routed):
            m.d.sync += routed.eq(1)
        with m.If(self.ended):
            m.d.sync += finished.eq(finished + 1)
        oldest = self.retired[: CONTEXTS.bit_length() - 1]
        with m.If((self.retired != finished) & (~is_route[oldest] | routed)):
            m.d.sync += self.retired.eq(self.retired + 1)
            m.d.comb += self.mark.eq(is_marked[oldest])
            with m.If(is_route[oldest]):
                m.d.sync += routed.eq(0)
        return m
