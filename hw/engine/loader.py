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
from moesaic.hw.engine.stage import Stage, narrow_words
from moesaic.hw.functions.requantise import PARAMETER_BITS
from moesaic.hw.memory.ports import Port, ReadSignature, operand_address
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Memory, Opcode, Stationary

__all__ = ["Loader", "copy_layout"]


def copy_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A word for an on-chip memory."""
    return data.StructLayout({"memory": 2, "address": 17, "data": 16 * config.lanes})


class _Position:
    """Where an instruction stands. What a step decides on is counted down, and judged a step ahead."""

    def __init__(self, m: Module, op: data.View, config: AcceleratorConfig) -> None:
        self.op, self.rows, self.lanes = op, config.rows, config.lanes
        self.wide = Const(config.wide_operands, 1)  # without, nothing here comes in planes
        self.in_block = Signal(8)  # in planes: counted within one
        self.plane = Signal()  # of keys or values: the lower one of two
        self.blocks_left = Signal(8)  # of inputs, with this one
        self.plane_left = Signal(8)  # of these, in its plane
        self.outputs_left = Signal(13)  # from this block's first on
        self.keys_left = Signal(12)  # VALUES: from this block's first on
        self.last_in, self.last_out = Signal(), Signal()
        self.planes, self.last_plane = Signal(), Signal()  # blocks come in planes; this is the last of one
        self.only_in = Signal()  # one block is all
        m.d.sync += [self.only_in.eq(op.in_blocks == 1), self.planes.eq(self.wide & (op.shift_block != 0))]

    def clear(self, m: Module) -> None:
        """Before an instruction."""
        m.d.sync += [self.in_block.eq(0), self.plane.eq(0)]

    def start(self, m: Module) -> None:
        """At its first block."""
        op = self.op
        m.d.sync += [
            self.blocks_left.eq(op.in_blocks),
            self.outputs_left.eq(op.out_count),
            self.keys_left.eq(op.key_count),
            self.last_in.eq(op.in_blocks == 1),
            self.last_out.eq(op.out_count <= self.rows),
            self.plane_left.eq(op.shift_block),
            self.last_plane.eq(self.wide & (op.shift_block == 1)),
        ]

    def next_outputs(self, m: Module) -> None:
        """Step to the next block of outputs."""
        m.d.sync += [
            self.outputs_left.eq(self.outputs_left - self.rows),
            self.last_out.eq(self.outputs_left <= 2 * self.rows),
        ]

    def next_block(self, m: Module) -> None:
        """Step to the next block of inputs or outputs, or finish the instruction."""
        op = self.op
        m.d.sync += [
            self.in_block.eq(self.in_block + 1),
            self.blocks_left.eq(self.blocks_left - 1),
            self.last_in.eq(self.blocks_left == 2),
            self.keys_left.eq(self.keys_left - self.lanes),
            self.plane_left.eq(self.plane_left - 1),
            self.last_plane.eq(self.planes & (self.plane_left == 2)),
        ]
        with m.If(self.last_in | self.last_plane):
            m.d.sync += [
                self.in_block.eq(0),
                self.keys_left.eq(op.key_count),
                self.plane.eq(~self.plane & ~self.last_in),
                self.plane_left.eq(op.shift_block),
                self.last_plane.eq(self.wide & (op.shift_block == 1)),
            ]
        with m.If(self.last_in):
            m.d.sync += [self.blocks_left.eq(op.in_blocks), self.last_in.eq(self.only_in)]
            self.next_outputs(m)

    @property
    def last(self) -> Value:
        """The instruction's last block."""
        return self.last_in & self.last_out


class _Keys:
    """Which key is read next."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.groups, self.group_bits = config.groups, (config.groups - 1).bit_length()
        most = max(config.rows, config.lanes)
        self.place = Signal(range(most))  # of the next key in its block
        self.left = Signal(range(most + 1))  # of the block, with this one
        self.address = Signal(16)  # word of the next key
        self.first = Signal(16)  # word of this block's first key
        self.group = Signal(max(self.group_bits, 1))
        self.reading = Signal()  # in this cycle

    def start(self, m: Module, op: data.View) -> None:
        """At the instruction's first key."""
        m.d.sync += [self.address.eq(op.kv_addr), self.first.eq(op.kv_addr), self.group.eq(op.group)]
        with m.If(op.stationary == Stationary.VALUES):
            self._begin(m, op.kv_addr + (op.group >> self.group_bits))

    def _begin(self, m: Module, address: Value) -> None:
        m.d.sync += [self.address.eq(address), self.first.eq(address)]

    def next_key(self, m: Module, op: data.View) -> None:
        """Step to the next key of the block."""
        m.d.sync += [
            self.place.eq(self.place + 1),
            self.left.eq(self.left - 1),
            self.address.eq(self.address + op.kv_stride),
        ]

    def next_block(self, m: Module, op: data.View, at: _Position) -> None:
        """Step from the last key of a block to the first one of the next."""
        with m.If(op.stationary == Stationary.VALUES):
            # Next block of keys continues where this one ends; the next plane starts over, and so does the next block
            # of channels.
            with m.If(at.last_plane):
                m.d.sync += self.address.eq(self.first)
            with m.If(at.last_in):
                step, following = Signal(), Signal(16)
                m.d.comb += [step.eq(self.group == self.groups - 1), following.eq(self.first + step)]
                self._begin(m, following)
                if self.groups > 1:
                    m.d.sync += self.group.eq(self.group + 1)
        with m.Else():
            # Same keys, next block of channels; or the next keys.
            m.d.sync += self.address.eq(self.first + Mux(at.last_plane, 0, at.in_block + 1))
            with m.If(at.last_in):
                beyond = Signal(16)
                m.d.comb += beyond.eq(self.address + op.kv_stride - at.in_block)
                self._begin(m, beyond)


class _Take:
    """Moves words from the weight stream into the stage: the parameters of a block of outputs, then its blocks of
    weights. Words of a speculated expert that nobody wants are counted and dropped.
    """

    def __init__(self, loader: "Loader", m: Module, op: data.View, **moves: Signal) -> None:
        self.loader, self.op, self.config, self.moves = loader, op, loader.config, moves
        block_words, param_words = self.config.block_words, self.config.param_words
        self.narrow: Value = op.narrow if self.config.narrow_weights else Const(0, 1)
        self.index = Signal(range(max(block_words, param_words)))
        self.last_word = Signal(range(block_words))  # number of a block's last word
        self.output_words = Signal(range(param_words + 255 * block_words + 1))  # of a block of outputs
        self.skip_words = Signal(24)
        stage = loader.stage.i
        m.d.comb += [
            stage.p.word.eq(loader.weights.payload),
            stage.p.index.eq(self.index),
            stage.p.first.eq(self.index == 0),
            stage.p.narrow.eq(self.narrow),
            loader.skip.payload.eq(self.skip_words),
        ]

    def start(self, m: Module) -> None:
        """At the instruction's first block."""
        config, op, narrow, narrow_block = self.config, self.op, self.narrow, narrow_words(self.config)
        m.d.sync += [
            self.last_word.eq(Mux(narrow, narrow_block - 1, config.block_words - 1)),
            self.output_words.eq(
                config.param_words + Mux(narrow, op.in_blocks * narrow_block, op.in_blocks * config.block_words)
            ),
        ]

    def _word(self, m: Module, *, parameters: bool, final: Value) -> Value:
        """Move a word; 1 with the last of them, number `final`."""
        stage, weights = self.loader.stage.i, self.loader.weights
        last = Signal(name="took_parameters" if parameters else "took_block")
        m.d.comb += [
            last.eq(stage.ready & weights.valid & (self.index == final)),
            self.moves["starved"].eq(stage.ready & ~weights.valid),
            self.moves["blocked"].eq(~stage.ready),
            self.moves["busy"].eq(stage.ready & weights.valid),
            stage.valid.eq(weights.valid),
            stage.p.parameters.eq(parameters),
            stage.p.last.eq(self.index == final),
        ]
        with m.If(stage.ready & weights.valid):
            m.d.sync += self.index.eq(Mux(self.index == final, 0, self.index + 1))
        return last

    def states(self, m: Module, at: _Position, taking: Signal) -> None:
        """States that take words, or drop them."""
        loader = self.loader
        with m.State("measure"):
            m.d.sync += self.skip_words.eq(self.skip_words + self.output_words)
            at.next_outputs(m)
            with m.If(at.last_out):
                m.d.sync += loader.skip.valid.eq(1)
                m.next = "drop"
        with m.State("drop"):
            m.d.comb += self.moves["starved"].eq(~loader.skip.ready)
            with m.If(loader.skip.ready):
                m.d.sync += loader.skip.valid.eq(0)
                m.next = "idle"
        with m.State("parameters"):
            with m.If(self._word(m, parameters=True, final=Const(self.config.param_words - 1))):
                m.next = "weights"
        with m.State("weights"):
            with m.If(self._word(m, parameters=False, final=self.last_word)):
                # The shadow block is being filled, so nothing stops this word: the block is complete with the next
                # cycle. A block of a single word is not, yet.
                m.d.comb += loader.stage.completing.eq(~loader.stage.alone(self.narrow))
                at.next_block(m)
                with m.If(at.last_in):
                    m.next = "parameters"
                    with m.If(at.last_out):
                        m.d.sync += taking.eq(0)
                        m.next = "idle"


class _Copy:
    """Cuts words of the weight stream into words of the memories."""

    def __init__(self, loader: "Loader", m: Module, op: data.View, copying: Signal) -> None:
        self.loader, self.op = loader, op
        config, weights, o = loader.config, loader.weights, loader.copy
        load_rows, lanes = config.load_rows, config.lanes
        self.address, self.left = Signal(17), Signal(17)
        self.part, self.part_last = Signal(range(load_rows)), Signal()
        residual = op.memory == Memory.RESIDUAL
        half = self.part[: max(1, (load_rows // 2 - 1).bit_length())] if load_rows > 2 else 0
        m.d.comb += [
            self.part_last.eq(self.part == Mux(residual, load_rows // 2 - 1, load_rows - 1)),
            o.valid.eq(copying & weights.valid),
            # In every state: what writes is `valid`.
            o.p.memory.eq(op.memory),
            o.p.address.eq(self.address),
            o.p.data.eq(
                Mux(
                    residual,
                    weights.payload.word_select(half, 16 * lanes),
                    weights.payload.word_select(self.part, 8 * lanes),
                )
            ),
        ]

    def start(self, m: Module) -> None:
        """Before the instruction's first word."""
        m.d.sync += [self.address.eq(self.op.addr), self.left.eq(self.op.words)]

    def step(self, m: Module) -> Value:
        """Step to the next word if this one is taken; 1 with the last one."""
        loader, moved = self.loader, Signal(name="copied")
        last = Signal(name="copied_last")
        m.d.comb += [
            moved.eq(loader.weights.valid & loader.copy.ready),
            last.eq(moved & self.part_last & (self.left == 1)),
        ]
        with m.If(moved):
            m.d.sync += [self.address.eq(self.address + 1), self.part.eq(self.part + 1)]
            with m.If(self.part_last):
                m.d.sync += [self.part.eq(0), self.left.eq(self.left - 1)]
        with m.If(last):
            m.d.sync += loader.copies.eq(loader.copies + 1)
        return last


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
    fill : Out(FillSignature)
        To the array.
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
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.stage = self.stage
        index = Signal(INDEX_BITS)
        body: Any = Signal(data.UnionLayout({o.name: instruction_layout(o) for o in (Opcode.MATMUL, Opcode.COPY)}))
        op, copy = body[Opcode.MATMUL.name], body[Opcode.COPY.name]
        at, keys = _Position(m, op, self.config), _Keys(self.config)
        self._connect_stage(m)
        busy, starved, blocked = Signal(), Signal(), Signal()
        m.d.sync += [self.busy.eq(busy), self.starved.eq(starved), self.blocked.eq(blocked)]
        queue_empty, taking, copying = Signal(), Signal(), Signal()
        # Lengths are complete before the router's instruction counts as retired.
        m.d.sync += queue_empty.eq(op.expert_valid & (self.counts[op.expert] == 0))
        due = Signal(INDEX_BITS)  # retired instructions that must be exceeded
        waited = Signal()
        m.d.comb += waited.eq((op.load_wait == 0) | ((self.retired - due)[:INDEX_BITS].as_signed() > 0))
        take = _Take(self, m, op, starved=starved, blocked=blocked, busy=busy)
        mover = _Copy(self, m, copy, copying)
        pending = self._fill_key(m, op, at, keys)
        # What the state machine does comes from registers: the weight stream is far.
        m.d.comb += self.weights.ready.eq((taking & self.stage.i.ready) | (copying & self.copy.ready & mover.part_last))
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.i.ready.eq(1)
                at.clear(m)
                m.d.sync += take.skip_words.eq(0)
                with m.If(self.i.valid):
                    m.d.sync += [index.eq(self.i.p.index), body.eq(self.i.p.body)]
                    m.next = "decode"
            with m.State("decode"):
                m.d.sync += due.eq(index - op.load_wait)
                at.start(m)
                take.start(m)
                mover.start(m)
                m.next = "wait"
            with m.State("wait"):
                keys.start(m, op)
                m.d.comb += blocked.eq(~waited)
                with m.If(waited):
                    with m.If(op.opcode == Opcode.COPY):
                        m.d.sync += copying.eq(1)
                        m.next = "copy"
                    with m.Elif(queue_empty):
                        m.next = "idle"
                        with m.If(op.speculative & (op.stationary == Stationary.WEIGHTS)):
                            m.next = "measure"
                    with m.Elif(op.stationary == Stationary.WEIGHTS):
                        m.d.sync += taking.eq(1)
                        m.next = "parameters"
                    with m.Else():
                        m.next = "keys"
            take.states(m, at, taking)
            self._read_keys(m, op, at, keys, pending, blocked=blocked, busy=busy)
            with m.State("copy"):
                # The stage is not used: words go to the memories, one or more of them per weight-stream word.
                m.d.comb += [starved.eq(~self.weights.valid), busy.eq(self.weights.valid & self.copy.ready)]
                with m.If(mover.step(m)):
                    m.d.sync += copying.eq(0)
                    m.next = "idle"
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
        self, m: Module, op: data.View, at: _Position, keys: _Keys, pending: Value, *, blocked: Signal, busy: Signal
    ) -> None:
        """States that fill the shadow block with keys or values."""
        rows, lanes, stage = self.config.rows, self.config.lanes, self.stage
        values = op.stationary == Stationary.VALUES
        with m.State("keys"):
            # One cycle to prepare a block: clear it (VALUES leave lanes beyond the last key at zero), and bound the
            # keys.
            m.d.comb += blocked.eq(~stage.available | ~stage.empty)
            left, width = Mux(values, at.keys_left, at.outputs_left), Mux(values, lanes, rows)
            m.d.sync += [keys.place.eq(0), keys.left.eq(Mux(left < width, left, width))]
            with m.If(stage.available & stage.empty & ~pending):
                m.d.comb += self.fill.clear.eq(1)
                m.next = "read"
        with m.State("read"):
            m.d.comb += [keys.reading.eq(1), busy.eq(1)]
            keys.next_key(m, op)
            with m.If(keys.left == 1):
                m.d.comb += stage.completing.eq(1)
                at.next_block(m)
                keys.next_block(m, op, at)
                m.next = "keys"
                with m.If(at.last):
                    m.next = "idle"

    def _fill_key(self, m: Module, op: data.View, at: _Position, keys: _Keys) -> Value:
        """Ask for a key, and write the one asked for in the last cycle into the shadow block; 1 while there is one."""
        config, fill, values = self.config, self.fill, op.stationary == Stationary.VALUES
        m.d.comb += [
            self.kv.enable.eq(keys.reading),
            self.kv.address.word.eq(keys.address),
            self.kv.address.low.eq(at.plane & op.wide_stationary),
        ]
        pending, last, as_values = Signal(), Signal(), Signal()
        place, group = Signal.like(keys.place), Signal.like(keys.group)
        m.d.sync += pending.eq(self.kv.enable)
        with m.If(self.kv.enable):
            m.d.sync += [place.eq(keys.place), as_values.eq(values), last.eq(keys.left == 1), group.eq(keys.group)]
        inside, masked = Signal(config.lanes), []
        for lane in range(config.lanes):
            m.d.sync += inside[lane].eq((op.lane_low <= lane) & (lane < op.lane_low + op.lane_count))
            masked.append(Mux(inside[lane], self.kv.data[lane], 0))
        m.d.comb += fill.key.eq(Cat(*masked))
        word = Value.cast(self.kv.data)
        for r in range(config.rows):
            m.d.comb += fill.column[r].eq(word.word_select(group * config.rows + r if config.groups > 1 else r, 8))
        with m.If(pending):
            m.d.comb += self.stage.keys_filled.eq(last)
            with m.If(as_values):
                m.d.comb += [fill.lane_load.eq(1), fill.lane.eq(place)]
            with m.Else():
                m.d.comb += fill.key_load.eq(1 << place)
        return pending
