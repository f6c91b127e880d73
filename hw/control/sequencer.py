"""Decodes compute instructions, refuses bad ones, and hands them to loader and feeder."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.decode.legality import refusals
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, INSTRUCTION_BITS, Opcode
from moesaic.hw.spec.latency import UNIT_QUEUE
from moesaic.hw.spec.registers import ErrorCode
from moesaic.hw.stream.queue import Queue

__all__ = ["Sequencer", "issued_layout"]

_OPCODES = tuple(opcode for opcode, layout in FORMATS.items() if layout.stream == "compute")


def issued_layout() -> data.StructLayout:
    """A compute instruction on its way to loader and feeder."""
    return data.StructLayout({"index": unsigned(INDEX_BITS), "body": unsigned(INSTRUCTION_BITS)})


class Sequencer(wiring.Component):
    """One instruction per three cycles into the queues of loader and feeder, until one is refused.

    Refuses what `docs/isa.md` gives no meaning on this configuration, so that the units behind need not defend
    themselves.
    A refused instruction raises ``error`` until reset; nothing after it is issued. Empty after reset.

    Members
    -------
    i : In(stream of unsigned(256))
    loader, feeder : Out(stream of issued_layout())
    error : Out(1), error_code : Out(8), error_index : Out(24)
    """

    i: stream.Interface
    loader: stream.Interface
    feeder: stream.Interface
    error: Signal
    error_code: Signal
    error_index: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.loader_queue = Queue(issued_layout(), depth=UNIT_QUEUE)
        self.feeder_queue = Queue(issued_layout(), depth=UNIT_QUEUE)
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION_BITS)),
                "loader": Out(stream.Signature(issued_layout())),
                "feeder": Out(stream.Signature(issued_layout())),
                "error": Out(1),
                "error_code": Out(8),
                "error_index": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.loader_queue = loader_queue = self.loader_queue
        m.submodules.feeder_queue = feeder_queue = self.feeder_queue
        index = Signal(INDEX_BITS)
        held = Signal()
        body: Any = Signal(
            data.UnionLayout(
                {"raw": INSTRUCTION_BITS} | {opcode.name: instruction_layout(opcode) for opcode in _OPCODES}
            )
        )
        op = body[Opcode.MATMUL.name]  # all begin alike

        known = Signal()
        bad = [Signal(name=f"bad_{part}") for part in range(2)]  # many reasons, in two halves
        with m.Switch(op.opcode):
            for opcode in _OPCODES:
                with m.Case(opcode):
                    reasons = refusals(opcode, body[opcode.name], config)
                    m.d.comb += [known.eq(1), *(half.eq(reduce(or_, reasons[k::2])) for k, half in enumerate(bad))]
        # The judgement is a register: many comparisons, and no hurry.
        judged = Signal()
        wrong = [Signal(name=f"wrong_{part}") for part in range(2)]
        timely = Signal()  # `judged`, and waits for no instruction behind it
        unknown = Signal()
        to_loader = Signal()
        m.d.sync += [
            judged.eq(held),
            to_loader.eq(op.opcode != Opcode.NORM),
            unknown.eq(~known),
            wrong[0].eq(~known | bad[0]),
            wrong[1].eq(bad[1]),
            timely.eq(held & ~((op.feed_wait > index) | (op.load_wait > index))),
        ]
        good = timely & ~wrong[0] & ~wrong[1]
        go = Signal()
        m.d.comb += [
            go.eq(good & feeder_queue.i.ready & (loader_queue.i.ready | ~to_loader)),
            self.i.ready.eq(~held),
            loader_queue.i.valid.eq(go & to_loader),
            feeder_queue.i.valid.eq(go),
            self.error.eq(judged & (wrong[0] | wrong[1] | ~timely)),
            self.error_code.eq(Mux(unknown, ErrorCode.BAD_OPCODE, ErrorCode.BAD_FIELD)),
            self.error_index.eq(index),
        ]
        for queue, out in ((loader_queue, self.loader), (feeder_queue, self.feeder)):
            m.d.comb += [
                queue.i.p.index.eq(index),
                queue.i.p.body.eq(body),
                out.valid.eq(queue.o.valid),
                out.payload.eq(queue.o.payload),
                queue.o.ready.eq(out.ready),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [body.eq(self.i.payload), held.eq(1)]
        with m.If(go):
            m.d.sync += [held.eq(0), judged.eq(0), timely.eq(0), index.eq(index + 1)]
        return m
