"""ATTEND: the multiplier that holds 1/sum of a query's probabilities."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.memory.ports import Port, ReadSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.vector.pipeline import delay, delay_valid
from moesaic.hw.vector.reciprocal import Reciprocal

__all__ = ["SUM_BITS", "Attend"]

SUM_BITS = 21  # 4,095 keys of 256 each, in the mean


class Attend(wiring.Component):
    """Adds up a query's probabilities as they enter the array, so that 1/sum is there with the accumulators.

    Computes ``golden.numerics.reciprocal`` and its product with the instruction's scalar bit for bit, of the sum over
    the blocks of keys up to this one. Where probabilities pass twice, for values in two planes, they count once. One
    vector per cycle, `LATENCY` cycles and the given delay later; no back pressure. A slot must not come again within
    ``REUSE_CYCLES``.

    Parameters
    ----------
    config : AcceleratorConfig
    delay : int, cycles

    Members
    -------
    i : In(stream of operation_layout(), always ready)
        Of every vector, when it enters the array.
    total : In(config.total_bits)
        The sum of its probabilities.
    context : Out(ReadSignature), in the same cycle
    factor : Out(16), exponent : Out(6)
    """

    LATENCY = 2 + Reciprocal.LATENCY + 1  # cycles: sum read, added, reciprocal, times the scalar

    i: stream.Interface
    total: Signal
    context: Port
    factor: Signal
    exponent: Signal

    def __init__(self, config: AcceleratorConfig, *, delay: int) -> None:
        self.config, self.delay = config, delay
        self.reciprocal = Reciprocal(in_bits=SUM_BITS)
        super().__init__(
            {
                "i": In(stream.Signature(operation_layout(), always_ready=True)),
                "total": In(config.total_bits),
                "context": Out(ReadSignature(range(CONTEXTS), context_layout(config))),
                "factor": Out(16),
                "exponent": Out(6),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reciprocal = reciprocal = self.reciprocal
        sums: memory.Memory = memory.Memory(shape=unsigned(SUM_BITS), depth=self.config.max_tokens, init=[])
        m.submodules.sums = sums
        write, read = sums.write_port(), sums.read_port()
        op = self.i.p
        m.d.comb += [
            read.addr.eq(op.slot),
            read.en.eq(self.i.valid),
            self.context.enable.eq(1),
            self.context.address.eq(op.context),
        ]
        anew = delay(m, op.acc_first | op.acc_shift, 1, name="anew")
        total = Signal(SUM_BITS, reset_less=True)
        m.d.sync += total.eq(Mux(anew, 0, read.data) + delay(m, self.total, 1, name="vector_total"))
        m.d.comb += [
            write.addr.eq(delay(m, op.slot, 2, name="slot")),
            write.data.eq(total),
            write.en.eq(delay_valid(m, self.i.valid & op.attention, 2, name="kept")),
            reciprocal.i.eq(total),
        ]
        scalar = delay(m, self.context.data.scalar, 2 + reciprocal.LATENCY, name="scalar")
        product = Signal(32)
        m.d.comb += product.eq(reciprocal.o_r * scalar + (1 << 15))
        factor = Signal(16, reset_less=True)
        exponent = Signal(6, reset_less=True)
        m.d.sync += [factor.eq(product >> 16), exponent.eq(reciprocal.o_e)]
        m.d.comb += [
            self.factor.eq(delay(m, factor, self.delay, name="factor")),
            self.exponent.eq(delay(m, exponent, self.delay, name="exponent")),
        ]
        return m
