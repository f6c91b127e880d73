"""ATTEND: the multiplier that holds 1/sum of a query."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import SUM_BITS, state_layout
from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.memory.ports import Port, ReadSignature
from moesaic.hw.vector.pipeline import delay, delay_valid
from moesaic.hw.vector.reciprocal import Reciprocal

__all__ = ["Attend"]


class Attend(wiring.Component):
    """Reads the query's sum when its vector enters the array, so that 1/sum is there with the accumulators.

    Computes ``golden.numerics.reciprocal`` and its product with the instruction's scalar bit for bit. One operation per
    cycle, `LATENCY` cycles and the given delay later; no back pressure.

    Parameters
    ----------
    delay : int, cycles

    Members
    -------
    i : In(stream of operation_layout(), always ready)
    context : Out(ReadSignature), in the same cycle
    state : Out(ReadSignature)
    factor : Out(16), exponent : Out(6)
    """

    LATENCY = 1 + Reciprocal.LATENCY + 1  # cycles: state read, reciprocal, times the scalar

    i: stream.Interface
    context: Port
    state: Port
    factor: Signal
    exponent: Signal

    def __init__(self, *, delay: int) -> None:
        self.delay = delay
        self.reciprocal = Reciprocal(in_bits=SUM_BITS)
        super().__init__(
            {
                "i": In(stream.Signature(operation_layout(), always_ready=True)),
                "context": Out(ReadSignature(range(CONTEXTS), context_layout())),
                "state": Out(ReadSignature(12, state_layout())),
                "factor": Out(16),
                "exponent": Out(6),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reciprocal = reciprocal = self.reciprocal
        m.d.comb += [
            self.state.enable.eq(1),
            self.state.address.eq(self.i.p.token),
            self.context.enable.eq(1),
            self.context.address.eq(self.i.p.context),
            reciprocal.i_valid.eq(delay_valid(m, self.i.valid, 1)),
            reciprocal.i.eq(self.state.data.sum),
        ]
        scalar = delay(m, self.context.data.scalar, 1 + reciprocal.LATENCY, name="scalar")
        product = Signal(32)
        m.d.comb += product.eq(reciprocal.o_r * scalar + (1 << 15))
        factor, exponent = Signal(16, reset_less=True), Signal(6, reset_less=True)
        m.d.sync += [factor.eq(product >> 16), exponent.eq(reciprocal.o_e)]
        m.d.comb += [
            self.factor.eq(delay(m, factor, self.delay, name="factor")),
            self.exponent.eq(delay(m, exponent, self.delay, name="exponent")),
        ]
        return m
