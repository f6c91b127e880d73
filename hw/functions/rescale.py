"""The second multiplication: of an activation by the instruction's scalar or by itself, of a gated value by its gate,
of an expert's output by its score.
"""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.functions.activate import is_activated, is_squared
from moesaic.hw.functions.companion import CompanionSignature
from moesaic.hw.functions.gated import is_gated_value
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function
from moesaic.hw.vector.pipeline import copies, delay, delay_valid
from moesaic.hw.vector.scale import Scale

__all__ = ["Rescale"]


class Rescale(wiring.Component):
    """``saturate16(round_shift(value * multiplier, post_shift))`` where there is one, else the value.

    One vector per cycle, `LATENCY` cycles later; no back pressure.

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value, gate : In([rows] signed(16)), o : Out([rows] signed(16))
    """

    AHEAD = 1
    LATENCY = Scale.LATENCY + 1  # cycles; the values are picked in the last

    i: stream.Interface
    value: data.View
    gate: data.View
    o: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.scale = Scale(lanes=config.rows)
        row = data.ArrayLayout(signed(16), config.rows)
        super().__init__({"i": In(CompanionSignature(config)), "value": In(row), "gate": In(row), "o": Out(row)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.scale = scale = self.scale
        context = self.i.p.context
        scored = Signal()
        scales = Signal()
        m.d.comb += [
            scored.eq((context.function == Function.ADD) & context.expert_valid),
            scales.eq(is_activated(context.function) | scored),
            scale.i_valid.eq(delay_valid(m, self.i.valid & scales, self.AHEAD)),
            scale.i.eq(self.value),
            scale.i_shift.eq(delay(m, context.post_shift, self.AHEAD, name="post_shift")),
        ]
        shared = Signal(16)
        m.d.comb += shared.eq(
            Mux(
                delay(m, scored, self.AHEAD, name="scored"),
                delay(m, self.i.p.op.score, self.AHEAD, name="score"),
                delay(m, context.scalar, self.AHEAD, name="scalar"),
            )
        )
        rows, value = self.config.rows, is_gated_value(self.config, self.i.p)
        squared = copies(m, is_squared(context.function), rows, name="squared")
        gated = copies(m, value, rows, name="gated")
        for r in range(rows):
            own: Value = Mux(squared[r], self.value[r], shared)
            m.d.comb += scale.i_mult[r].eq(Mux(gated[r], self.gate[r], own) if self.config.gated_mlp else own)
        unscaled = delay(m, self.value, Scale.LATENCY, name="unscaled")
        early = delay(m, scales, self.AHEAD + Scale.LATENCY - 1, name="scales")
        result: Any = Signal(self.value.shape(), name="result", reset_less=True)
        m.d.comb += Value.cast(self.o).eq(Value.cast(result))
        for r, here in enumerate(copies(m, early, self.config.rows, name="scales")):
            m.d.sync += result[r].eq(Mux(here, scale.o[r], unscaled[r]))
        return m
