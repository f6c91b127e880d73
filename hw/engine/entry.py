"""The entry to the array: which vector goes in, and what comes out with its sums."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.operation import operation_layout
from moesaic.hw.engine.array import array_latency
from moesaic.hw.engine.vectors import vector_layout
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.latency import REUSE_CYCLES
from moesaic.hw.vector.pipeline import stages

__all__ = ["Entry"]


class Entry(wiring.Component):
    """Lets a vector into the array when its stationary block is there and its pass may start.

    Read-modify-writes of one entry must not overlap: of an accumulator, a token's sums, a query's softmax state, a kept
    gate. So a pass starts later than ``REUSE_CYCLES`` after the one before.

    Members
    -------
    i : In(stream of vector_layout(config))
    full : In(1)
        The shadow block may be taken.
    taken : Out(1)
        It was, in the last cycle.
    x, x_valid, swap : Out
        To the array.
    early : Out(stream of operation_layout(), always ready)
        Operations of vectors, when they enter.
    total : Out, extra : Out
        The sum of their probabilities; that of the extra key, with `extra_key`.
    coming, arriving : Out(stream of operation_layout(), always ready)
        Operations a cycle before, and with, their sums; lone ones too.
    busy, waiting, attention : Out(1)
        A vector enters; one waits for its block or its start; what enters, or entered last, is of attention.
    """

    i: stream.Interface
    full: Signal
    taken: Signal
    x: data.View
    x_valid: Signal
    swap: Signal
    early: stream.Interface
    total: Signal
    extra: Signal
    coming: stream.Interface
    arriving: stream.Interface
    busy: Signal
    waiting: Signal
    attention: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config, self.latency = config, array_latency(config.lanes)
        operations = Out(stream.Signature(operation_layout(), always_ready=True))
        layout = vector_layout(config)
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "full": In(1),
                "taken": Out(1),
                "x": Out(layout["x"].shape),
                "x_valid": Out(1),
                "swap": Out(1),
                "early": operations,
                "total": Out(config.total_bits),
                "coming": operations,
                "arriving": operations,
                "busy": Out(1),
                "waiting": Out(1),
                "attention": Out(1),
                **({"extra": Out(config.probability_width)} if config.extra_key else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        head = self.i.p.op
        pass_length = Signal(range(REUSE_CYCLES))  # cycles until `spaced`
        spaced = Signal(init=1)  # the next pass may start
        need_block = Signal()
        may_start = Signal()
        pop = Signal()
        in_attention = Signal()
        m.d.comb += [
            need_block.eq(head.vector & head.pass_first),
            may_start.eq(self.full & spaced),
            self.i.ready.eq(~need_block | may_start),
            pop.eq(self.i.valid & self.i.ready),
            self.x.eq(self.i.p.x),
            self.x_valid.eq(pop & head.vector),
            self.swap.eq(pop & need_block),
            self.early.valid.eq(pop & head.vector),
            self.early.payload.eq(head),
            self.total.eq(self.i.p.total),
            *([self.extra.eq(self.i.p.extra)] if self.config.extra_key else []),
            self.busy.eq(self.x_valid),
            self.waiting.eq(self.i.valid & need_block & ~may_start),
            self.attention.eq(Mux(self.x_valid, head.attention, in_attention)),
        ]
        m.d.sync += self.taken.eq(self.swap)
        with m.If(self.x_valid):
            m.d.sync += in_attention.eq(head.attention)
        with m.If(pass_length != 0):
            m.d.sync += pass_length.eq(pass_length - 1)
        with m.Else():
            m.d.sync += spaced.eq(1)
        with m.If(self.swap):
            m.d.sync += [pass_length.eq(REUSE_CYCLES - 1), spaced.eq(0)]
        ops = stages(m, head, self.latency, name="op")
        lives = stages(m, pop, self.latency, name="live", reset_less=False)
        for out, at in ((self.coming, self.latency - 1), (self.arriving, self.latency)):
            m.d.comb += [out.valid.eq(lives[at]), out.payload.eq(ops[at])]
        return m
