"""The streamed side: one vector per cycle from activations, residual (normalised on read) or probabilities, tokens
gathered by expert.
"""

import itertools
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import LEVEL_BITS, MAXIMUM_BITS, Probabilities, distance_layout
from moesaic.hw.control.sequencer import issued_layout
from moesaic.hw.decode.instruction import INDEX_BITS
from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.engine.halves import head_twice
from moesaic.hw.engine.vectors import (
    TapSignature,
    queue_address,
    queued_layout,
    total_layout,
    vector_layout,
    waiting_layout,
)
from moesaic.hw.engine.walk import QUEUE_DEPTH, Walk, retirement_layout
from moesaic.hw.memory.ports import Port, ReadSignature, WriteSignature, operand_address
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Stream
from moesaic.hw.spec.tables import FARTHEST, PLANE_BITS, STORED_SHIFT, STREAMED_SHIFT
from moesaic.hw.stream.buffer import StreamRegister
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import Check, connect_stream, require
from moesaic.hw.vector.layernorm import Normalise, NormScalars, sums_layout
from moesaic.hw.vector.pipeline import copies, delay, delay_valid, stages
from moesaic.hw.vector.reduce import AdderTree
from moesaic.hw.vector.rounding import digits

__all__ = ["Feeder"]

ADDRESS_AT = 3  # stage (cycles from issue) at which a vector's address is known
_MEET = ADDRESS_AT + NormScalars.LATENCY
_FINAL = _MEET + Normalise.LATENCY


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
    counts : In([experts] unsigned(13))
        Lengths of the expert queues.
    hold : In(1)
        The write-back reads the residual in `RESIDUAL_AT` cycles, and no vector is issued that would.
    queue, activation, maxima, state, residual, sums : Out(ReadSignature)
        Expert queues and memories; the maxima are those beside the word of activations.
    extra : Out(ReadSignature)
        The query's extra key, with `extra_key`.
    tap : Out(TapSignature)
    context : Out(WriteSignature), retirement : Out(WriteSignature)
        The tables of instructions in flight.
    attention_read : Out(1)
        The activation memory is read this cycle for scores or for probabilities times values.
    busy, blocked : Out(1)
        Issuing; waiting for an earlier instruction.
    """

    LATENCY = _FINAL + Queue.LATENCY + StreamRegister.LATENCY  # cycles from issue to the output
    RESIDUAL_AT = _MEET - 1  # cycles from issue until the residual is read

    i: stream.Interface
    o: stream.Interface
    retired: Signal
    copies: Signal
    counts: data.View
    hold: Signal
    queue: Port
    activation: Port
    maxima: Port
    state: Port
    extra: Port
    residual: Port
    sums: Port
    tap: Port
    context: Port
    retirement: Port
    attention_read: Signal
    busy: Signal
    blocked: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.walk = Walk(config)
        self.scalars = NormScalars(max_dim=config.max_dim)
        self.normalise = Normalise(lanes=config.lanes)
        self.probabilities = Probabilities(lanes=config.lanes, groups=config.groups, bits=config.probability_width)
        self.adder = AdderTree(shape=Shape(config.probability_width), terms=config.lanes)
        self.waiting = Queue(waiting_layout(config), depth=QUEUE_DEPTH)
        self.totals = Queue(total_layout(config), depth=QUEUE_DEPTH)
        # What the array decides on comes from registers, not from LUT RAM. The vector's many bits have a `valid` of
        # their own.
        layout = waiting_layout(config)
        self.head, self.vector = StreamRegister(layout["op"].shape), StreamRegister(layout["x"].shape)
        # Stages at which the residual word is there, the vector is complete, and words of the other sources are there.
        self.meet, self.final = _MEET, _FINAL
        # Sums of probabilities come a cycle after their vectors, which the queue holds that long.
        self.added = self.adder.latency - 1
        self.arrive = self.final - self.added - self.probabilities.LATENCY
        maxima = data.ArrayLayout(signed(MAXIMUM_BITS), config.groups)
        super().__init__(
            {
                "i": In(stream.Signature(issued_layout())),
                "o": Out(stream.Signature(vector_layout(config))),
                "retired": In(INDEX_BITS),
                "copies": In(8),
                "counts": In(data.ArrayLayout(unsigned(13), config.experts)),
                "hold": In(1),
                "queue": Out(ReadSignature(queue_address(), queued_layout())),
                "activation": Out(ReadSignature(operand_address(), data.ArrayLayout(unsigned(8), config.lanes))),
                "maxima": Out(ReadSignature(16, maxima)),
                "state": Out(ReadSignature(13, signed(LEVEL_BITS))),
                "residual": Out(ReadSignature(16, data.ArrayLayout(signed(16), config.lanes))),
                "sums": Out(ReadSignature(12, sums_layout())),
                "tap": Out(TapSignature(config)),
                "context": Out(WriteSignature(range(CONTEXTS), context_layout(config))),
                "retirement": Out(WriteSignature(range(CONTEXTS), retirement_layout())),
                "attention_read": Out(1),
                "busy": Out(1),
                "blocked": Out(1),
                **({"extra": Out(ReadSignature(13, distance_layout()))} if config.extra_key else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name in ("walk", "scalars", "normalise", "probabilities", "adder", "totals", "head", "vector"):
            m.submodules[name] = getattr(self, name)
        m.submodules.queue = self.waiting
        walk, final = self.walk, self.final
        connect_stream(m, self.i, walk.i)
        for name in ("context", "retirement"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(walk, name))
        m.d.comb += [
            walk.retired.eq(self.retired),
            walk.copies.eq(self.copies),
            walk.counts.eq(self.counts),
            walk.hold.eq(self.hold),
            self.busy.eq(walk.busy),
            self.blocked.eq(walk.blocked),
        ]
        live = stages(m, walk.o.valid, final, name="live", reset_less=False)
        ops = [walk.o.p.op, *(Signal(operation_layout(), name=f"op_{k}", reset_less=True) for k in range(1, final + 1))]
        for before, after in itertools.pairwise(ops):
            m.d.sync += after.eq(before)
        address = self._locate(m, ops)
        self._ask_sums(m, live)
        addresses = _carry(m, address, first=ADDRESS_AT, last=final, name="address", bits=16)
        kinds = _carry(m, walk.op.stream, last=final, name="kind", bits=2)
        self._read_residual(m, live, ops, kinds, addresses)
        lows = _carry(m, walk.o.p.low, last=final, name="low", bits=1)
        self._read_activations(m, live, ops, kinds, addresses, lows)
        self._send(m, live[final], ops[final], kinds[final], lows[final - 1])
        self._total(m, live, ops)
        self._tap(m, live, ops, kinds)
        return m

    def _locate(self, m: Module, ops: list[Any]) -> Value:
        """Stage 1: the token's number is known; stage 2: its distance; stage 3: its address, which is returned."""
        op, step = self.walk.op, self.walk.o.p
        from_expert = _carry(m, op.expert_valid, last=1, name="from_expert", bits=1)[1]
        stride = _carry(m, op.src_stride, last=1, name="stride", bits=8)[1]
        base = _carry(m, op.src_addr + step.word, last=2, name="base", bits=16)[2]
        token = Signal(12)
        m.d.comb += token.eq(Mux(from_expert, self.queue.data.token, ops[1].token))
        m.d.sync += [ops[2].token.eq(token), ops[2].score.eq(self.queue.data.score)]
        # A product for each: what the queue says comes late from a memory.
        queued, placed = Signal(20, reset_less=True), Signal(20, reset_less=True)
        other = Signal(12, reset_less=True)
        from_queue = _carry(m, op.expert_valid & op.gather, last=2, name="from_queue", bits=1)[2]
        m.d.sync += [
            other.eq(Mux(op.gather, ops[0].token, ops[0].slot)),
            queued.eq(self.queue.data.token * stride),
            placed.eq(other * stride),
        ]
        address = Signal(16, reset_less=True)
        m.d.sync += address.eq(base + Mux(from_queue, queued, placed))
        m.d.comb += [
            self.queue.enable.eq(1),
            self.queue.address.expert.eq(op.expert),
            self.queue.address.slot.eq(step.op.slot),
            self.sums.enable.eq(1),
            self.sums.address.eq(ops[2].token),
        ]
        return address

    def _ask_sums(self, m: Module, live: list[Value]) -> None:
        """The token's sums arrive with its address, and become LayerNorm scalars."""
        scalars, norm = self.scalars, self.walk.norm
        m.d.comb += [
            scalars.i_valid.eq(live[ADDRESS_AT]),
            scalars.i_total.eq(self.sums.data.total),
            scalars.i_squares.eq(self.sums.data.squares),
            scalars.i_rms.eq(norm.rms),
            scalars.i_dim.eq(norm.dim),
            scalars.i_inv_dim.eq(norm.inv_dim),
            scalars.i_inv_dim_shift.eq(norm.inv_dim_shift),
            scalars.i_scale.eq(norm.scale),
            scalars.i_epsilon.eq(norm.epsilon),
            scalars.i_shift.eq(norm.shift),
        ]

    def _read_residual(
        self, m: Module, live: list[Value], ops: list[Any], kinds: list[Value], addresses: list[Value]
    ) -> None:
        """Read the residual to meet the scalars, and normalise it."""
        scalars, normalise = self.scalars, self.normalise
        meet, read = self.meet, self.RESIDUAL_AT
        # Judged a cycle ahead: it goes on to the memory, and to all who share its port.
        reads = live[read - 1] & ops[read - 1].vector & (kinds[read - 1] == Stream.NORMALISED)
        m.d.comb += [
            self.residual.enable.eq(delay_valid(m, reads, 1, name="reads_residual")),
            self.residual.address.eq(addresses[read - ADDRESS_AT]),
            normalise.i_valid.eq(live[meet]),
            normalise.i.eq(self.residual.data),
            normalise.i_mult.eq(scalars.o_mult),
            normalise.i_offset.eq(scalars.o_offset),
            normalise.i_shift.eq(scalars.o_shift),
        ]

    def _read_activations(
        self,
        m: Module,
        live: list[Value],
        ops: list[Any],
        kinds: list[Value],
        addresses: list[Value],
        lows: list[Value],
    ) -> None:
        """Read activations or distances so that what comes of them is there together with a normalised vector."""
        probabilities, arrive, read, early = self.probabilities, self.arrive, self.arrive - 1, self.arrive - 2
        reads = live[early - 1] & ops[early - 1].vector & (kinds[early - 1] != Stream.NORMALISED)
        m.d.comb += [
            self.maxima.enable.eq(delay_valid(m, reads, 1, name="reads_maxima")),
            self.activation.enable.eq(delay_valid(m, self.maxima.enable, 1, name="reads_activation")),
            self.attention_read.eq(self.activation.enable & ops[read].attention),
            self.activation.address.word.eq(addresses[read - ADDRESS_AT]),
            self.activation.address.low.eq(lows[read]),
            self.maxima.address.eq(addresses[early - ADDRESS_AT]),
            self.state.enable.eq(1),
            self.state.address.eq(ops[early].token),
            probabilities.i_valid.eq(live[arrive]),
            probabilities.i.eq(self.activation.data),
        ]
        for g, exists in enumerate(self._groups(m, arrive)):  # read a cycle earlier, for the difference is long
            lag = delay(m, self.state.data - self.maxima.data[g].shift_left(2), 1, name=f"lag_{g}")
            m.d.comb += probabilities.i_lag[g].eq(Mux(exists, lag, FARTHEST))

    def _groups(self, m: Module, arrive: int) -> list[Value]:
        """Whether each group of a word has keys. Of others anything may be stored, which must not be added up."""
        config, step = self.config, self.walk.o.p
        last = (self.walk.op.key_count - 1)[: len(self.walk.op.key_count)] >> config.rows.bit_length() - 1
        word, group = last >> config.groups.bit_length() - 1, last[: config.groups.bit_length() - 1]
        before = _carry(m, step.word < word, last=arrive - 1, name="before_last", bits=1)[-1]
        at_last = _carry(m, step.word == word, last=arrive - 1, name="at_last", bits=1)[-1]
        inside = _carry(m, group, last=arrive - 1, name="last_group", bits=len(group))[-1] if len(group) else Const(0)
        exists = Signal(config.groups, reset_less=True)
        m.d.sync += exists.eq(Cat(before | (at_last & (inside >= g)) for g in range(config.groups)))
        return list(exists)

    def _send(self, m: Module, live: Value, op: data.View, kind: Value, early_low: Value) -> None:
        """The complete vector into the queue, and the queue to the array. `early_low` is a cycle ahead."""
        normalise, probabilities, adder, queue = self.normalise, self.probabilities, self.adder, self.waiting
        m.d.comb += [queue.i.valid.eq(live), queue.i.p.op.eq(op)]
        early = _carry(m, self.walk.op.wide_stream, last=self.final - 1, name="wide_stream", bits=1)[-1]
        splits, lows = (
            copies(m, bit, self.config.lanes, name=name) for bit, name in ((early, "split"), (early_low, "lower"))
        )
        stored = self._stored(m, probabilities.LATENCY + self.added)
        likely = delay(m, Value.cast(probabilities.o), self.added, name="likely")
        m.d.comb += Value.cast(adder.i).eq(Value.cast(probabilities.o))
        for lane in range(self.config.lanes):
            n = normalise.o[lane]
            streamed = n[STREAMED_SHIFT:]
            lowest = streamed[-1] & ~streamed[:-1].any()  # -256, which the array does not take: -255
            plane = Mux(lows[lane], n[:PLANE_BITS], n[PLANE_BITS:].as_signed())
            m.d.comb += queue.i.p.x[lane].eq(
                Mux(
                    kind == Stream.NORMALISED,
                    Mux(splits[lane], plane, (streamed | lowest).as_signed()),
                    Mux(
                        kind == Stream.PROBABILITY,
                        likely.word_select(lane, self.config.probability_width),
                        stored.word_select(lane, 8).as_signed(),
                    ),
                )
            )
        totals, head, vector = self.totals, self.head, self.vector
        held = Signal(attrs={"keep": "true"})  # their `valid` once more, for the queue's answer
        with m.If(queue.o.ready):
            m.d.sync += held.eq(queue.o.valid)
        m.d.comb += [
            head.i.valid.eq(queue.o.valid),
            head.i.payload.eq(queue.o.p.op),
            vector.i.valid.eq(queue.o.valid),
            vector.i.payload.eq(queue.o.p.x),
            queue.o.ready.eq(self.o.ready | ~held),
            *(self.o.valid.eq(head.o.valid), self.o.p.op.eq(head.o.payload), self.o.p.x.eq(vector.o.payload)),
            *(self.o.p[name].eq(totals.o.p[name]) for name in total_layout(self.config).members),
            head.o.ready.eq(self.o.ready),
            vector.o.ready.eq(self.o.ready),
            totals.o.ready.eq(self.o.valid & self.o.ready),
        ]
        require(m, Check.ASSERT, ~self.o.valid | totals.o.valid, "feeder: a vector must have its sum")
        pop = Signal()
        m.d.sync += pop.eq(self.o.valid & self.o.ready)
        m.d.comb += [self.walk.popped.eq(pop), self.walk.arrived.eq(live)]

    def _stored(self, m: Module, cycles: int) -> Value:
        """Words of activations, `cycles` after they were read."""
        word = Value.cast(self.activation.data)
        if not self.config.packed_keys:
            return delay(m, word, cycles, name="stored")
        walk, upper = self.walk, self.walk.op.lane_low >= self.config.lanes // 2
        choices = (("from_upper", walk.packs & upper), ("from_lower", walk.packs & ~upper))
        early = (_carry(m, choice, last=self.final - 2, name=name, bits=1)[-1] for name, choice in choices)
        return head_twice(m, delay(m, word, cycles - 1, name="stored"), *early)

    def _total(self, m: Module, live: list[Value], ops: list[Any]) -> None:
        """The sum of the vector's probabilities, a cycle after it, and the extra key's."""
        totals = self.totals
        total: Value = self.adder.o
        m.d.comb += totals.i.valid.eq(delay_valid(m, live[self.final], 1, name="added"))
        if self.config.extra_key:
            bits = self.config.probability_width
            m.submodules.extra_probability = probability = Probabilities(lanes=1, groups=1, bits=bits)
            extra, arrive, early = self.extra, self.arrive, self.arrive - 2
            m.d.comb += [
                extra.enable.eq(1),
                extra.address.eq(ops[early].token),
                probability.i_valid.eq(live[arrive]),
                probability.i[0].eq(delay(m, extra.data.code, 1, name="extra_code")),
                probability.i_lag[0].eq(
                    delay(m, self.state.data - extra.data.maximum.shift_left(2), 1, name="extra_lag")
                ),
            ]
            kept = Signal(bits, reset_less=True)  # 0 where there is none
            m.d.sync += kept.eq(Mux(ops[arrive + Probabilities.LATENCY].extra, probability.o[0], 0))
            here = delay(m, kept, self.final - arrive - Probabilities.LATENCY, name="extra")
            m.d.comb += totals.i.p.extra.eq(here)
            total = total + here
        m.d.comb += totals.i.p.total.eq(total)

    def _tap(self, m: Module, live: list[Value], ops: list[Any], kinds: list[Value]) -> None:
        """The copy of normalised vectors for the activation memory."""
        op, step, tap, final = self.walk.op, self.walk.o.p, self.tap, self.final
        tap_base = _carry(m, op.tap_addr + step.word, last=2, name="tap_base", bits=16)[2]
        tap_stride = _carry(
            m, Mux(op.shift_block != 0, op.shift_block, op.in_blocks), last=1, name="tap_stride", bits=8
        )[1]
        tap_distance = Signal(20, reset_less=True)
        m.d.sync += tap_distance.eq(ops[1].slot * tap_stride)
        tap_address = _carry(m, tap_base + tap_distance, first=2, last=final, name="tap_address", bits=16)[-1]
        tapped = _carry(m, op.tap & step.first_pass, last=final, name="tapped", bits=1)
        m.d.comb += tap.address.eq(tap_address)
        k = final - 1
        m.d.comb += [
            tap.due.eq(live[k] & ops[k].vector & tapped[k] & (kinds[k] == Stream.NORMALISED)),
            tap.write.eq(delay_valid(m, tap.due, 1, name="taps")),
        ]
        wide = _carry(m, op.wide_result if self.config.wide_operands else Const(0, 1), last=final, name="wide", bits=1)[
            -1
        ]
        for lane in range(self.config.lanes):
            n = self.normalise.o[lane]
            upper, lower = digits(n)
            m.d.comb += [tap.data[lane].eq(Mux(wide, upper, n[STORED_SHIFT:])), tap.low[lane].eq(lower)]
