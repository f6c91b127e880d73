"""The streamed side: one vector per cycle from activations, residual (normalised on read) or probabilities, tokens
gathered by expert.
"""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import ProbabilityShift
from moesaic.hw.control.sequencer import issued_layout
from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.engine.array import LANE_BITS
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream
from moesaic.hw.spec.tables import PLANE_BITS, STORED_SHIFT, STREAMED_SHIFT
from moesaic.hw.stream.buffer import StreamRegister
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import connect_stream
from moesaic.hw.vector.layernorm import Normalise, NormScalars
from moesaic.hw.vector.pipeline import stages
from moesaic.hw.vector.rounding import digits

__all__ = ["Feeder", "vector_layout"]

QUEUE_DEPTH = (
    64  # vectors waiting for the array; more than the feeder's latency, so that it never starves a running pass
)
ADDRESS_AT = 3  # stage (cycles from issue) at which a vector's address is known
_MEET = ADDRESS_AT + NormScalars.LATENCY
_FINAL = _MEET + Normalise.LATENCY


def vector_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A streamed vector with its operation."""
    return data.StructLayout(
        {
            "op": operation_layout(),
            "x": data.ArrayLayout(signed(LANE_BITS), config.lanes),
        }
    )


@dataclass(frozen=True)
class _Walk:
    """Where the instruction stands: the vector that is issued in this cycle, if `issue`."""

    op: data.View
    norm: data.View
    slot: Signal
    word: Signal  # of the token: the block of inputs, counted within its plane
    plane: Signal  # pass over the token's words
    split: Value  # values are streamed in two planes,
    low: Value  # of which this is the second
    out_block: Signal
    issue: Signal
    credits: Signal
    in_pipe: Signal


def _carry(m: Module, value: Value, *, bits: int, name: str, first: int = 0, last: int) -> list[Value]:
    """`value` of stage `first` in all stages up to `last`; entry k belongs to stage first + k."""
    head = Signal(bits, name=f"{name}_{first}")
    m.d.comb += head.eq(value)
    return stages(m, head, last - first, name=name, first=first)


class Feeder(wiring.Component):
    """Runs the streaming half of every compute instruction, in order.

    One vector per cycle while the queue towards the array has room. Instructions without vectors (NORM, COPY, an empty
    expert) send a lone operation with ``end``, so that everything retires in order. Reading an on-chip word takes the
    same number of cycles from every source, so vectors leave in the order they were asked for. Empty after reset.

    Members
    -------
    i : In(stream of issued_layout())
    o : Out(stream of vector_layout(config))
    retired : In(24)
        Compute instructions retired so far.
    copies : In(8)
        COPY instructions completed by the loader, modulo 256.
    counts : In(experts x 13), queue_* : expert queues, one cycle of latency
    activation_*, residual_*, sums_*, state_*, maxima_* : read ports of the memories, one cycle of latency;
    ``activation_low`` asks for
        the lower bytes of 16-bit values
    tap_* : Out
        Normalised vectors, for the activation memory, and their lower bytes; ``tap_due``: one comes in the next cycle.
    context_* : Out
        Write port of the context table.
    attention_read : Out(1)
        The activation memory is read this cycle for scores or for probabilities times values.
    busy, blocked : Out(1)
        Issuing; waiting for an earlier instruction.
    """

    LATENCY = _FINAL + Queue.LATENCY + StreamRegister.LATENCY  # cycles from issue to the output

    i: stream.Interface
    o: stream.Interface
    retired: Signal
    copies: Signal
    counts: data.View
    queue_expert: Signal
    queue_slot: Signal
    queue_token: Signal
    queue_score: Signal
    activation_enable: Signal
    attention_read: Signal
    activation_address: Signal
    activation_low: Signal
    activation_data: Signal
    maxima_data: data.View
    state_address: Signal
    state_maximum: Signal
    residual_enable: Signal
    residual_address: Signal
    residual_data: data.View
    sums_address: Signal
    sums_total: Signal
    sums_squares: Signal
    tap_due: Signal
    tap_valid: Signal
    tap_address: Signal
    tap_data: Signal
    tap_low: Signal
    context_write: Signal
    context_index: Signal
    context_data: data.View
    context_route: Signal
    context_mark: Signal
    busy: Signal
    blocked: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.scalars = NormScalars(max_dim=config.max_dim)
        self.normalise = Normalise(lanes=config.lanes)
        self.shifter = ProbabilityShift(lanes=config.lanes, groups=config.groups)
        self.queue = Queue(vector_layout(config), depth=QUEUE_DEPTH)
        self.head = StreamRegister(
            vector_layout(config)
        )  # what the array decides on comes from registers, not from LUT RAM
        # Stages at which the residual word is there, the vector is complete, and words of the other sources are there.
        self.meet, self.final = _MEET, _FINAL
        self.arrive = self.final - self.shifter.LATENCY
        super().__init__(
            {
                "i": In(stream.Signature(issued_layout())),
                "o": Out(stream.Signature(vector_layout(config))),
                "retired": In(INDEX_BITS),
                "copies": In(8),
                "counts": In(data.ArrayLayout(unsigned(13), config.experts)),
                "queue_expert": Out(6),
                "queue_slot": Out(12),
                "queue_token": In(12),
                "queue_score": In(16),
                "activation_enable": Out(1),
                "attention_read": Out(1),
                "activation_address": Out(16),
                "activation_low": Out(1),
                "activation_data": In(8 * config.lanes),
                "maxima_data": In(data.ArrayLayout(signed(9), config.groups)),
                "state_address": Out(13),
                "state_maximum": In(signed(9)),
                "residual_enable": Out(1),
                "residual_address": Out(16),
                "residual_data": In(data.ArrayLayout(signed(16), config.lanes)),
                "sums_address": Out(12),
                "sums_total": In(signed(28)),
                "sums_squares": In(unsigned(42)),
                "tap_due": Out(1),
                "tap_valid": Out(1),
                "tap_address": Out(16),
                "tap_data": Out(8 * config.lanes),
                "tap_low": Out(8 * config.lanes),
                "context_write": Out(1),
                "context_index": Out(range(CONTEXTS)),
                "context_data": Out(context_layout()),
                "context_route": Out(1),
                "context_mark": Out(1),
                "busy": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.scalars = self.scalars
        m.submodules.normalise = self.normalise
        m.submodules.shifter = self.shifter
        m.submodules.queue = self.queue
        m.submodules.head = self.head
        final = self.final
        live = [Signal(name=f"live_{k}") for k in range(final + 1)]
        ops: list[Any] = [Signal(operation_layout(), name=f"op_{k}", reset_less=True) for k in range(final + 1)]
        walk = self._walk(m, live[0], ops[0])
        for k in range(1, final + 1):
            m.d.sync += [live[k].eq(live[k - 1]), ops[k].eq(ops[k - 1])]
        address = self._locate(m, walk, ops)
        self._ask_sums(m, walk, live)
        addresses = _carry(m, address, first=ADDRESS_AT, last=final, name="address", bits=16)
        kinds = _carry(m, walk.op.stream, last=final, name="kind", bits=2)
        self._read_residual(m, live, ops, kinds, addresses)
        lows = _carry(m, walk.low, last=final, name="low", bits=1)
        self._read_activations(m, live, ops, kinds, addresses, lows)
        self._send(m, walk, live[final], ops[final], kinds[final], lows[final])
        self._tap(m, walk, live, ops, kinds)
        return m

    def _walk(self, m: Module, live: Signal, first: data.View) -> _Walk:
        """Take an instruction, wait until it may start, and issue its vectors one by one: stage 0."""
        config = self.config
        index = Signal(INDEX_BITS)
        body: Any = Signal(
            data.UnionLayout({"matmul": instruction_layout(Opcode.MATMUL), "norm": instruction_layout(Opcode.NORM)})
        )
        op = body.matmul
        norm: Any = Signal(instruction_layout(Opcode.NORM))
        m.d.comb += self.context_index.eq(index)
        for name in context_layout().members:
            m.d.comb += self.context_data[name].eq(op[name])

        vectors = Signal(13)  # streamed vectors per pass
        slot = Signal(12)
        in_block = Signal(8)
        out_block = Signal(11)
        # What a step decides on is counted down, and judged a step ahead.
        slots_left = Signal(13)
        blocks_left = Signal(8)
        outputs_left = Signal(13)
        last_slot, last_in, last_out = Signal(), Signal(), Signal()
        only_slot, only_in = Signal(), Signal()
        # Operands in two planes on one side: the same words twice; on both sides: four times, with the upper plane of
        # the stream first.
        wide = config.wide_operands
        word, plane, planes = Signal(8), Signal(2 if wide else 1), Signal()
        split, twice = op.wide_stream, op.wide_stationary if wide else Const(0, 1)
        low = split & (Mux(twice, plane[-1], plane[0]) if wide else plane)
        plane_left = Signal(8)
        last_plane, only_plane = Signal(), Signal()  # last block of inputs of a plane
        due = Signal(INDEX_BITS)  # retired instructions that must be exceeded
        bank = Signal()
        copies_seen = Signal(8)
        credits = Signal(range(QUEUE_DEPTH + 1), init=QUEUE_DEPTH)
        in_pipe = Signal(range(QUEUE_DEPTH + 1))
        issue, lone = Signal(), Signal()
        m.d.comb += [
            self.context_route.eq((op.opcode == Opcode.MATMUL) & (op.function == Function.ROUTE) & (vectors != 0)),
            self.context_mark.eq(op.mark),
        ]

        waited, room = Signal(), Signal()
        m.d.comb += [
            waited.eq((op.feed_wait == 0) | ((self.retired - due)[:INDEX_BITS].as_signed() > 0)),
            # One context per instruction between here and retirement.
            room.eq((index - self.retired)[:INDEX_BITS] < CONTEXTS),
        ]
        m.d.sync += [
            only_slot.eq(vectors == 1),
            only_in.eq(op.in_blocks == 1),
            only_plane.eq(op.shift_block == 1),
            planes.eq(split | twice),
        ]
        arriving = data.View(instruction_layout(Opcode.MATMUL), self.i.p.body)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [slot.eq(0), in_block.eq(0), out_block.eq(0), word.eq(0), plane.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += [
                        index.eq(self.i.p.index),
                        body.eq(self.i.p.body),
                        due.eq(self.i.p.index - arriving.feed_wait),
                    ]
                    m.next = "wait"
            with m.State("wait"):
                m.d.comb += self.blocked.eq(~(waited & room))
                m.d.sync += vectors.eq(Mux(op.expert_valid, self.counts[op.expert], op.token_count))
                with m.If(waited & room):
                    m.next = "start"
            with m.State("start"):
                m.d.comb += self.context_write.eq(1)
                m.d.sync += [
                    slots_left.eq(vectors),
                    blocks_left.eq(op.in_blocks),
                    outputs_left.eq(op.out_count),
                    last_slot.eq(vectors == 1),
                    last_in.eq(op.in_blocks == 1),
                    last_out.eq(op.out_count <= config.rows),
                    plane_left.eq(op.shift_block),
                    last_plane.eq(only_plane),
                ]
                with m.If(op.opcode == Opcode.NORM):
                    # Vectors on their way still use the old constants.
                    m.d.comb += self.context_write.eq(0)
                    with m.If(in_pipe == 0):
                        m.d.comb += self.context_write.eq(1)
                        m.d.sync += norm.eq(body.norm)
                        m.next = "lone"
                with m.Elif(op.opcode == Opcode.COPY):
                    m.d.comb += [self.context_write.eq(0), self.blocked.eq(1)]
                    with m.If(self.copies != copies_seen):
                        m.d.comb += self.context_write.eq(1)
                        m.d.sync += copies_seen.eq(copies_seen + 1)
                        m.next = "lone"
                with m.Elif(vectors == 0):
                    m.next = "lone"
                with m.Else():
                    m.next = "stream"
            with m.State("lone"):
                m.d.comb += [issue.eq(credits != 0), lone.eq(1)]
                with m.If(credits != 0):
                    m.next = "idle"
            with m.State("stream"):
                m.d.comb += issue.eq(credits != 0)
                with m.If(issue):
                    m.d.comb += self.busy.eq(1)
                    m.d.sync += [slot.eq(slot + 1), slots_left.eq(slots_left - 1), last_slot.eq(slots_left == 2)]
                    with m.If(last_slot):
                        m.d.sync += [
                            slot.eq(0),
                            slots_left.eq(vectors),
                            last_slot.eq(only_slot),
                            in_block.eq(in_block + 1),
                            blocks_left.eq(blocks_left - 1),
                            last_in.eq(blocks_left == 2),
                            word.eq(word + 1),
                            plane_left.eq(plane_left - 1),
                            last_plane.eq(plane_left == 2),
                        ]
                        with m.If(planes & last_plane):
                            m.d.sync += [
                                word.eq(0),
                                plane.eq(plane + 1),
                                plane_left.eq(op.shift_block),
                                last_plane.eq(only_plane),
                            ]
                        with m.If(last_in):
                            m.d.sync += [
                                in_block.eq(0),
                                blocks_left.eq(op.in_blocks),
                                last_in.eq(only_in),
                                out_block.eq(out_block + 1),
                                outputs_left.eq(outputs_left - config.rows),
                                last_out.eq(outputs_left <= 2 * config.rows),
                                word.eq(0),
                                plane.eq(0),
                                plane_left.eq(op.shift_block),
                                last_plane.eq(only_plane),
                            ]
                            with m.If(op.stationary == Stationary.WEIGHTS):
                                m.d.sync += bank.eq(~bank)
                            with m.If(last_out):
                                m.next = "idle"
        m.d.comb += [
            live.eq(issue),
            first.vector.eq(~lone),
            first.end.eq(lone | (last_slot & last_in & last_out)),
            first.context.eq(index),
            first.slot.eq(slot),
            first.token.eq(op.token_base + slot),
            first.block.eq(out_block),
            first.pass_first.eq(slot == 0),
            first.slot_first.eq(slot == 0),
            first.slot_last.eq(last_slot),
            first.acc_first.eq(in_block == 0),
            first.acc_last.eq(last_in),
            first.acc_shift.eq(plane[0] & (word == 0)),
            first.block_end.eq(last_slot & last_in),
            first.block_final.eq(last_out),
            first.weights.eq(op.stationary == Stationary.WEIGHTS),
            first.attention.eq(op.stationary != Stationary.WEIGHTS),
            first.bank.eq(bank),
            self.queue_expert.eq(op.expert),
            self.queue_slot.eq(slot),
        ]
        return _Walk(op, norm, slot, word, plane, split, low, out_block, issue, credits, in_pipe)

    def _locate(self, m: Module, walk: _Walk, ops: list[Any]) -> Value:
        """Stage 1: the token's number is known; stage 2: its distance; stage 3: its address, which is returned."""
        op = walk.op
        from_expert = _carry(m, op.expert_valid, last=1, name="from_expert", bits=1)[1]
        gather = _carry(m, op.gather, last=1, name="gather", bits=1)[1]
        stride = _carry(m, op.src_stride, last=1, name="stride", bits=8)[1]
        base = _carry(m, op.src_addr + walk.word, last=2, name="base", bits=16)[2]
        token = Signal(12)
        m.d.comb += token.eq(Mux(from_expert, self.queue_token, ops[1].token))
        m.d.sync += [ops[2].token.eq(token), ops[2].score.eq(self.queue_score)]
        distance = Signal(20, reset_less=True)
        m.d.sync += distance.eq(Mux(gather, token, ops[1].slot) * stride)
        address = Signal(16, reset_less=True)
        m.d.sync += address.eq(base + distance)
        m.d.comb += self.sums_address.eq(ops[2].token)
        return address

    def _ask_sums(self, m: Module, walk: _Walk, live: list[Signal]) -> None:
        """The token's sums arrive with its address, and become LayerNorm scalars."""
        scalars, norm = self.scalars, walk.norm
        m.d.comb += [
            scalars.i_valid.eq(live[ADDRESS_AT]),
            scalars.i_total.eq(self.sums_total),
            scalars.i_squares.eq(self.sums_squares),
            scalars.i_dim.eq(norm.dim),
            scalars.i_inv_dim.eq(norm.inv_dim),
            scalars.i_inv_dim_shift.eq(norm.inv_dim_shift),
            scalars.i_scale.eq(norm.scale),
            scalars.i_epsilon.eq(norm.epsilon),
            scalars.i_shift.eq(norm.shift),
        ]

    def _read_residual(
        self,
        m: Module,
        live: list[Signal],
        ops: list[Any],
        kinds: list[Value],
        addresses: list[Value],
    ) -> None:
        """Read the residual to meet the scalars, and normalise it."""
        scalars, normalise = self.scalars, self.normalise
        meet, read = self.meet, self.meet - 1
        m.d.comb += [
            self.residual_enable.eq(live[read] & ops[read].vector & (kinds[read] == Stream.NORMALISED)),
            self.residual_address.eq(addresses[read - ADDRESS_AT]),
            normalise.i_valid.eq(live[meet]),
            normalise.i.eq(self.residual_data),
            normalise.i_mean.eq(scalars.o_mean),
            normalise.i_mult.eq(scalars.o_mult),
            normalise.i_shift.eq(scalars.o_shift),
        ]

    def _read_activations(
        self,
        m: Module,
        live: list[Signal],
        ops: list[Any],
        kinds: list[Value],
        addresses: list[Value],
        lows: list[Value],
    ) -> None:
        """Read activations or probabilities so that they leave the shifter together with a normalised vector."""
        config, shifter = self.config, self.shifter
        arrive, read = self.arrive, self.arrive - 1
        m.d.comb += [
            self.activation_enable.eq(live[read] & ops[read].vector & (kinds[read] != Stream.NORMALISED)),
            self.attention_read.eq(self.activation_enable & ops[read].attention),
            self.activation_address.eq(addresses[read - ADDRESS_AT]),
            self.activation_low.eq(lows[read]),
            self.state_address.eq(ops[read].token),
            shifter.i_valid.eq(live[arrive]),
        ]
        for lane in range(config.lanes):
            m.d.comb += shifter.i[lane].eq(self.activation_data.word_select(lane, 8))
        for g in range(config.groups):
            m.d.comb += shifter.i_lag[g].eq(
                Mux(kinds[arrive] == Stream.PROBABILITY, self.state_maximum - self.maxima_data[g], 0)
            )

    def _send(self, m: Module, walk: _Walk, live: Value, op: data.View, kind: Value, low: Value) -> None:
        """The complete vector into the queue, the queue to the array, and the credits."""
        normalise, shifter, queue = self.normalise, self.shifter, self.queue
        m.d.comb += [
            queue.i.valid.eq(live),
            queue.i.p.op.eq(op),
        ]
        split = _carry(m, walk.split, last=self.final, name="split", bits=1)[-1]
        for lane in range(self.config.lanes):
            n = normalise.o[lane]
            streamed = n[STREAMED_SHIFT:]
            lowest = streamed[-1] & ~streamed[:-1].any()  # -256, which the array does not take: -255
            plane = Mux(low, n[:PLANE_BITS], n[PLANE_BITS:].as_signed())
            m.d.comb += queue.i.p.x[lane].eq(
                Mux(
                    kind == Stream.NORMALISED,
                    Mux(split, plane, (streamed | lowest).as_signed()),
                    Mux(kind == Stream.PROBABILITY, shifter.o[lane], shifter.o[lane].as_signed()),
                )
            )
        connect_stream(m, queue.o, self.head.i)
        connect_stream(m, self.head.o, self.o)
        pop = Signal()
        m.d.sync += pop.eq(self.o.valid & self.o.ready)
        m.d.sync += [
            walk.credits.eq(walk.credits - walk.issue + pop),
            walk.in_pipe.eq(walk.in_pipe + walk.issue - live),
        ]

    def _tap(self, m: Module, walk: _Walk, live: list[Signal], ops: list[Any], kinds: list[Value]) -> None:
        """The copy of normalised vectors for the activation memory."""
        op, final = walk.op, self.final
        tap_base = _carry(m, op.tap_addr + walk.word, last=2, name="tap_base", bits=16)[2]
        tap_stride = _carry(
            m, Mux(op.shift_block != 0, op.shift_block, op.in_blocks), last=1, name="tap_stride", bits=8
        )[1]
        tap_distance = Signal(20, reset_less=True)
        m.d.sync += tap_distance.eq(ops[1].slot * tap_stride)
        tap_address = _carry(m, tap_base + tap_distance, first=2, last=final, name="tap_address", bits=16)[-1]
        tapped = _carry(m, op.tap & (walk.out_block == 0) & (walk.plane == 0), last=final, name="tapped", bits=1)
        m.d.comb += self.tap_address.eq(tap_address)
        for valid, k in ((self.tap_valid, final), (self.tap_due, final - 1)):
            m.d.comb += valid.eq(live[k] & ops[k].vector & tapped[k] & (kinds[k] == Stream.NORMALISED))
        wide = _carry(m, op.wide_result if self.config.wide_operands else Const(0, 1), last=final, name="wide", bits=1)[
            -1
        ]
        for lane in range(self.config.lanes):
            n = self.normalise.o[lane]
            upper, lower = digits(n)
            m.d.comb += [
                self.tap_data.word_select(lane, 8).eq(Mux(wide, upper, n[STORED_SHIFT:])),
                self.tap_low.word_select(lane, 8).eq(lower),
            ]
