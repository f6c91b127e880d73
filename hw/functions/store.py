"""Results of 8 or 16 bits for activation or key/value memory."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.functions.companion import CompanionSignature, ResultSignature
from moesaic.hw.functions.gated import is_gate
from moesaic.hw.memory.ports import Port
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.functions import FUNCTIONS
from moesaic.hw.spec.isa import Memory
from moesaic.hw.spec.tables import DIGITS_TOP
from moesaic.hw.vector.pipeline import copies, delay, delay_valid
from moesaic.hw.vector.rounding import digits

__all__ = ["Store"]


class Store(wiring.Component):
    """Writes what functions with a destination (`Use.written`) have made: saturated to a byte, or both bytes of it.

    Computes ``golden.numerics.int8`` and ``two_bytes`` bit for bit. One vector per cycle; results leave `commit` cycles
    after the values, 1 or more; no back pressure.

    Parameters
    ----------
    config : AcceleratorConfig
    commit : int, cycles

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value : In([rows] signed(16))
    result : Out(ResultSignature)
    """

    AHEAD = 1
    LATENCY = 1  # cycles from values to results, at the least

    i: stream.Interface
    value: data.View
    result: Port

    def __init__(self, config: AcceleratorConfig, *, commit: int) -> None:
        self.config, self.commit = config, commit
        super().__init__(
            {
                "i": In(CompanionSignature(config)),
                "value": In(data.ArrayLayout(signed(16), config.rows)),
                "result": Out(ResultSignature(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        context, result, rows = self.i.p.context, self.result, self.config.rows
        written = [context.function == function for function, use in FUNCTIONS.items() if use.written]
        runs = self.i.valid & reduce(or_, written) & ~is_gate(self.config, self.i.p)
        due = delay_valid(m, runs, self.AHEAD + self.commit - 1, name="due")
        memory = delay(m, context.dst_memory, self.AHEAD + self.commit - 1, name="memory_due")
        m.d.comb += [
            result.activation_due.eq(due & (memory == Memory.ACTIVATION)),
            result.write.eq(delay_valid(m, due, 1, name="write")),
            result.memory.eq(delay(m, memory, 1, name="memory")),
            result.place.eq(delay(m, self.i.p.place, self.AHEAD + self.commit, name="place")),
        ]
        narrow: Any = Signal(result.data.shape(), reset_less=True)
        lower: Any = Signal(result.low.shape(), reset_less=True)
        wide: list[Value] = [Const(0, 1)] * rows
        if self.config.wide_operands:
            wide = copies(m, context.wide_result, rows, name="wide")
        for r in range(rows):
            value = self.value[r]
            pair = digits(Mux(value > DIGITS_TOP, DIGITS_TOP, value))
            byte = Mux(value > 127, 127, Mux(value < -128, -128, value))[:8]
            m.d.sync += [narrow[r].eq(Mux(wide[r], pair[0], byte)), lower[r].eq(pair[1])]
        m.d.comb += result.data.eq(delay(m, narrow, self.commit - 1, name="narrow"))
        if self.config.wide_operands:
            m.d.comb += result.low.eq(delay(m, lower, self.commit - 1, name="lower"))
        return m
