"""Decodes compute instructions, refuses bad ones, and hands them to loader and feeder."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
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
        self.loader_queue = Queue(issued_layout(), depth=QUEUE_DEPTH)
        self.feeder_queue = Queue(issued_layout(), depth=QUEUE_DEPTH)
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
                {
                    "raw": INSTRUCTION_BITS,
                    "matmul": instruction_layout(Opcode.MATMUL),
                    "norm": instruction_layout(Opcode.NORM),
                    "copy": instruction_layout(Opcode.COPY),
                }
            )
        )
        op, copy, norm = body.matmul, body.copy, body.norm

        known, bad = Signal(), Signal()
        m.d.comb += known.eq((op.opcode == Opcode.MATMUL) | (op.opcode == Opcode.NORM) | (op.opcode == Opcode.COPY))
        with m.Switch(op.opcode):
            with m.Case(Opcode.MATMUL):
                m.d.comb += bad.eq(self._matmul_bad(op))
            with m.Case(Opcode.NORM):
                m.d.comb += bad.eq(
                    (norm.unused != 0) | (norm.dim == 0) | (norm.dim > config.max_dim) | (norm.epsilon == 0)
                )
            with m.Case(Opcode.COPY):
                m.d.comb += bad.eq(
                    (copy.unused != 0)
                    | (copy.words == 0)
                    | ((copy.memory != Memory.ACTIVATION) & (copy.memory != Memory.RESIDUAL))
                )
        # The judgement is a register: many comparisons, and no hurry.
        judged, refused, unknown = Signal(), Signal(), Signal()
        m.d.sync += [
            judged.eq(held),
            unknown.eq(~known),
            refused.eq(~known | bad | (op.feed_wait > index) | (op.load_wait > index)),
        ]
        to_loader = op.opcode != Opcode.NORM
        good = held & judged & ~refused
        go = Signal()
        m.d.comb += [
            go.eq(good & feeder_queue.i.ready & (loader_queue.i.ready | ~to_loader)),
            self.i.ready.eq(~held),
            loader_queue.i.valid.eq(go & to_loader),
            feeder_queue.i.valid.eq(go),
            self.error.eq(held & judged & refused),
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
            m.d.sync += [held.eq(0), judged.eq(0), index.eq(index + 1)]
        return m

    def _matmul_bad(self, op: data.View) -> Value:
        """A MATMUL that means nothing on this configuration."""
        config = self.config
        lanes_log2 = config.lanes.bit_length() - 1
        values = op.stationary == Stationary.VALUES
        attention = op.stationary != Stationary.WEIGHTS
        # SOFTMAX works on keys, ATTEND on values, everything else on weights.
        wanted = Mux(
            op.function == Function.SOFTMAX,
            Stationary.KEYS,
            Mux(op.function == Function.ATTEND, Stationary.VALUES, Stationary.WEIGHTS),
        )
        written = (op.function == Function.INT8) | (op.function == Function.GELU) | (op.function == Function.ATTEND)
        route = op.function == Function.ROUTE
        to_kv = (op.function == Function.INT8) & (op.dst_memory == Memory.KV)
        token_limit = Mux(attention, 2 * config.max_tokens, config.max_tokens)
        # Blocks of keys: as many as the keys need, the last one not empty.
        key_blocks = (op.key_count + config.lanes - 1) >> lanes_log2
        planes = op.wide_stream | op.wide_stationary
        four = op.wide_stream & op.wide_stationary
        # What only wide operands can do.
        wide = op.wide_stationary | op.wide_result | (op.wide_stream & (op.stream != Stream.NORMALISED))
        return reduce(
            or_,
            (
                op.unused != 0,
                (op.stationary > max(Stationary))
                | (op.stream > max(Stream))
                | (op.function > max(Function))
                | (op.dst_memory > max(Memory)),
                op.stationary != wanted,
                op.narrow & (attention if config.narrow_weights else 1),
                (op.stream == Stream.PROBABILITY) != values,
                (op.out_count == 0) | (op.in_blocks == 0) | (op.group >= config.groups),
                ~op.expert_valid
                & (
                    (op.token_count == 0)
                    | (op.token_count > config.max_tokens)
                    | (op.token_base + op.token_count > token_limit)
                ),
                op.expert_valid & ((op.expert >= config.experts) | attention | route),
                attention & ((op.lane_count == 0) | (op.lane_low + op.lane_count > config.lanes)),
                values & ((op.key_count == 0) | (key_blocks != Mux(planes, op.shift_block, op.in_blocks))),
                route
                & (
                    (op.top_k == 0)
                    | (op.top_k > config.max_top_k)
                    | (op.top_k > op.out_count)
                    | (op.out_count > config.experts)
                ),
                # Two planes on one side are the same words twice, on both sides four times.
                Mux(
                    planes,
                    op.in_blocks != Mux(four, op.shift_block.shift_left(2), op.shift_block.shift_left(1)),
                    op.shift_block != 0,
                ),
                wide & (0 if config.wide_operands else 1),
                op.wide_stream & (op.stream == Stream.PROBABILITY),
                op.wide_stationary & op.narrow,
                op.wide_result & ~(written | route),
                # The copy goes to the activation memory, so the result must not.
                op.tap & ((op.stream != Stream.NORMALISED) | ~(route | to_kv)),
                written & (op.dst_memory == Memory.RESIDUAL),
            ),
        )
