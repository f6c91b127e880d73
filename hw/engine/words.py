"""What the loader does with words of the weight stream: into the stage, or cut up for the memories."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream

from moesaic.hw.engine.position import BlockPosition
from moesaic.hw.engine.stage import Stage, narrow_words
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Memory

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
        self.last_word = Signal(range(block_words))  # number of a block's last word
        self.output_words = Signal(range(param_words + 255 * block_words + 1))  # of a block of outputs
        self.skip_words = Signal(24)
        m.d.comb += [
            stage.i.p.word.eq(weights.payload),
            stage.i.p.index.eq(self.index),
            stage.i.p.first.eq(self.index == 0),
            stage.i.p.narrow.eq(self.narrow),
            skip.payload.eq(self.skip_words),
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
        stage, weights = self.stage.i, self.weights
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

    def states(self, m: Module, at: BlockPosition, taking: Signal) -> None:
        """States that take words, or drop them."""
        with m.State("measure"):
            m.d.sync += self.skip_words.eq(self.skip_words + self.output_words)
            at.next_outputs(m)
            with m.If(at.last_out):
                m.d.sync += self.skip.valid.eq(1)
                m.next = "drop"
        with m.State("drop"):
            m.d.comb += self.moves["starved"].eq(~self.skip.ready)
            with m.If(self.skip.ready):
                m.d.sync += self.skip.valid.eq(0)
                m.next = "idle"
        with m.State("parameters"):
            with m.If(self._word(m, parameters=True, final=Const(self.config.param_words - 1))):
                m.next = "weights"
        with m.State("weights"):
            with m.If(self._word(m, parameters=False, final=self.last_word)):
                # The shadow block is being filled, so nothing stops this word: the block is complete with the next
                # cycle. A block of a single word is not, yet.
                m.d.comb += self.stage.completing.eq(~self.stage.alone(self.narrow))
                at.next_block(m)
                with m.If(at.last_in):
                    m.next = "parameters"
                    with m.If(at.last_out):
                        m.d.sync += taking.eq(0)
                        m.next = "idle"


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
        moved = Signal(name="copied")
        last = Signal(name="copied_last")
        m.d.comb += [
            moved.eq(self.weights.valid & self.o.ready),
            last.eq(moved & self.part_last & (self.left == 1)),
        ]
        with m.If(moved):
            m.d.sync += [self.address.eq(self.address + 1), self.part.eq(self.part + 1)]
            with m.If(self.part_last):
                m.d.sync += [self.part.eq(0), self.left.eq(self.left - 1)]
        return last
