"""The loader behind any weight stream, and before any array and write-back that keep their side."""

from amaranth.hdl import Assert, Assume, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import data
from inside import opened
from prove import free_inputs

from moesaic.hw.decode.instruction import instruction_layout
from moesaic.hw.engine.loader import Loader
from moesaic.hw.engine.stage import narrow_words
from moesaic.hw.spec.isa import Memory, Opcode, Stationary
from moesaic.hw.stream.rules import Check, StreamContract

__all__ = ["LoaderProof"]

NUMBER_BITS = 3  # of a word's number: more than there are on their way


class LoaderProof(Elaboratable):
    """Any instructions that the sequencer lets pass; one word, of any number, is followed from the weight stream on.

    The array takes a block once ``full`` has said that there is one, and not in two cycles in a row; the write-back
    releases banks that it was given.
    """

    def __init__(self, dut: Loader, *, invariants: bool) -> None:
        self.dut, self.invariants, self.config = dut, invariants, dut.config
        self.number = Signal(NUMBER_BITS)  # of the word that is followed
        self.free = [*free_inputs(dut), self.number]
        # A search for what does not hang on data is shorter where they are 0, and every expert is empty.
        self.control = [dut.i.valid, Value.cast(dut.i.payload), dut.weights.valid, dut.swap, dut.release]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.stage = opened(self.dut.stage, platform)
        self.inner = opened(self.dut, platform)
        m.submodules.dut = self.dut
        body = self.inner["body"]
        self.op, self.copy = (data.View(instruction_layout(o), body) for o in (Opcode.MATMUL, Opcode.COPY))
        self.taking, self.narrow = self.inner["$signal"], self.op.narrow
        self.reads = self.inner["in_read"] | (self.inner["in_extra"] if self.config.extra_key else 0)
        self._assume(m)
        self._words(m)
        self._array(m)
        self._banks(m)
        self._follow(m)
        self._dropped(m)
        self._copied(m)
        if self.invariants:
            self._position(m)
            self._on_the_way(m)
            self._keys(m)
            self._instruction(m)
        return m

    def _lawful(self, body: Value) -> Value:
        """What is promised of instructions that pass."""
        op, copy = (data.View(instruction_layout(o), body) for o in (Opcode.MATMUL, Opcode.COPY))
        keys, lanes = op.key_count, self.config.lanes
        fits = ((op.in_blocks - 1) * lanes < keys) & (keys <= op.in_blocks * lanes)
        memory = (copy.memory == Memory.ACTIVATION) | (copy.memory == Memory.RESIDUAL)
        return Mux(
            op.opcode == Opcode.COPY,
            (copy.words != 0) & memory,
            (op.opcode == Opcode.MATMUL)
            & (op.out_count != 0)
            & (op.in_blocks != 0)
            & ((op.stationary != Stationary.VALUES) | fits),
        )

    def _assume(self, m: Module) -> None:
        dut = self.dut
        m.submodules.weights = StreamContract(dut.weights, check=Check.ASSUME)
        m.d.comb += Assume(~dut.i.valid | self._lawful(dut.i.p.body), "the sequencer has looked at it")
        known, number = Signal(), Signal.like(self.number)
        m.d.sync += [known.eq(1), number.eq(self.number)]
        m.d.comb += Assume(~known | (number == self.number), "the same word is followed all along")
        self.offered = Signal()  # to the array, in the cycle before
        m.d.sync += self.offered.eq(dut.full & ~dut.swap)
        m.d.comb += Assume(~dut.swap | self.offered, "what the array takes was offered")

    def _last_word(self, narrow: Value) -> Value:
        """Index of a block's last word."""
        return Mux(narrow, narrow_words(self.config) - 1, self.config.block_words - 1)

    def _words(self, m: Module) -> None:
        """An instruction takes its words, in order and no others: of each block of outputs parameters, then weights."""
        dut, inner, op, stage = self.dut, self.inner, self.op, self.dut.stage
        self.parameters, self.done = Signal(), Signal()
        self.index, self.blocks, self.outputs = Signal(8), Signal.like(op.in_blocks), Signal.like(op.out_count)
        last, self.word = Signal.like(self.index), Signal()
        m.d.comb += [
            last.eq(Mux(self.parameters, self.config.param_words - 1, self._last_word(self.narrow))),
            self.word.eq(self.taking & dut.weights.valid & dut.weights.ready),
            Assert(self.word == (stage.i.valid & stage.i.ready), "a word is taken if it goes on, once"),
            Assert(~self.taking | ~self.done, "no word after the last"),
            Assert(~inner["in_take"] | self.taking | self.done, "nor does it end before"),
        ]
        with m.If(inner["wait_to_take"]):
            m.d.sync += [self.parameters.eq(1), self.done.eq(0), self.index.eq(0)]
            m.d.sync += [self.blocks.eq(op.in_blocks), self.outputs.eq(op.out_count)]
        with m.If(self.word):
            m.d.comb += [
                Assert(stage.i.p.word == dut.weights.payload),
                Assert(stage.i.p.parameters == self.parameters, "it is what it is taken for"),
                Assert(stage.i.p.index == self.index),
                Assert(stage.i.p.first == (self.index == 0)),
                Assert(stage.i.p.last == (self.index == last)),
                Assert(stage.i.p.narrow == self.narrow),
            ]
            m.d.sync += self.index.eq(self.index + 1)
            with m.If(self.index == last):
                m.d.sync += [self.index.eq(0), self.parameters.eq(0)]
                with m.If(~self.parameters):
                    m.d.sync += self.blocks.eq(self.blocks - 1)
                    with m.If(self.blocks == 1):
                        m.d.sync += [self.blocks.eq(op.in_blocks), self.parameters.eq(1)]
                        m.d.sync += self.outputs.eq(self.outputs - self.config.rows)
                        m.d.sync += self.done.eq(self.outputs <= self.config.rows)

    def _array(self, m: Module) -> None:
        """The shadow block is whole when the array takes it, and is not touched before."""
        dut, stage, fill = self.dut, self.stage, self.dut.fill
        held = self.held = data.View(dut.stage.i.p.shape(), stage["held"])
        self.goes = stage["go"]
        self.complete, self.begun = Signal(), Signal(8)  # words of the next block that are there
        completes, loads = Signal(), Signal()
        m.d.comb += [
            loads.eq(self.goes & ~held.parameters),
            completes.eq((loads & held.last) | dut.stage.keys_filled),
            Assert(fill.word_load.any() == loads),
            Assert(~dut.full | self.complete | completes, "full means complete after this cycle"),
            Assert(~dut.swap | self.complete, "the array takes a whole block, once"),
            Assert(~self.offered | self.complete),
            Assert(~loads | (held.index == self.begun), "words of a block in their order, and none twice"),
            Assert(~(fill.clear | fill.key_valid) | (self.begun == 0), "nor keys among them"),
        ]
        touched = fill.word_load.any() | fill.key_load.any() | fill.lane_load | fill.clear
        m.d.comb += Assert(~touched | ~self.complete | dut.swap, "no block is overwritten before it is taken")
        m.d.sync += self.complete.eq((self.complete & ~dut.swap) | completes)
        with m.If(loads):
            m.d.sync += self.begun.eq(Mux(held.last, 0, self.begun + 1))
            for g in range(self.config.block_words):
                here = Mux(held.narrow, g >> 1, g) == self.begun
                m.d.comb += Assert(fill.word_load[g] == here, "each in its rows")

    def _banks(self, m: Module) -> None:
        """A bank of parameters is not written while the write-back has it."""
        dut, stage, held = self.dut, self.stage, self.held
        claimed, given = Signal(2), Signal(2)  # banks begun, and banks complete, that are not released
        oldest, writes = Signal(), Signal()
        self.claimed, self.given, self.oldest = claimed, given, oldest
        m.d.comb += [
            writes.eq(self.goes & held.parameters),
            Assume(~dut.release | (given != 0), "a bank that is released was given"),
            Assert(claimed <= 2, "there are two banks"),
            Assert(~writes | ((given <= 1) & (stage["bank"] == oldest ^ given[0])), "none that the write-back has"),
        ]
        m.d.sync += [
            claimed.eq(claimed + (writes & held.first) - dut.release),
            given.eq(given + (writes & held.last) - dut.release),
            oldest.eq(oldest ^ dut.release),
        ]
        # Why the next word may have to wait for others.
        waits = self.taking & dut.weights.valid & ~dut.weights.ready
        whole = (self.complete & ~dut.swap) | (claimed == 2) | stage["released"]
        m.d.comb += Assert(~waits | whole, "a word waits for the array or the write-back alone")

    def _follow(self, m: Module) -> None:
        """The word that is followed leaves the stage in its place and unchanged; as a parameter it stays."""
        dut, held, number = self.dut, self.held, self.number
        taken, gone, its = Signal(NUMBER_BITS), Signal(NUMBER_BITS), Signal.like(dut.weights.payload)
        self.taken, self.gone, self.its = taken, gone, its
        m.d.sync += [taken.eq(taken + self.word), gone.eq(gone + self.goes)]
        there, bank, index = Signal(), Signal(), Signal.like(held.index)  # whether and where it is a parameter
        self.there, self.bank, self.place = there, bank, index
        with m.If(self.word & (taken == number)):
            m.d.sync += [its.eq(dut.weights.payload), there.eq(0)]
        with m.If(self.goes):
            m.d.comb += Assert(taken != gone, "no word before it is taken")
        with m.If(self.goes & (gone == number)):
            m.d.comb += Assert(dut.fill.word == its, "words are in order and unchanged")
            m.d.sync += [there.eq(held.parameters), bank.eq(self.stage["bank"]), index.eq(held.index)]
        with m.If(dut.release & (self.oldest == bank)):
            m.d.sync += there.eq(0)
        with m.If(there):
            words = Mux(bank, self.stage["bank_1"], self.stage["bank_0"])
            m.d.comb += Assert(words.word_select(index, len(its)) == its, "a parameter stays until it is released")
        kept = [Value.cast(dut.parameters[b]) == self.stage[f"bank_{b}"][: len(dut.parameters[b])] for b in range(2)]
        m.d.comb += [Assert(same) for same in kept]

    def _dropped(self, m: Module) -> None:
        """As many words are dropped as the instruction would have taken."""
        dut, inner, op = self.dut, self.inner, self.op
        total, left, measured = Signal(24), Signal.like(op.out_count), Signal()
        words = Signal(16)  # of a block of outputs
        m.d.comb += words.eq(self.config.param_words + op.in_blocks * (self._last_word(self.narrow) + 1))
        with m.If(inner["wait_to_measure"]):
            m.d.sync += [total.eq(0), left.eq(op.out_count), measured.eq(0)]
        with m.If(inner["in_measure"]):
            m.d.comb += Assert(~measured)
            m.d.sync += total.eq(total + words)
            m.d.sync += [left.eq(left - self.config.rows), measured.eq(left <= self.config.rows)]
        with m.If(dut.skip.valid):
            m.d.comb += Assert(measured & (dut.skip.payload == total), "words of all blocks of outputs are dropped")
        m.d.comb += Assert(~dut.skip.valid | ~dut.weights.ready, "and none is taken meanwhile")
        if self.invariants:
            m.d.comb += Assert(dut.skip.valid == inner["in_drop"])
            m.d.comb += Assert(~(inner["in_decode"] | inner["in_wait"]) | (inner["skip_words"] == 0))
            m.d.comb += Assert(~inner["in_drop"] | (measured & (inner["skip_words"] == total)))
            matmul = op.opcode == Opcode.MATMUL
            with m.If((inner["in_wait"] & matmul) | inner["in_measure"]):
                m.d.comb += Assert(inner["output_words"] == words)
            with m.If(inner["in_measure"]):
                m.d.comb += [
                    Assert(~measured),
                    Assert(inner["skip_words"] == total),
                    Assert(inner["outputs_left"] == left),
                    Assert(inner["last_out"] == (left <= self.config.rows)),
                    Assert(left != 0),
                ]

    def _copied(self, m: Module) -> None:
        """A COPY takes its words, cut up, each part to its place."""
        dut, inner, copy, o = self.dut, self.inner, self.copy, self.dut.copy
        lanes, load_rows = self.config.lanes, self.config.load_rows
        left, part, place, done = Signal.like(copy.words), Signal(8), Signal(17), Signal()
        residual, last, moved = Signal(), Signal.like(part), Signal()
        m.d.comb += [
            residual.eq(copy.memory == Memory.RESIDUAL),
            last.eq(Mux(residual, load_rows // 2 - 1, load_rows - 1)),
            moved.eq(o.valid & o.ready),
            Assert(~inner["copying"] | ~done, "no word after the last"),
            Assert(~inner["in_copy"] | inner["copying"] | done, "nor does it end before"),
        ]
        with m.If(inner["wait_to_copy"]):
            m.d.sync += [left.eq(copy.words), part.eq(0), place.eq(copy.addr), done.eq(0)]
        taken = dut.weights.valid & dut.weights.ready
        with m.If(~self.taking):
            m.d.comb += Assert(taken == (moved & (part == last)), "a word is taken with its last part")
        with m.If(moved):
            words = dut.weights.payload
            cut = Mux(residual, words.word_select(part, 16 * lanes), words.word_select(part, 8 * lanes))
            m.d.comb += [
                Assert(inner["copying"]),
                Assert(o.p.memory == copy.memory),
                Assert(o.p.address == place, "one word after the other"),
                Assert(o.p.data == cut, "unchanged"),
            ]
            m.d.sync += [place.eq(place + 1), part.eq(part + 1)]
            with m.If(part == last):
                m.d.sync += [part.eq(0), left.eq(left - 1), done.eq(left == 1)]
        if self.invariants:
            begins = inner["in_wait"] & (copy.opcode == Opcode.COPY)
            lefts, parts, there = (Mux(begins, a, b) for a, b in ((copy.words, left), (0, part), (copy.addr, place)))
            m.d.comb += Assert(Mux(inner["copying"], inner["in_copy"], inner["part"] == 0))
            with m.If(begins | inner["copying"]):
                m.d.comb += [
                    Assert((inner["left"] - inner["counted"] == lefts) & (lefts != 0)),
                    Assert(inner["last$1"] == (lefts == 1)),
                    Assert((inner["part"] == parts) & (parts <= last)),
                    Assert(inner["part_last"] == (parts == last)),
                    Assert(inner["final$1"] == ((parts == last) & (lefts == 1))),
                    Assert(inner["address"] == there),
                ]

    def _position(self, m: Module) -> None:
        """Invariants: where the loader stands among the instruction's words."""
        inner, op, rows = self.inner, self.op, self.config.rows
        late = inner.signals.get("took_block_before")
        behind = inner["took_block"] & 0 if late is None else late
        turn = inner["last_in"]
        blocks = Mux(behind, Mux(turn, op.in_blocks, inner["blocks_left"] - 1), inner["blocks_left"])
        outputs = Mux(behind & turn, inner["outputs_left"] - rows, inner["outputs_left"])
        last = Mux(self.parameters, self.config.param_words - 1, self._last_word(self.narrow))
        final = self.index == last
        m.d.comb += Assert(self.taking == inner["giving"])
        m.d.comb += Assert(self.taking | ~(inner["ends"] | inner["index"].any()))
        begins = inner["in_wait"] & (op.opcode == Opcode.MATMUL)
        with m.If(begins):
            m.d.comb += [
                Assert(inner["parameters$1"] & ~inner["ends"] & (inner["index"] == 0)),
                Assert(inner["final"] == (self.config.param_words == 1)),
                Assert(inner["blocks_left"] == op.in_blocks),
                Assert(inner["outputs_left"] == op.out_count),
                Assert(~behind),
            ]
        with m.If(self.taking):
            m.d.comb += [
                Assert(inner["in_take"]),
                Assert(inner["index"] == self.index),
                Assert(inner["parameters$1"] == self.parameters),
                Assert((inner["final"] == final) & (self.index <= last)),
                Assert(inner["ends"] == (final & ~self.parameters)),
                Assert(~behind | (self.index == 0)),
                Assert((blocks == self.blocks) & (blocks != 0) & (blocks <= op.in_blocks)),
                Assert((outputs == self.outputs) & (outputs != 0)),
                Assert(~self.parameters | (self.blocks == op.in_blocks)),
            ]
        counted = self.reads | inner["in_keys"]  # keys, or values, of a block of inputs after the other
        before = (op.in_blocks - inner["blocks_left"]) * self.config.lanes
        with m.If(begins | counted):
            m.d.comb += [
                Assert(inner["last_of_keys"] == (inner["blocks_left"] == 1)),
                Assert((op.stationary != Stationary.VALUES) | (inner["keys_left"] + before == op.key_count)),
                Assert(inner["blocks_left"] <= op.in_blocks),
            ]
        with m.If(begins | counted | self.taking):
            m.d.comb += [
                Assert(inner["last_in"] == (inner["blocks_left"] == 1)),
                Assert(inner["last_out"] == (inner["outputs_left"] <= rows)),
                Assert((inner["blocks_left"] != 0) & (inner["outputs_left"] != 0)),
            ]
        with m.If(begins | self.taking):
            m.d.comb += [
                Assert(inner["before_last"] == (self._last_word(self.narrow) - 1)[: len(inner["before_last"])]),
                Assert(inner["single"] == (self._last_word(self.narrow) == 0)),
            ]

    def _on_the_way(self, m: Module) -> None:
        """Invariants: the word in the stage, what it waits for, and words of its block or bank before and after it."""
        dut, stage, held = self.dut, self.stage, self.held
        valid = ~dut.stage.empty
        parameter, weight = valid & held.parameters, valid & ~held.parameters
        filled = Signal(8)  # words of the next bank
        coming = self.taking & self.parameters
        writes = self.goes & held.parameters
        with m.If(writes):
            m.d.sync += filled.eq(Mux(held.last, 0, filled + 1))
        last_weight = self._last_word(held.narrow)
        m.d.comb += [
            Assert(self.complete == stage["filled"]),
            Assert((self.taken - self.gone)[:NUMBER_BITS] == valid),
            Assert(~valid | (self.gone != self.number) | (held.word == self.its)),
            *(Assert(stage[f"waits_bank{copy}"] == (parameter & held.first)) for copy in ("", "_wide")),
            *(Assert(stage[f"waits_block{copy}"] == weight) for copy in ("", "_wide")),
            Assert(stage["used"] == self.claimed + stage["released"]),
            Assert(stage["full"] == (stage["used"] == 2)),
            Assert(stage["bank"] == self.oldest ^ self.given[0]),
            Assert(self.claimed == self.given + (filled != 0)),
            # Words of a bank.
            Assert(~self.there | (self.claimed == 2) | ((self.claimed == 1) & (self.bank == self.oldest))),
            Assert(~self.there | (filled == 0) | (self.bank != stage["bank"]) | (self.place < filled)),
            Assert(~parameter | ((held.index == filled) & (held.first == (filled == 0)))),
            Assert(~parameter | (held.last == (filled == self.config.param_words - 1))),
            Assert(filled < self.config.param_words),
            Assert(~parameter | held.last | (coming & (self.index == filled + 1))),
            Assert(~parameter | ~held.last | (self.taking & ~self.parameters & (self.index == 0))),
            Assert(parameter | Mux(coming, self.index == filled, filled == 0)),
            # Words of a block.
            Assert(~weight | (held.index == self.begun)),
            Assert(~weight | ((held.last == (self.begun == last_weight)) & (self.begun <= last_weight))),
            Assert(~weight | held.last | (self.taking & ~self.parameters & (self.index == self.begun + 1))),
            Assert(~weight | held.last | (held.narrow == self.narrow)),
            Assert(~weight | ~held.last | ~self.taking | (self.index == 0)),
            Assert(weight | Mux(self.taking & ~self.parameters, self.index == self.begun, self.begun == 0)),
            Assert((self.begun == 0) | ~self.complete),
            Assert((self.begun == 0) | ~dut.full | (weight & held.last)),
        ]

    def _keys(self, m: Module) -> None:
        """Invariants: keys come alone, to a block that is free."""
        inner, stage = self.inner, self.dut.stage
        reads = self.reads
        last, left, pending = inner["last$2"], inner["left$1"], inner["pending"]
        m.d.comb += [
            Assert(~reads | (stage.empty & ~self.complete & (self.begun == 0) & ~self.taking)),
            Assert(~reads | ((left != 0) & (last == (left == 1)))),
            *(Assert(inner[name] == (reads & last)) for name in ("steps", "block_ends")),
            Assert(~pending | inner["in_read"] | inner["in_keys"] | inner["in_idle"]),
            Assert(~pending | (stage.empty & ~self.complete & (self.begun == 0))),
            Assert(~pending | ~inner["last"] | inner["in_keys"] | inner["in_idle"]),
            Assert(~pending | ~inner["in_read"] | ~inner["last"]),
            Assert(~(pending & (inner["in_keys"] | inner["in_idle"])) | inner["last"]),
            Assert(~self.dut.fill.clear | reads),
        ]

    def _instruction(self, m: Module) -> None:
        """Invariants: what is known of the instruction, from its second cycle on."""
        inner, op = self.inner, self.op
        m.d.comb += Assert(inner["in_idle"] | self._lawful(inner["body"]))
        with m.If(~(inner["in_idle"] | inner["in_decode"])):
            m.d.comb += [
                Assert(inner["$signal$1"] == (op.opcode == Opcode.COPY)),
                Assert(inner["memory"] == self.copy.memory),
                Assert(inner["values"] == (op.stationary == Stationary.VALUES)),
            ]
        with m.If(self.reads | inner["in_keys"]):
            m.d.comb += Assert((op.opcode == Opcode.MATMUL) & (op.stationary != Stationary.WEIGHTS))
