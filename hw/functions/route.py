"""ROUTE: gate logits for the router."""

from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.operation import context_layout, operation_layout
from moesaic.hw.functions.companion import CompanionSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function
from moesaic.hw.vector.pipeline import delay, delay_valid

__all__ = ["Route", "logits_layout"]


def logits_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A block of a token's gate logits, with its operation and its instruction's context."""
    return data.StructLayout(
        {
            "op": operation_layout(),
            "context": context_layout(config),
            "logits": data.ArrayLayout(signed(16), config.rows),
        }
    )


class Route(wiring.Component):
    """Hands the logits on as they come, to a router that is always ready.

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value : In([rows] signed(16))
    o : Out(stream of logits_layout(config), always ready)
    """

    AHEAD = 1

    i: stream.Interface
    value: data.View
    o: stream.Interface

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(
            {
                "i": In(CompanionSignature(config)),
                "value": In(data.ArrayLayout(signed(16), config.rows)),
                "o": Out(stream.Signature(logits_layout(config), always_ready=True)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        runs = self.i.valid & (self.i.p.context.function == Function.ROUTE)
        m.d.comb += [
            self.o.valid.eq(delay_valid(m, runs, self.AHEAD)),
            self.o.p.op.eq(delay(m, self.i.p.op, self.AHEAD, name="op")),
            self.o.p.context.eq(delay(m, self.i.p.context, self.AHEAD, name="context")),
            self.o.p.logits.eq(self.value),
        ]
        return m
