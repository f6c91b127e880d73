"""What the loader does with words of the weight stream: into the stage, or cut up for the memories."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream

from moesaic.hw.engine.position import BlockPosition
from moesaic.hw.engine.stage import Stage, narrow_words
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Memory
from moesaic.hw.stream.states import States
from moesaic.hw.vector.pipeline import copies

__all__ = ["Cut", "Take", "copy_layout"]


def copy_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A word for an on-chip memory."""
    return data.StructLayout({"memory": 2, "address": 17, "data": 16 * config.lanes})


class Take:
    """Moves words from the weight stream into the stage: the parameters of a block of outputs, then its blocks of
    weights. Words of a speculated expert that nobody wants are counted and dropped.
    """

    def __init__(
        self,
        m: Module,
        op: data.View,
        *,
        stage: Stage,
        weights: stream.Interface,
        skip: stream.Interface,
        **moves: Signal,
    ) -> None:
        self.op, self.config, self.moves = op, stage.config, moves
        self.stage, self.weights, self.skip = stage, weights, skip
        block_words, param_words = self.config.block_words, self.config.param_words
        self.narrow: Value = op.narrow if self.config.narrow_weights else Const(0, 1)
        self.index = Signal(range(max(block_words, param_words)))
        # The next word is one of parameters; it is the last one of them or of its block. Judged a word ahead.
        self.parameters = Signal()
        self.final = Signal()
        self.ends = Signal()  # it is the last one of its block, also judged a word ahead
        # last word but one of a block; it has one
        self.before_last = Signal(range(block_words))
        self.single = Signal()
        self.output_words = Signal(range(param_words + 255 * block_words + 1))  # of a block of outputs
        self.skip_words = Signal(24)
        m.d.comb += [
            stage.i.p.word.eq(weights.payload),
            stage.i.p.index.eq(self.index),
            stage.i.p.first.eq(self.index == 0),
            stage.i.p.narrow.eq(self.narrow),
            stage.i.p.parameters.eq(self.parameters),
            stage.i.p.last.eq(self.final),
            skip.payload.eq(self.skip_words),
        ]

    def start(self, m: Module) -> None:
        """At the instruction's first block."""
        config, op, narrow, narrow_block = self.config, self.op, self.narrow, narrow_words(self.config)
        m.d.sync += [
            self.parameters.eq(1),
            self.final.eq(config.param_words == 1),
            self.ends.eq(0),
            self.before_last.eq(Mux(narrow, narrow_block - 2, config.block_words - 2)),
            self.single.eq(self.stage.alone(narrow)),
            self.output_words.eq(
                config.param_words + Mux(narrow, op.in_blocks * narrow_block, op.in_blocks * config.block_words)
            ),
        ]

    def words(self, m: Module, at: BlockPosition, taking: Signal, giving: Signal) -> None:
        """Move words while `taking`. The instruction's last word ends it, and `giving` with it. What decides comes from
        registers, and the stage's answer is one LUT.
        """
        stage, weights, one = self.stage.i, self.weights, self.config.param_words == 1
        moved, block, finished = Signal(name="took_word"), Signal(name="took_block"), Signal(name="took_all")
        m.d.comb += [
            stage.valid.eq(taking & weights.valid),
            moved.eq(taking & weights.valid & stage.ready),
            block.eq(self.ends & weights.valid & stage.ready),  # `ends` only while `taking`
            # The shadow block is being filled, so nothing stops this word: the block is complete with the next cycle.
            # A block of a single word is not, yet.
            self.stage.completing.eq(block & ~self.single),
        ]
        # A cycle late where blocks have two words or more: the second one does not ask where it stands.
        step: Value = block
        if min(narrow_words(self.config), self.config.block_words) > 1:
            step = Signal(name="took_block_before")
            m.d.sync += step.eq(block)
        with m.If(step):
            m.d.comb += at.step.eq(1)
        with m.If(taking):
            m.d.comb += [
                self.moves["starved"].eq(stage.ready & ~weights.valid),
                self.moves["blocked"].eq(~stage.ready),
                self.moves["busy"].eq(moved),
            ]
        with m.If(moved):
            m.d.sync += [
                self.index.eq(self.index + 1),
                self.final.eq(
                    Mux(self.parameters, self.index == self.config.param_words - 2, self.index == self.before_last)
                ),
                self.ends.eq(~self.parameters & (self.index == self.before_last)),
            ]
            with m.If(self.final):
                m.d.sync += [
                    self.index.eq(0),
                    self.parameters.eq(~self.parameters & at.last_in),
                    self.final.eq(Mux(~self.parameters & at.last_in, one, self.single)),
                    self.ends.eq(self.single & ~(~self.parameters & at.last_in)),
                ]
        m.d.comb += finished.eq(block & at.last)
        with m.If(finished):
            m.d.sync += [taking.eq(0), giving.eq(0), self.ends.eq(0)]

    def drop(self, m: Module, states: States, at: BlockPosition, taking: Signal) -> None:
        """States while words are taken, or dropped."""
        with states.state("measure"):
            m.d.sync += self.skip_words.eq(self.skip_words + self.output_words)
            at.next_outputs(m)
            with m.If(at.last_out):
                m.d.sync += self.skip.valid.eq(1)
                states.to("drop")
        with states.state("drop"):
            m.d.comb += self.moves["starved"].eq(~self.skip.ready)
            with m.If(self.skip.ready):
                m.d.sync += self.skip.valid.eq(0)
                states.to("idle")
        with states.state("take"):
            with m.If(~taking):
                states.to("idle")


class Cut:
    """Cuts words of the weight stream into words of the memories."""

    def __init__(
        self,
        m: Module,
        op: data.View,
        config: AcceleratorConfig,
        *,
        weights: stream.Interface,
        o: stream.Interface,
        copying: Signal,
    ) -> None:
        self.op, self.weights, self.o = op, weights, o
        load_rows, lanes = config.load_rows, config.lanes
        self.load_rows = load_rows
        self.address = Signal(17)
        self.left = Signal(17)
        self.counted = Signal()  # a word went in the cycle before, and `left` does not know it yet
        # the latter judged a step ahead, as `last`
        self.part = Signal(range(load_rows))
        self.part_last = Signal()
        # this is the last word; its last part
        self.last = Signal()
        self.final = Signal()
        memory = Signal(2)
        m.d.sync += [memory.eq(op.memory), self.counted.eq(0)]
        with m.If(self.counted):  # a cycle late: many bits, and the weight stream is far
            m.d.sync += self.left.eq(self.left - 1)
        # The instruction holds long before its words come; every few lanes know it by themselves.
        residual = copies(m, op.memory == Memory.RESIDUAL, lanes, name="to_residual")
        half = self.part[: max(1, (load_rows // 2 - 1).bit_length())] if load_rows > 2 else 0
        m.d.comb += [
            o.valid.eq(copying & weights.valid),
            # In every state: what writes is `valid`.
            o.p.memory.eq(memory),
            o.p.address.eq(self.address),
        ]
        whole = weights.payload.word_select(half, 16 * lanes)
        bytes_ = weights.payload.word_select(self.part, 8 * lanes)
        for lane in range(2 * lanes):  # of bytes; the upper half has a word of the residual only
            there = whole.word_select(lane, 8)
            m.d.comb += o.p.data.word_select(lane, 8).eq(
                Mux(residual[lane // 2], there, bytes_.word_select(lane, 8) if lane < lanes else 0)
            )

    def start(self, m: Module) -> None:
        """Before the instruction's first word."""
        m.d.sync += [
            self.address.eq(self.op.addr),
            self.left.eq(self.op.words),
            self.last.eq(self.op.words == 1),
            self.part_last.eq(self._limit() == 0),
            self.final.eq((self._limit() == 0) & (self.op.words == 1)),
        ]

    def _limit(self) -> Value:
        """Number of the last part of a word of the weight stream."""
        return Mux(self.op.memory == Memory.RESIDUAL, self.load_rows // 2 - 1, self.load_rows - 1)

    def step(self, m: Module) -> Value:
        """Step to the next word if this one is taken; 1 with the last one."""
        moved = Signal(name="copied")
        last = Signal(name="copied_last")
        before_last = Signal(name="copies_before_last")  # the word on offer is the last but one
        m.d.comb += [
            moved.eq(self.weights.valid & self.o.ready),
            last.eq(self.weights.valid & self.o.ready & self.final),
            before_last.eq(Mux(self.counted, self.left == 3, self.left == 2)),
        ]
        with m.If(moved):
            m.d.sync += [
                self.address.eq(self.address + 1),
                self.part.eq(self.part + 1),
                self.part_last.eq(self.part + 1 == self._limit()),
                self.final.eq(self.last & (self.part + 1 == self._limit())),
            ]
            with m.If(self.part_last):
                m.d.sync += [
                    self.part.eq(0),
                    self.part_last.eq(self._limit() == 0),
                    self.counted.eq(1),
                    self.last.eq(before_last),
                    self.final.eq((self._limit() == 0) & before_last),
                ]
        return last
