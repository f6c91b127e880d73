"""Gated MLPs: blocks of outputs come in pairs, a gate and then the values that it multiplies."""

from typing import Any

from amaranth.hdl import Const, Module, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.functions.companion import CompanionSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.vector.pipeline import delay, delay_valid

__all__ = ["Gated", "is_gate", "is_gated_value"]


def _is_gated(config: AcceleratorConfig, context: data.View) -> Value:
    return context.gated if config.gated_mlp else Const(0, 1)


def is_gate(config: AcceleratorConfig, companion: data.View) -> Value:
    """1 for a block of outputs that is kept and not written."""
    return _is_gated(config, companion.context) & ~companion.op.block[0]


def is_gated_value(config: AcceleratorConfig, companion: data.View) -> Value:
    """1 for a block of outputs that is multiplied by the one before."""
    return _is_gated(config, companion.context) & companion.op.block[0]


class Gated(wiring.Component):
    """Keeps an activated gate for each vector of a pass, all 16 bits of it, until its value comes in the next pass.

    A place is written one cycle after the gate, and read two before the value, so the value must not come within
    ``REUSE_CYCLES``. One vector per cycle, no back pressure.

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value : In([rows] signed(16))
        What has been activated, and the values as they are.
    o : Out([rows] signed(16)), in the same cycle
        The gate of a value.
    """

    AHEAD = 3

    i: stream.Interface
    value: data.View
    o: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        row = data.ArrayLayout(signed(16), config.rows)
        super().__init__({"i": In(CompanionSignature(config)), "value": In(row), "o": Out(row)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        kept: memory.Memory = memory.Memory(
            shape=self.value.shape(), depth=config.max_tokens, init=[], attrs={"ram_style": config.ram_style("gates")}
        )
        m.submodules.kept = kept
        write, read = kept.write_port(), kept.read_port()
        valid, slot = self.i.valid, self.i.p.op.slot
        gate: Any = Signal(self.o.shape(), reset_less=True)
        reads = valid & is_gated_value(config, self.i.p)
        writes = valid & is_gate(config, self.i.p)
        m.d.comb += [
            read.addr.eq(delay(m, slot, 1, name="read_slot")),
            read.en.eq(delay_valid(m, reads, 1, name="reads")),
            write.addr.eq(delay(m, slot, self.AHEAD + 1, name="write_slot")),
            write.data.eq(delay(m, self.value, 1, name="gate_in")),
            write.en.eq(delay_valid(m, writes, self.AHEAD + 1, name="writes")),
            self.o.eq(gate),
        ]
        m.d.sync += gate.eq(read.data)
        return m
