"""Decodes compute instructions, refuses bad ones, and hands them to loader and feeder."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.engine.payloads import INDEX_BITS, instruction_layout, issued_layout
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS, Function, Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.registers import ErrorCode
from moesaic.hw.stream.queue import Queue

__all__ = ["Sequencer"]

QUEUE_DEPTH = 4


class Sequencer(wiring.Component):
    """One instruction per two cycles into the queues of loader and feeder, until one is refused.

    A refused instruction raises ``error`` until reset; nothing after it is issued.

    Members
    -------
    i : In(stream of unsigned(256))
    loader, feeder : Out(stream of issued_layout())
    error : Out(1), error_code : Out(8), error_index : Out(24)
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.loader_queue = Queue(issued_layout(), depth=QUEUE_DEPTH)
        self.feeder_queue = Queue(issued_layout(), depth=QUEUE_DEPTH)
        super().__init__({
            "i": In(stream.Signature(INSTRUCTION_BITS)),
            "loader": Out(stream.Signature(issued_layout())),
            "feeder": Out(stream.Signature(issued_layout())),
            "error": Out(1),
            "error_code": Out(8),
            "error_index": Out(INDEX_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.loader_queue = loader_queue = self.loader_queue
        m.submodules.feeder_queue = feeder_queue = self.feeder_queue
        index = Signal(INDEX_BITS)
        held = Signal()
        body = Signal(data.UnionLayout({
            "raw": INSTRUCTION_BITS,
            "matmul": instruction_layout(Opcode.MATMUL),
            "norm": instruction_layout(Opcode.NORM),
            "copy": instruction_layout(Opcode.COPY),
        }))
        op, copy, norm = body.matmul, body.copy, body.norm

        bad = Signal()
        attention = op.stationary != Stationary.WEIGHTS
        matmul_bad = (
            (op.stationary > max(Stationary)) | (op.stream > max(Stream)) | (op.function > max(Function)) | (op.unused != 0)
            | (op.dst_memory > Memory.KV) | (op.out_count == 0) | (op.in_blocks == 0)
            | (~op.expert_valid & ((op.token_count == 0) | (op.token_count > config.max_tokens)))
            | (op.expert_valid & (op.expert >= config.experts))
            | (attention & (op.lane_low + op.lane_count > config.lanes))
            | ((op.stationary == Stationary.VALUES) & (op.key_count == 0))
            | ((op.function == Function.ROUTE)
               & ((op.top_k == 0) | (op.top_k > config.max_top_k) | (op.out_count > config.experts) | op.expert_valid))
        )
        known = Signal()
        m.d.comb += known.eq((op.opcode == Opcode.MATMUL) | (op.opcode == Opcode.NORM) | (op.opcode == Opcode.COPY))
        with m.Switch(op.opcode):
            with m.Case(Opcode.MATMUL):
                m.d.comb += bad.eq(matmul_bad)
            with m.Case(Opcode.NORM):
                m.d.comb += bad.eq((norm.unused != 0) | (norm.dim == 0) | (norm.dim > config.max_dim) | (norm.epsilon == 0))
            with m.Case(Opcode.COPY):
                m.d.comb += bad.eq((copy.unused != 0) | (copy.words == 0)
                                   | ((copy.memory != Memory.ACTIVATION) & (copy.memory != Memory.RESIDUAL)))
        to_loader = op.opcode != Opcode.NORM
        good = held & known & ~bad
        go = Signal()
        m.d.comb += [
            go.eq(good & feeder_queue.i.ready & (loader_queue.i.ready | ~to_loader)),
            self.i.ready.eq(~held),
            loader_queue.i.valid.eq(go & to_loader),
            feeder_queue.i.valid.eq(go),
            self.error.eq(held & (~known | bad)),
            self.error_code.eq(ErrorCode.BAD_FIELD),
            self.error_index.eq(index),
        ]
        with m.If(~known):
            m.d.comb += self.error_code.eq(ErrorCode.BAD_OPCODE)
        for queue, out in ((loader_queue, self.loader), (feeder_queue, self.feeder)):
            m.d.comb += [
                queue.i.p.index.eq(index), queue.i.p.body.eq(body),
                out.valid.eq(queue.o.valid), out.payload.eq(queue.o.payload), queue.o.ready.eq(out.ready),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [body.eq(self.i.payload), held.eq(1)]
        with m.If(go):
            m.d.sync += [held.eq(0), index.eq(index + 1)]
        return m
