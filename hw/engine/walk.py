"""The walk of the streaming half through an instruction: when it starts, and its vectors one by one."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.sequencer import issued_layout
from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.decode.packing import block_rows, packing
from moesaic.hw.memory.ports import Port, WriteSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream
from moesaic.hw.stream.states import States

__all__ = ["QUEUE_DEPTH", "Walk", "retirement_layout", "step_layout"]

QUEUE_DEPTH = (
    64  # vectors waiting for the array; more than the feeder's latency, so that it never starves a running pass
)


def step_layout() -> data.StructLayout:
    """A vector that is issued.

    ``op``: its operation, without the token's number in an expert's queue. ``word``: of the token, the block of inputs,
    counted within its plane. ``first_pass``: the first over the token's words, in the first block of outputs. ``low``:
    values are streamed in two planes, of which this is the second.
    """
    return data.StructLayout({"op": operation_layout(), "word": unsigned(8), "first_pass": 1, "low": 1})


def retirement_layout() -> data.StructLayout:
    """What retirement needs to know of an instruction. ``route``: it waits for the router. ``mark``: it pulses."""
    return data.StructLayout({"route": 1, "mark": 1})


class _Position:
    """Where the walk stands. What a step decides on is counted down, and judged a step ahead."""

    def __init__(self, m: Module, op: data.View, *, rows: Value | int, wide: bool) -> None:
        self.op, self.rows = op, rows  # outputs of a block
        self.vectors = Signal(13)  # streamed vectors per pass
        self.slot = Signal(12)
        self.in_block = Signal(8)
        self.out_block = Signal(11)
        self.slots_left = Signal(13)
        self.blocks_left = Signal(8)
        self.outputs_left = Signal(13)
        self.last_slot = Signal()
        self.last_in = Signal()
        self.last_out = Signal()
        self.only_slot = Signal()
        self.only_in = Signal()
        # Operands in two planes on one side: the same words twice; on both sides: four times, with the upper plane of
        # the stream first.
        self.word = Signal(8)
        self.plane = Signal(2 if wide else 1)
        self.planes = Signal()
        twice: Value = op.wide_stationary if wide else Const(0, 1)
        self.low = op.wide_stream & (Mux(twice, self.plane[-1], self.plane[0]) if wide else self.plane)
        self.plane_left = Signal(8)
        # last block of inputs of a plane
        self.last_plane = Signal()
        self.only_plane = Signal()
        self.bank = Signal()
        m.d.sync += [
            self.only_slot.eq(self.vectors == 1),
            self.only_in.eq(op.in_blocks == 1),
            self.only_plane.eq(op.shift_block == 1),
            self.planes.eq(op.wide_stream | twice),
        ]

    def clear(self, m: Module) -> None:
        """Before an instruction."""
        m.d.sync += [counter.eq(0) for counter in (self.slot, self.in_block, self.out_block, self.word, self.plane)]

    def start(self, m: Module) -> None:
        """At the first vector of the instruction; `vectors` is known."""
        op = self.op
        m.d.sync += [
            self.slots_left.eq(self.vectors),
            self.blocks_left.eq(op.in_blocks),
            self.outputs_left.eq(op.out_count),
            self.last_slot.eq(self.vectors == 1),
            self.last_in.eq(op.in_blocks == 1),
            self.last_out.eq(op.out_count <= self.rows),
            self.plane_left.eq(op.shift_block),
            self.last_plane.eq(self.only_plane),
        ]

    def step(self, m: Module) -> None:
        """To the next vector: of the pass, of the next block of inputs, or of the next block of outputs."""
        m.d.sync += [
            self.slot.eq(self.slot + 1),
            self.slots_left.eq(self.slots_left - 1),
            self.last_slot.eq(self.slots_left == 2),
        ]
        with m.If(self.last_slot):
            m.d.sync += [
                self.slot.eq(0),
                self.slots_left.eq(self.vectors),
                self.last_slot.eq(self.only_slot),
                self.in_block.eq(self.in_block + 1),
                self.blocks_left.eq(self.blocks_left - 1),
                self.last_in.eq(self.blocks_left == 2),
                self.word.eq(self.word + 1),
                self.plane_left.eq(self.plane_left - 1),
                self.last_plane.eq(self.plane_left == 2),
            ]
            with m.If(self.planes & self.last_plane):
                m.d.sync += [self.plane.eq(self.plane + 1)]
                self._first_word(m)
            with m.If(self.last_in):
                m.d.sync += [
                    self.in_block.eq(0),
                    self.blocks_left.eq(self.op.in_blocks),
                    self.last_in.eq(self.only_in),
                    self.out_block.eq(self.out_block + 1),
                    self.outputs_left.eq(self.outputs_left - self.rows),
                    self.last_out.eq(self.outputs_left <= 2 * self.rows),
                    self.plane.eq(0),
                ]
                self._first_word(m)
                with m.If(self.op.stationary == Stationary.WEIGHTS):
                    m.d.sync += self.bank.eq(~self.bank)

    def _first_word(self, m: Module) -> None:
        m.d.sync += [
            self.word.eq(0),
            self.plane_left.eq(self.op.shift_block),
            self.last_plane.eq(self.only_plane),
        ]

    @property
    def last(self) -> Value:
        """The instruction's last vector."""
        return self.last_slot & self.last_in & self.last_out


class Walk(wiring.Component):
    """Takes an instruction, waits until it may start, and issues its vectors, one per cycle while there is room.

    Instructions without vectors (NORM, COPY, an empty expert) issue a lone operation with ``end``, so that everything
    retires in order. Empty after reset.

    Members
    -------
    i : In(stream of issued_layout())
    retired : In(24), copies : In(8), counts : In([experts] unsigned(13))
        As of the feeder.
    popped, arrived : In(1)
        A vector has left the queue towards the array; one has entered it.
    hold : In(1)
        A vector that is issued in this cycle must not be one of the residual.
    o : Out(stream of step_layout(), always ready)
    op, norm : Out(instruction_layout(...))
        The instruction that runs; the constants of the last NORM. They hold while vectors are issued.
    packs : Out(1)
        It packs its keys; with `packed_keys`.
    context : Out(WriteSignature), retirement : Out(WriteSignature)
        The tables of instructions in flight.
    busy, blocked : Out(1)
        Issuing; waiting for an earlier instruction.
    """

    i: stream.Interface
    retired: Signal
    copies: Signal
    counts: data.View
    popped: Signal
    arrived: Signal
    hold: Signal
    o: stream.Interface
    op: data.View
    norm: data.View
    packs: Signal
    context: Port
    retirement: Port
    busy: Signal
    blocked: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(issued_layout())),
                "retired": In(INDEX_BITS),
                "copies": In(8),
                "counts": In(data.ArrayLayout(unsigned(13), config.experts)),
                "popped": In(1),
                "arrived": In(1),
                "hold": In(1),
                "o": Out(stream.Signature(step_layout(), always_ready=True)),
                "op": Out(instruction_layout(Opcode.MATMUL)),
                "norm": Out(instruction_layout(Opcode.NORM)),
                "context": Out(WriteSignature(range(CONTEXTS), context_layout(config))),
                "retirement": Out(WriteSignature(range(CONTEXTS), retirement_layout())),
                "busy": Out(1),
                "blocked": Out(1),
                **({"packs": Out(1)} if config.packed_keys else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        index = Signal(INDEX_BITS)
        body: Any = Signal(data.UnionLayout({o.name: instruction_layout(o) for o in (Opcode.MATMUL, Opcode.NORM)}))
        op = body[Opcode.MATMUL.name]
        rows: Value | int = self.config.rows
        if self.config.packed_keys:  # from a register: it holds long before the first vector
            m.d.sync += self.packs.eq(packing(op, self.config))
            rows = block_rows(self.packs, self.config)
        at = _Position(m, op, rows=rows, wide=self.config.wide_operands)
        issue = Signal()
        lone = Signal()
        streaming = Signal()
        credits = Signal(range(QUEUE_DEPTH + 1), init=QUEUE_DEPTH)
        credit = Signal(init=1)  # there is one, judged a step ahead
        normalised = Signal()
        is_matmul = Signal()
        in_pipe = Signal(range(QUEUE_DEPTH + 1))
        m.d.sync += [credits.eq(credits - issue + self.popped), in_pipe.eq(in_pipe + issue - self.arrived)]
        m.d.sync += [
            credit.eq(self.popped | Mux(issue, credits != 1, credit)),
            normalised.eq(op.stream == Stream.NORMALISED),
            is_matmul.eq(op.opcode == Opcode.MATMUL),
        ]
        m.d.comb += [
            self.op.eq(op),
            self.o.valid.eq(issue),
            # From registers, and not from one another: both have many loads.
            self.busy.eq(credit & streaming & ~(self.hold & normalised)),
            issue.eq((credit & lone) | self.busy),
        ]
        with m.If(self.busy):
            at.step(m)
        self._describe(m, at, index, lone)
        begin = self._may_start(m, index)
        starting = Signal()
        ready = self._prepare(m, body, in_pipe, starting)
        m.d.comb += [self.context.mask.eq(ready), self.retirement.mask.eq(ready)]
        states = States(m, "idle", "wait", "start", "lone", "stream")
        with states.state("idle"):
            m.d.comb += self.i.ready.eq(1)
            at.clear(m)
            with m.If(self.i.valid):
                m.d.sync += [index.eq(self.i.p.index), body.eq(self.i.p.body)]
                states.to("wait")
        with states.state("wait"):
            m.d.comb += self.blocked.eq(~begin)
            m.d.sync += at.vectors.eq(Mux(op.expert_valid, self.counts[op.expert], op.token_count))
            with m.If(begin):
                states.to("start")
        with states.state("start"):
            at.start(m)
            m.d.comb += starting.eq(1)
            with m.If(ready):
                states.to("lone")
                m.d.sync += lone.eq(1)
                with m.If(is_matmul & (at.vectors != 0)):
                    m.d.sync += [lone.eq(0), streaming.eq(1)]
                    states.to("stream")
        with states.state("lone"):
            with m.If(credit):
                m.d.sync += lone.eq(0)
                states.to("idle")
        with states.state("stream"):
            with m.If(self.busy & at.last):
                m.d.sync += streaming.eq(0)
                states.to("idle")
        states.close()
        return m

    def _may_start(self, m: Module, index: Signal) -> Value:
        """What the instruction waits for has retired, and there is room for its context until it retires itself."""
        due = Signal(INDEX_BITS)  # retired instructions that must be exceeded
        arriving = data.View(instruction_layout(Opcode.MATMUL), self.i.p.body)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += due.eq(self.i.p.index - arriving.feed_wait)
        waited = Signal()
        room = Signal()
        m.d.comb += [
            waited.eq((self.op.feed_wait == 0) | ((self.retired - due)[:INDEX_BITS].as_signed() > 0)),
            room.eq((index - self.retired)[:INDEX_BITS] < CONTEXTS),
        ]
        return waited & room

    def _prepare(self, m: Module, body: data.View, in_pipe: Signal, starting: Signal) -> Signal:
        """What a NORM or a COPY waits for; 1 when nothing is left. From registers, which the states before `starting`
        leave time for.
        """
        copies_seen = Signal(8)
        is_norm = Signal()
        is_copy = Signal()
        empty = Signal()
        copied = Signal()
        ready = Signal()
        m.d.sync += [
            is_norm.eq(self.op.opcode == Opcode.NORM),
            is_copy.eq(self.op.opcode == Opcode.COPY),
            empty.eq(in_pipe == 0),  # vectors on their way still use the old constants
            copied.eq(self.copies != copies_seen),
        ]
        m.d.comb += ready.eq(starting & Mux(is_norm, empty, ~is_copy | copied))
        with m.If(ready & is_norm):
            m.d.sync += self.norm.eq(body[Opcode.NORM.name])
        with m.If(ready & is_copy):
            m.d.sync += [copies_seen.eq(copies_seen + 1), copied.eq(0)]
        with m.If(starting & is_copy):
            m.d.comb += self.blocked.eq(1)
        return ready

    def _describe(self, m: Module, at: _Position, index: Signal, lone: Signal) -> None:
        """The vector that is issued, and its instruction."""
        op, first = self.op, self.o.p.op
        for name in context_layout(self.config).members:
            m.d.comb += self.context.data[name].eq(self.packs if name == "packs" else op[name])
        routes = (op.opcode == Opcode.MATMUL) & (op.function == Function.ROUTE) & (at.vectors != 0)
        m.d.comb += [
            self.context.address.eq(index),
            self.retirement.address.eq(index),
            self.retirement.data.route.eq(routes),
            self.retirement.data.mark.eq(op.mark),
            self.o.p.word.eq(at.word),
            self.o.p.first_pass.eq((at.out_block == 0) & (at.plane == 0)),
            self.o.p.low.eq(at.low),
            first.vector.eq(~lone),
            first.end.eq(lone | at.last),
            first.context.eq(index),
            first.slot.eq(at.slot),
            first.token.eq(op.token_base + at.slot),
            first.block.eq(at.out_block),
            first.pass_first.eq(at.slot == 0),
            first.slot_first.eq(at.slot == 0),
            first.slot_last.eq(at.last_slot),
            first.acc_first.eq(at.in_block == 0),
            first.acc_last.eq(at.last_in),
            first.acc_shift.eq(at.plane[0] & (at.word == 0)),
            first.block_end.eq(at.last_slot & at.last_in),
            first.block_final.eq(at.last_out),
            first.weights.eq(op.stationary == Stationary.WEIGHTS),
            first.attention.eq(op.stationary != Stationary.WEIGHTS),
            first.attend.eq(op.function == Function.ATTEND),
            first.bank.eq(at.bank),
            first.extra.eq(op.extra & (Mux(first.attend, at.in_block, at.out_block) == 0)),
        ]
