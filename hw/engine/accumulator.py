"""Accumulators: one entry of `rows` sums per streamed vector, added up over the blocks of inputs."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.operation import operation_layout
from moesaic.hw.engine.array import sum_bits
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Adds each vector's dot products to its entry; hands the entry on after the last block of inputs.

    One vector per cycle, latency 1 cycle, no back pressure. An entry must not come again within 3 cycles (``REUSE``).
    Sums wrap: the compiler proves that they fit.

    Members
    -------
    early_valid, early_slot : In
        The vector that arrives in the next cycle, for the read.
    i_valid, i_op, i_sums : In
        Arriving dot products.
    o_valid, o_op, o_acc : Out
        Finished sums, in the cycle after the last block's dot products arrive; ``o_valid`` also with lone operations.
    """

    LATENCY = 1
    REUSE = 3  # cycles

    early_valid: Signal
    early_slot: Signal
    i_valid: Signal
    i_op: data.View
    i_sums: data.View
    o_valid: Signal
    o_op: data.View
    o_acc: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        operation = operation_layout()
        super().__init__(
            {
                "early_valid": In(1),
                "early_slot": In(12),
                "i_valid": In(1),
                "i_op": In(operation),
                "i_sums": In(data.ArrayLayout(signed(sum_bits(config.lanes)), config.rows)),
                "o_valid": Out(1),
                "o_op": Out(operation),
                "o_acc": Out(data.ArrayLayout(signed(config.acc_bits), config.rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        layout = data.ArrayLayout(signed(config.acc_bits), config.rows)
        entries: memory.Memory = memory.Memory(
            shape=layout, depth=config.max_tokens, init=[], attrs={"ram_style": "block"}
        )
        m.submodules.entries = entries
        write, read = entries.write_port(), entries.read_port()
        m.d.comb += [read.addr.eq(self.early_slot), read.en.eq(self.early_valid)]

        total = Signal(layout)
        for r in range(config.rows):
            old = read.data[r]
            kept = Mux(self.i_op.acc_first, 0, Mux(self.i_op.acc_shift, (old << 8)[: config.acc_bits].as_signed(), old))
            m.d.comb += total[r].eq(kept + self.i_sums[r])
        acc = Signal(layout, reset_less=True)
        op: Any = Signal(self.i_op.shape(), reset_less=True)
        with m.If(self.i_valid):
            m.d.sync += op.eq(self.i_op)
        with m.If(self.i_valid & self.i_op.vector):
            m.d.sync += acc.eq(total)
        valid = Signal()
        m.d.sync += valid.eq(self.i_valid)
        m.d.comb += [
            write.addr.eq(op.slot),
            write.data.eq(acc),
            write.en.eq(valid & op.vector & ~op.acc_last),
            self.o_valid.eq(valid & (op.acc_last | ~op.vector)),
            self.o_op.eq(op),
            self.o_acc.eq(acc),
        ]
        return m
