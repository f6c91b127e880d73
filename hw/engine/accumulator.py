"""Accumulators: one entry of `rows` sums per streamed vector, added up over the blocks of inputs."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.operation import operation_layout
from moesaic.hw.engine.array import sum_bits
from moesaic.hw.engine.extra import extra_products_layout, extra_score_bits
from moesaic.hw.functions.requantise import finished_layout, sums_layout, upper_layout
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Adds each vector's dot products to its entry; hands the entry on after the last block of inputs.

    One vector per cycle, latency 1 cycle, no back pressure. An entry must not come again within ``REUSE_CYCLES``. Sums
    wrap: the compiler proves that they fit.

    Members
    -------
    early : In(stream of operation_layout(), always ready)
        The operation that arrives in the next cycle, for the read.
    i : In(stream of operation_layout(), always ready), sums : In([rows] signed)
        Arriving dot products.
    score : In(signed), products : In([rows] signed)
        With them: the extra key's dot product; what the extra key adds to a first block of inputs. With `extra_key`.
    upper : In([rows] signed)
        With them: dot products of the upper lanes, which are finished as they come. With `packed_keys`.
    o : Out(stream of finished_layout(config), always ready)
        Finished sums, in the cycle after the last block's dot products arrive; and lone operations.
    """

    LATENCY = 1

    early: stream.Interface
    i: stream.Interface
    sums: data.View
    score: Signal
    products: data.View
    upper: data.View
    o: stream.Interface

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        extra = {"score": In(signed(extra_score_bits(config))), "products": In(extra_products_layout(config))}
        operations = In(stream.Signature(operation_layout(), always_ready=True))
        super().__init__(
            {
                "early": operations,
                "i": operations,
                "sums": In(data.ArrayLayout(signed(sum_bits(config.lanes)), config.rows)),
                **(extra if config.extra_key else {}),
                **({"upper": In(upper_layout(config))} if config.packed_keys else {}),
                "o": Out(stream.Signature(finished_layout(config), always_ready=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        layout = sums_layout(config)
        entries: memory.Memory = memory.Memory(
            shape=layout, depth=config.max_tokens, init=[], attrs={"ram_style": config.ram_style("accumulators")}
        )
        m.submodules.entries = entries
        write, read = entries.write_port(), entries.read_port()
        m.d.comb += [read.addr.eq(self.early.p.slot), read.en.eq(self.early.valid & self.early.p.vector)]

        total = Signal(layout)
        arriving = [self.sums[r] for r in range(config.rows)]
        firsts: list[Value | int] = [0] * config.rows
        if config.extra_key:
            arriving.append(self.score)
            firsts = [*(self.products[r] for r in range(config.rows)), 0]
        for r, (term, first) in enumerate(zip(arriving, firsts, strict=True)):
            old = read.data[r]
            kept = Mux(
                self.i.p.acc_first, first, Mux(self.i.p.acc_shift, (old << 8)[: config.acc_bits].as_signed(), old)
            )
            m.d.comb += total[r].eq(kept + term)
        acc = Signal(layout, reset_less=True)
        op: Any = Signal(self.i.p.shape(), reset_less=True)
        with m.If(self.i.valid):
            m.d.sync += op.eq(self.i.p)
        with m.If(self.i.valid & self.i.p.vector):
            m.d.sync += acc.eq(total)
        if config.packed_keys:
            upper = Signal(upper_layout(config), reset_less=True)
            with m.If(self.i.valid & self.i.p.vector):
                m.d.sync += upper.eq(self.upper)
            m.d.comb += self.o.p.upper.eq(upper)
        valid = Signal()
        m.d.sync += valid.eq(self.i.valid)
        m.d.comb += [
            write.addr.eq(op.slot),
            write.data.eq(acc),
            write.en.eq(valid & op.vector & ~op.acc_last),
            self.o.valid.eq(valid & (op.acc_last | ~op.vector)),
            self.o.p.op.eq(op),
            self.o.p.acc.eq(acc),
        ]
        return m
