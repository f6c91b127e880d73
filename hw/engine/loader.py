"""The stationary side: fills the array's shadow block from the weight stream or the key/value memory, ahead of the
stream.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.sequencer import issued_layout
from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.engine.array import FillSignature
from moesaic.hw.engine.extra import ExtraFillSignature
from moesaic.hw.engine.halves import pair_of_keys
from moesaic.hw.engine.position import BlockPosition, KeyPosition, lanes_inside
from moesaic.hw.engine.stage import Stage
from moesaic.hw.engine.words import Cut, Take, copy_layout
from moesaic.hw.functions.requantise import PARAMETER_BITS
from moesaic.hw.memory.ports import Port, ReadSignature, operand_address
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode, Stationary
from moesaic.hw.stream.states import States

__all__ = ["Loader"]


class Loader(wiring.Component):
    """Runs the loading half of every compute instruction, in order, one block ahead of the stream.

    One weight-stream word per cycle (``load_rows`` rows, or twice as many of ``narrow`` weights), or one key per cycle.
    A word for the next block is taken from the weight stream while the shadow block still waits for its exchange, so
    blocks follow each other every ``rows / load_rows`` cycles (narrow ones twice as fast; at least two).
    Never overwrites a shadow block before ``swap``, nor parameters before ``release``. Empty after reset.

    So that neither side waits for the other within a cycle, ``full`` says that the block is complete after this cycle,
    and the array's answer comes one cycle after it has taken the block.

    Members
    -------
    i : In(stream of issued_layout())
        MATMUL and COPY instructions.
    retired : In(24)
        Compute instructions retired so far.
    counts : In(experts x 13)
        Lengths of the expert queues.
    weights : In(stream), skip : Out(stream of unsigned(24))
        Weight stream; words to drop from it.
    kv : Out(ReadSignature)
        Key/value memory.
    fill : Out(FillSignature), extra : Out(ExtraFillSignature)
        To the array, and to the extra key beside it, which is there with `extra_key`.
    full : Out(1), swap : In(1)
        The last of the shadow block leaves in this cycle, or has left: it may be taken from now on. It was taken in the
        last cycle (in which ``full`` still belongs to it).
    parameters : Out(2 x rows x 48), release : In(1)
        Two banks of biases and multipliers, used alternately; a bank is free again.
    copy : Out(stream of copy_layout(config))
        Words for on-chip memories. The memory does not change while one is on offer, or being judged in the cycle
        before.
    copies : Out(8)
        COPY instructions completed, modulo 256.
    busy, starved, blocked : Out(1)
        For the counters, of the cycle before: moving data; waiting for the weight stream; waiting for the array or for
        an earlier instruction.
    """

    i: stream.Interface
    retired: Signal
    counts: data.View
    weights: stream.Interface
    skip: stream.Interface
    kv: Port
    fill: Port
    extra: Port
    full: Signal
    swap: Signal
    parameters: data.View
    release: Signal
    copy: stream.Interface
    copies: Signal
    busy: Signal
    starved: Signal
    blocked: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.stage = Stage(config)
        super().__init__(
            {
                "i": In(stream.Signature(issued_layout())),
                "retired": In(INDEX_BITS),
                "counts": In(data.ArrayLayout(unsigned(13), config.experts)),
                "weights": In(stream.Signature(unsigned(8 * config.word_bytes))),
                "skip": Out(stream.Signature(unsigned(24))),
                "kv": Out(ReadSignature(operand_address(), data.ArrayLayout(unsigned(8), config.lanes))),
                "fill": Out(FillSignature(rows=config.rows, lanes=config.lanes, load_rows=config.load_rows)),
                "full": Out(1),
                "swap": In(1),
                "parameters": Out(data.ArrayLayout(unsigned(PARAMETER_BITS * config.rows), 2)),
                "release": In(1),
                "copy": Out(stream.Signature(copy_layout(config))),
                "copies": Out(8),
                "busy": Out(1),
                "starved": Out(1),
                "blocked": Out(1),
                **({"extra": Out(ExtraFillSignature(config))} if config.extra_key else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.stage = self.stage
        index = Signal(INDEX_BITS)
        body: Any = Signal(data.UnionLayout({o.name: instruction_layout(o) for o in (Opcode.MATMUL, Opcode.COPY)}))
        op, copy = body[Opcode.MATMUL.name], body[Opcode.COPY.name]
        at, keys = BlockPosition(m, op, self.config), KeyPosition(m, op, self.config)
        keys.watch(m, at)
        self._connect_stage(m)
        busy = Signal()
        starved = Signal()
        blocked = Signal()
        m.d.sync += [self.busy.eq(busy), self.starved.eq(starved), self.blocked.eq(blocked)]
        queue_empty = Signal()
        # Twice the same: one for the weight stream, which is far.
        taking, giving = Signal(), Signal(attrs={"keep": "true"})
        copying = Signal()
        # Lengths are complete before the router's instruction counts as retired.
        m.d.sync += queue_empty.eq(op.expert_valid & (self.counts[op.expert] == 0))
        due = Signal(INDEX_BITS)  # retired instructions that must be exceeded
        waited = Signal()
        m.d.comb += waited.eq((op.load_wait == 0) | ((self.retired - due)[:INDEX_BITS].as_signed() > 0))
        moves = {"starved": starved, "blocked": blocked, "busy": busy}
        take = Take(m, op, stage=self.stage, weights=self.weights, skip=self.skip, **moves)
        mover = Cut(m, copy, self.config, weights=self.weights, o=self.copy, copying=copying)
        pending = self._fill_key(m, op, at, keys)
        take.words(m, at, taking, giving)
        # What the state machine does comes from registers: the weight stream is far.
        m.d.comb += self.weights.ready.eq((giving & self.stage.i.ready) | (copying & self.copy.ready & mover.part_last))
        # The instruction's kind, from its first cycle in `wait` on.
        is_copy, is_weights = Signal(), Signal()
        m.d.sync += [is_copy.eq(op.opcode == Opcode.COPY), is_weights.eq(op.stationary == Stationary.WEIGHTS)]
        extra = ["extra"] if self.config.extra_key else []
        states = States(m, "idle", "decode", "wait", "measure", "drop", "take", "keys", *extra, "read", "copy")
        with states.state("idle"):
            m.d.comb += self.i.ready.eq(1)
            at.clear(m)
            m.d.sync += take.skip_words.eq(0)
            with m.If(self.i.valid):
                m.d.sync += [index.eq(self.i.p.index), body.eq(self.i.p.body)]
                states.to("decode")
        with states.state("decode"):
            m.d.sync += due.eq(index - op.load_wait)
            at.start(m)
            take.start(m)
            mover.start(m)
            states.to("wait")
        with states.state("wait"):
            at.settle(m)
            keys.start(m, op)
            m.d.comb += blocked.eq(~waited)
            with m.If(waited):
                with m.If(is_copy):
                    m.d.sync += copying.eq(1)
                    states.to("copy")
                with m.Elif(queue_empty):
                    states.to("idle")
                    with m.If(op.speculative & is_weights):
                        states.to("measure")
                with m.Elif(is_weights):
                    m.d.sync += [taking.eq(1), giving.eq(1)]
                    states.to("take")
                with m.Else():
                    states.to("keys")
        take.drop(m, states, at, taking)
        self._read_keys(m, states, op, at, keys, pending, blocked=blocked, busy=busy)
        with states.state("copy"):
            # The stage is not used: words go to the memories, one or more of them per weight-stream word.
            with m.If(copying):
                m.d.comb += [starved.eq(~self.weights.valid), busy.eq(self.weights.valid & self.copy.ready)]
                with m.If(mover.step(m)):
                    m.d.sync += copying.eq(0)
            with m.Else():
                m.d.sync += self.copies.eq(self.copies + 1)
                states.to("idle")
        states.close()
        return m

    def _connect_stage(self, m: Module) -> None:
        stage, fill = self.stage, self.fill
        m.d.comb += [
            stage.swap.eq(self.swap),
            stage.release.eq(self.release),
            self.full.eq(stage.full),
            self.parameters.eq(stage.parameters),
            fill.word_load.eq(stage.word_load),
            fill.word.eq(stage.word),
            fill.narrow.eq(stage.narrow),
        ]

    def _read_keys(
        self,
        m: Module,
        states: States,
        op: data.View,
        at: BlockPosition,
        keys: KeyPosition,
        pending: Value,
        *,
        blocked: Signal,
        busy: Signal,
    ) -> None:
        """States that fill the shadow block with keys or values."""
        rows, lanes, stage = at.rows, self.config.lanes, self.stage
        values = keys.values
        m.d.sync += self.fill.clear.eq(0)
        with states.state("keys"):
            # One cycle to prepare a block: clear it (VALUES leave lanes beyond the last key at zero), and bound the
            # keys. The array is told a cycle later, ahead of the first key.
            m.d.comb += blocked.eq(~stage.available | ~stage.empty)
            left, width = Mux(values, at.keys_left, at.outputs_left), Mux(values, lanes, rows)
            keys.begin_block(m, op, left, width)
            with m.If(stage.available & stage.empty & ~pending):
                m.d.sync += [self.fill.clear.eq(1), keys.ends.eq(left == 1), keys.steps.eq(left == 1)]
                states.to("read")
                if self.config.extra_key:
                    with m.If(at.takes_extra):
                        states.to("extra")
        if self.config.extra_key:
            with states.state("extra"):
                m.d.comb += [keys.reading_extra.eq(1), busy.eq(1)]
                states.to("read")
        with states.state("read"):
            m.d.comb += [keys.reading.eq(1), busy.eq(1)]
            keys.next_key(m, op)
            with m.If(keys.last):
                states.to("keys")
                with m.If(at.last):
                    states.to("idle")
        # The last key's flags wait while the extra key is read.
        waits: Value = keys.reading_extra if self.config.extra_key else Const(0, 1)
        with m.If(keys.ends & ~waits):
            m.d.comb += [stage.completing.eq(1), at.step.eq(1)]
        with m.If(keys.steps & ~waits):
            keys.next_block(m, at)

    def _fill_key(self, m: Module, op: data.View, at: BlockPosition, keys: KeyPosition) -> Value:
        """Ask for a key, and write the one asked for in the last cycle into the shadow block; 1 while there is one."""
        config, fill, values = self.config, self.fill, keys.values
        m.d.comb += [
            self.kv.enable.eq(keys.reading),
            self.kv.address.word.eq(keys.address),
            self.kv.address.low.eq(at.plane & op.wide_stationary),
        ]
        pending = Signal()
        last = Signal()
        as_values = Signal()
        place = Signal.like(keys.place)
        group = Signal.like(keys.group)
        m.d.sync += pending.eq(keys.reading)
        with m.If(self.kv.enable):
            m.d.sync += [place.eq(keys.place), as_values.eq(values), last.eq(keys.last), group.eq(keys.group)]
        inside = lanes_inside(m, op, config.lanes)
        masked = [Mux(inside[lane], self.kv.data[lane], 0) for lane in range(config.lanes)]
        row: Value = place
        filled: Value = Const(1, 1)
        if config.packed_keys:
            upper = op.lane_low >= config.lanes // 2
            masked = pair_of_keys(
                m,
                masked,
                packs=at.packs,
                upper=upper,
                early_second=keys.place[0],
                comes_first=pending & ~place[0],
            )
            row, filled = Mux(at.packs, place >> 1, place), ~at.packs | place[0] | last
        m.d.comb += [fill.key.eq(Cat(*masked)), fill.key_valid.eq(pending)]
        word = Value.cast(self.kv.data)
        for r in range(config.rows):
            m.d.comb += fill.column[r].eq(word.word_select(group * config.rows + r if config.groups > 1 else r, 8))
        if config.extra_key:
            extra = self.extra
            pending_extra = Signal()
            as_value = Signal(attrs={"keep": "true"})  # the same as `as_values`, which has other loads
            m.d.sync += [pending_extra.eq(keys.reading_extra), as_value.eq(values)]
            with m.If(keys.reading_extra):
                m.d.comb += [self.kv.enable.eq(1), self.kv.address.word.eq(keys.extra_address)]
            m.d.comb += [
                extra.load.eq(pending_extra),
                extra.values.eq(as_value),
                Value.cast(extra.key).eq(fill.key),
                extra.column.eq(fill.column),
            ]
        with m.If(pending):
            m.d.comb += self.stage.keys_filled.eq(last)
            with m.If(as_values):
                m.d.comb += [fill.lane_load.eq(1), fill.lane.eq(place)]
            with m.Else():
                m.d.comb += fill.key_load.eq(filled << row)
        return pending
