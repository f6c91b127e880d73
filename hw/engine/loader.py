"""The stationary side: fills the array's shadow block from the weight stream or the key/value memory, ahead of the
stream.
"""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.sequencer import issued_layout
from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Memory, Opcode, Stationary

__all__ = ["Loader"]

PARAMETER_BITS = 48  # per row: bias (32), multiplier (16)


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
    kv_enable, kv_address, kv_low : Out; kv_data : In
        Read port of the key/value memory, one cycle of latency; ``kv_low`` asks for the lower bytes of 16-bit values.
    word_load ... column : Out
        To the array (see Array).
    full : Out(1), swap : In(1)
        The last of the shadow block leaves in this cycle, or has left: it may be taken from now on. It was taken in the
        last cycle (in which ``full`` still belongs to it).
    parameters : Out(2 x rows x 48), release : In(1)
        Two banks of biases and multipliers, used alternately; a bank is free again.
    copy_valid, copy_memory, copy_address, copy_data : Out; copy_ready : In(1)
        A word for an on-chip memory. ``copy_memory`` does not change while one is on offer, or being judged in the
        cycle before.
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
    kv_enable: Signal
    kv_address: Signal
    kv_low: Signal
    kv_data: Signal
    word_load: Signal
    word: Signal
    narrow: Signal
    key_load: Signal
    key: Signal
    lane_load: Signal
    lane: Signal
    column: data.View
    clear: Signal
    full: Signal
    swap: Signal
    parameters: data.View
    release: Signal
    copy_valid: Signal
    copy_memory: Signal
    copy_address: Signal
    copy_data: Signal
    copy_ready: Signal
    copies: Signal
    busy: Signal
    starved: Signal
    blocked: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        rows, lanes = config.rows, config.lanes
        word_bits = 8 * config.word_bytes
        super().__init__(
            {
                "i": In(stream.Signature(issued_layout())),
                "retired": In(INDEX_BITS),
                "counts": In(data.ArrayLayout(unsigned(13), config.experts)),
                "weights": In(stream.Signature(unsigned(word_bits))),
                "skip": Out(stream.Signature(unsigned(24))),
                "kv_enable": Out(1),
                "kv_address": Out(16),
                "kv_low": Out(1),
                "kv_data": In(8 * lanes),
                "word_load": Out(rows // config.load_rows),
                "word": Out(word_bits),
                "narrow": Out(1),
                "key_load": Out(rows),
                "key": Out(8 * lanes),
                "lane_load": Out(1),
                "lane": Out(range(lanes)),
                "column": Out(data.ArrayLayout(unsigned(8), rows)),
                "clear": Out(1),
                "full": Out(1),
                "swap": In(1),
                "parameters": Out(data.ArrayLayout(unsigned(PARAMETER_BITS * rows), 2)),
                "release": In(1),
                "copy_valid": Out(1),
                "copy_memory": Out(2),
                "copy_address": Out(17),
                "copy_data": Out(16 * lanes),
                "copy_ready": In(1),
                "copies": Out(8),
                "busy": Out(1),
                "starved": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        rows, lanes, load_rows = config.rows, config.lanes, config.load_rows
        word_bits = 8 * config.word_bytes
        group_bits = (config.groups - 1).bit_length()
        block_words, param_words = config.block_words, config.param_words
        narrow_words = config.stationary_words(4) if config.narrow_weights else block_words

        def alone(narrow: Value) -> Value:
            """Whether a block is a single word."""
            return Mux(narrow, narrow_words == 1, block_words == 1)

        index = Signal(INDEX_BITS)
        body: Any = Signal(
            data.UnionLayout({"matmul": instruction_layout(Opcode.MATMUL), "copy": instruction_layout(Opcode.COPY)})
        )
        op, copy = body.matmul, body.copy

        # The stage: one register between the sources and the array, so that the next block's first word is at hand when
        # the shadow
        # block is exchanged.
        stage_valid, stage_parameters = Signal(), Signal()
        stage_last = Signal()  # last word of its block, or of its parameters
        stage_first = Signal()  # first word of the parameters
        stage_narrow = Signal()
        stage_index = Signal(range(max(block_words, param_words)))
        stage_word = Signal(word_bits, reset_less=True)

        filled = Signal()  # the shadow block is complete, and not taken
        available = Signal()  # the shadow block may be written
        banks_used, bank, released = Signal(range(3)), Signal(), Signal()
        stage_go, stage_ready = Signal(), Signal()
        kv_pending, kv_last, kv_values = Signal(), Signal(), Signal()
        m.d.comb += [
            available.eq(~filled | self.swap),
            stage_go.eq(stage_valid & Mux(stage_parameters, ~stage_first | (banks_used != 2) | released, available)),
            stage_ready.eq(~stage_valid | stage_go),
        ]
        with m.If(self.swap):
            m.d.sync += [filled.eq(0), self.full.eq(0)]
        with m.If(stage_go):
            m.d.sync += stage_valid.eq(0)
        claim = Signal()
        m.d.comb += claim.eq(stage_go & stage_parameters & stage_first)
        m.d.sync += [released.eq(self.release), banks_used.eq(banks_used + claim - released)]

        # Array side of the stage.
        m.d.comb += [self.word.eq(stage_word), self.narrow.eq(stage_narrow)]
        with m.If(stage_go & ~stage_parameters):
            for g in range(block_words):
                m.d.comb += self.word_load[g].eq(stage_index == Mux(stage_narrow, g >> 1, g))
            with m.If(stage_last):
                m.d.sync += filled.eq(1)
                with m.If(alone(stage_narrow)):
                    m.d.sync += self.full.eq(1)
        banks = [Signal(param_words * word_bits, name=f"bank_{b}", reset_less=True) for b in range(2)]
        for b in range(2):
            with m.If(stage_go & stage_parameters & (bank == b)):
                m.d.sync += banks[b].word_select(stage_index, word_bits).eq(stage_word)
            m.d.comb += self.parameters[b].eq(banks[b])
        with m.If(stage_go & stage_parameters & stage_last):
            m.d.sync += bank.eq(~bank)

        # Key/value side: the read of last cycle is written into the shadow block now.
        kv_index = Signal(range(max(rows, lanes)))
        masked = [Signal(8, name=f"key_{lane}") for lane in range(lanes)]
        inside = Signal(lanes)
        for lane in range(lanes):
            m.d.sync += inside[lane].eq((op.lane_low <= lane) & (lane < op.lane_low + op.lane_count))
            m.d.comb += masked[lane].eq(Mux(inside[lane], self.kv_data.word_select(lane, 8), 0))
        m.d.comb += self.key.eq(Cat(*masked))
        group = Signal(max(group_bits, 1))
        pending_group = Signal(max(group_bits, 1))
        for r in range(rows):
            m.d.comb += self.column[r].eq(
                self.kv_data.word_select(pending_group * rows + r, 8)
                if config.groups > 1
                else self.kv_data.word_select(r, 8)
            )
        with m.If(kv_pending):
            with m.If(kv_values):
                m.d.comb += [self.lane_load.eq(1), self.lane.eq(kv_index)]
            with m.Else():
                m.d.comb += self.key_load.eq(1 << kv_index)
            with m.If(kv_last):
                m.d.sync += filled.eq(1)
        m.d.sync += kv_pending.eq(0)

        # Where the instruction stands. What a step decides on is counted down, and judged a step ahead.
        wide = Const(config.wide_operands, 1)  # without, nothing here comes in planes
        in_block = Signal(8)  # in planes: counted within one
        plane = Signal()  # of keys or values: the lower one of two
        blocks_left = Signal(8)  # of inputs, with this one
        plane_left = Signal(8)  # of these, in its plane
        outputs_left = Signal(13)  # from this block's first on
        keys_left = Signal(12)  # VALUES: from this block's first on
        last_in, last_out = Signal(), Signal()
        planes, last_plane = Signal(), Signal()  # blocks come in planes; this is the last of one
        only_in, only_out = Signal(), Signal()  # one block is all
        word_index = Signal(range(max(block_words, param_words)))
        kv_next = Signal(range(max(rows, lanes)))  # place of the next key in its block
        kv_left = Signal(range(max(rows, lanes) + 1))
        key_address = Signal(16)  # word of the next key
        block_address = Signal(16)  # word of this block's first key
        due = Signal(INDEX_BITS)  # retired instructions that must be exceeded
        waited, queue_empty = Signal(), Signal()
        m.d.comb += waited.eq((op.load_wait == 0) | ((self.retired - due)[:INDEX_BITS].as_signed() > 0))
        m.d.sync += [
            only_in.eq(op.in_blocks == 1),
            only_out.eq(op.out_count <= rows),
            planes.eq(wide & (op.shift_block != 0)),
            # Lengths are complete before the router's instruction counts as retired.
            queue_empty.eq(op.expert_valid & (self.counts[op.expert] == 0)),
        ]
        last_word = Signal(range(block_words))  # number of a block's last word
        output_words = Signal(range(param_words + 255 * block_words + 1))  # of a block of outputs
        narrow: Value = op.narrow if config.narrow_weights else Const(0, 1)
        skip_words = Signal(24)
        copy_address, copy_left = Signal(17), Signal(17)
        busy, starved, blocked = Signal(), Signal(), Signal()
        part = Signal(range(load_rows))
        residual = copy.memory == Memory.RESIDUAL
        part_last = Signal()
        taking, copying = Signal(), Signal()  # what the state machine does: from registers, the weight stream is far
        m.d.comb += [
            part_last.eq(part == Mux(residual, load_rows // 2 - 1, load_rows - 1)),
            self.weights.ready.eq((taking & stage_ready) | (copying & self.copy_ready & part_last)),
            self.copy_valid.eq(copying & self.weights.valid),
            self.skip.payload.eq(skip_words),
            # In every state: what writes is `copy_valid`.
            self.copy_memory.eq(copy.memory),
            self.copy_address.eq(copy_address),
            self.copy_data.eq(
                Mux(
                    residual,
                    self.weights.payload.word_select(
                        part[: max(1, (load_rows // 2 - 1).bit_length())] if load_rows > 2 else 0, 16 * lanes
                    ),
                    self.weights.payload.word_select(part, 8 * lanes),
                )
            ),
        ]
        m.d.sync += [self.busy.eq(busy), self.starved.eq(starved), self.blocked.eq(blocked)]

        def next_outputs() -> None:
            """Step to the next block of outputs."""
            m.d.sync += [outputs_left.eq(outputs_left - rows), last_out.eq(outputs_left <= 2 * rows)]

        def next_block() -> None:
            """Step to the next block of inputs or outputs, or finish the instruction."""
            m.d.sync += [
                word_index.eq(0),
                in_block.eq(in_block + 1),
                blocks_left.eq(blocks_left - 1),
                last_in.eq(blocks_left == 2),
                keys_left.eq(keys_left - lanes),
                plane_left.eq(plane_left - 1),
                last_plane.eq(planes & (plane_left == 2)),
            ]
            with m.If(last_in | last_plane):
                m.d.sync += [
                    in_block.eq(0),
                    keys_left.eq(op.key_count),
                    plane.eq(~plane & ~last_in),
                    plane_left.eq(op.shift_block),
                    last_plane.eq(wide & (op.shift_block == 1)),
                ]
            with m.If(last_in):
                m.d.sync += [blocks_left.eq(op.in_blocks), last_in.eq(only_in)]
                next_outputs()

        def take(*, parameters: bool, final: Value) -> Value:
            """Move a word from the weight stream into the stage; 1 with the last of them, number `final`."""
            last = Signal(name="took_parameters" if parameters else "took_block")
            m.d.comb += last.eq(stage_ready & self.weights.valid & (word_index == final))
            m.d.comb += [starved.eq(stage_ready & ~self.weights.valid), blocked.eq(~stage_ready)]
            with m.If(stage_ready):
                m.d.sync += stage_word.eq(self.weights.payload)
            with m.If(stage_ready & self.weights.valid):
                m.d.comb += busy.eq(1)
                m.d.sync += [
                    stage_valid.eq(1),
                    stage_parameters.eq(parameters),
                    stage_index.eq(word_index),
                    stage_first.eq(word_index == 0),
                    stage_last.eq(word_index == final),
                    word_index.eq(word_index + 1),
                    stage_narrow.eq(narrow),
                ]
            return last

        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [in_block.eq(0), plane.eq(0), word_index.eq(0), skip_words.eq(0)]
                with m.If(self.i.valid):
                    m.d.sync += [index.eq(self.i.p.index), body.eq(self.i.p.body)]
                    m.next = "decode"
            with m.State("decode"):
                m.d.sync += [
                    due.eq(index - op.load_wait),
                    blocks_left.eq(op.in_blocks),
                    outputs_left.eq(op.out_count),
                    keys_left.eq(op.key_count),
                    last_in.eq(op.in_blocks == 1),
                    last_out.eq(op.out_count <= rows),
                    plane_left.eq(op.shift_block),
                    last_plane.eq(wide & (op.shift_block == 1)),
                    copy_address.eq(copy.addr),
                    copy_left.eq(copy.words),
                    last_word.eq(Mux(narrow, narrow_words - 1, block_words - 1)),
                    output_words.eq(param_words + Mux(narrow, op.in_blocks * narrow_words, op.in_blocks * block_words)),
                ]
                m.next = "wait"
            with m.State("wait"):
                m.d.sync += [
                    key_address.eq(op.kv_addr),
                    block_address.eq(op.kv_addr),
                    group.eq(op.group),
                ]
                with m.If(op.stationary == Stationary.VALUES):
                    base = op.kv_addr + (op.group >> group_bits)
                    m.d.sync += [key_address.eq(base), block_address.eq(base)]
                m.d.comb += blocked.eq(~waited)
                with m.If(waited):
                    with m.If(op.opcode == Opcode.COPY):
                        m.d.sync += copying.eq(1)
                        m.next = "copy"
                    with m.Elif(queue_empty):
                        with m.If(op.speculative & (op.stationary == Stationary.WEIGHTS)):
                            m.next = "measure"
                        with m.Else():
                            m.next = "idle"
                    with m.Elif(op.stationary == Stationary.WEIGHTS):
                        m.d.sync += taking.eq(1)
                        m.next = "parameters"
                    with m.Else():
                        m.next = "keys"
            with m.State("measure"):
                # Words of a speculated expert.
                m.d.sync += skip_words.eq(skip_words + output_words)
                next_outputs()
                with m.If(last_out):
                    m.d.sync += self.skip.valid.eq(1)
                    m.next = "drop"
            with m.State("drop"):
                m.d.comb += starved.eq(~self.skip.ready)
                with m.If(self.skip.ready):
                    m.d.sync += self.skip.valid.eq(0)
                    m.next = "idle"
            with m.State("parameters"):
                with m.If(take(parameters=True, final=Const(param_words - 1))):
                    m.d.sync += word_index.eq(0)
                    m.next = "weights"
            with m.State("weights"):
                with m.If(take(parameters=False, final=last_word)):
                    with m.If(~alone(narrow)):
                        # The shadow block is being filled, so nothing stops this word: the block is complete with the
                        # next cycle.
                        m.d.sync += self.full.eq(1)
                    next_block()
                    with m.If(last_in):
                        m.next = "parameters"
                        with m.If(last_out):
                            m.d.sync += taking.eq(0)
                            m.next = "idle"
            with m.State("keys"):
                # One cycle to prepare a block: clear it (VALUES leave lanes beyond the last key at zero), and bound the
                # keys.
                values = op.stationary == Stationary.VALUES
                m.d.comb += blocked.eq(~available | stage_valid)
                left, width = Mux(values, keys_left, outputs_left), Mux(values, lanes, rows)
                m.d.sync += [kv_next.eq(0), kv_left.eq(Mux(left < width, left, width))]
                with m.If(available & ~stage_valid & ~kv_pending):
                    m.d.comb += self.clear.eq(1)
                    m.next = "read"
            with m.State("read"):
                values = op.stationary == Stationary.VALUES
                m.d.comb += [
                    self.kv_enable.eq(1),
                    self.kv_address.eq(key_address),
                    self.kv_low.eq(plane & op.wide_stationary),
                    busy.eq(1),
                ]
                m.d.sync += [
                    kv_pending.eq(1),
                    kv_index.eq(kv_next),
                    kv_values.eq(values),
                    kv_last.eq(kv_left == 1),
                    pending_group.eq(group),
                    kv_next.eq(kv_next + 1),
                    kv_left.eq(kv_left - 1),
                    key_address.eq(key_address + op.kv_stride),
                ]
                with m.If(kv_left == 1):
                    m.d.sync += self.full.eq(1)
                    next_block()
                    m.next = "keys"
                    with m.If(values):
                        # Next block of keys continues where this one ends; the next plane starts over, and so does the
                        # next block of channels.
                        with m.If(last_plane):
                            m.d.sync += key_address.eq(block_address)
                        with m.If(last_in):
                            step = Signal()
                            following = Signal(16)
                            if config.groups > 1:
                                m.d.comb += step.eq(group == config.groups - 1)
                                m.d.sync += group.eq(group + 1)
                            else:
                                m.d.comb += step.eq(1)
                            m.d.comb += following.eq(block_address + step)
                            m.d.sync += [key_address.eq(following), block_address.eq(following)]
                    with m.Else():
                        # Same keys, next block of channels; or the next keys.
                        m.d.sync += key_address.eq(block_address + Mux(last_plane, 0, in_block + 1))
                        with m.If(last_in):
                            beyond = Signal(16)
                            m.d.comb += beyond.eq(key_address + op.kv_stride - in_block)
                            m.d.sync += [key_address.eq(beyond), block_address.eq(beyond)]
                    with m.If(last_in & last_out):
                        m.next = "idle"
            with m.State("copy"):
                # The stage is not used: words go to the memories, one or more of them per weight-stream word.
                m.d.comb += starved.eq(~self.weights.valid)
                with m.If(self.weights.valid & self.copy_ready):
                    m.d.comb += busy.eq(1)
                    m.d.sync += [copy_address.eq(copy_address + 1), part.eq(part + 1)]
                    with m.If(part_last):
                        m.d.sync += [part.eq(0), copy_left.eq(copy_left - 1)]
                        with m.If(copy_left == 1):
                            m.d.sync += [self.copies.eq(self.copies + 1), copying.eq(0)]
                            m.next = "idle"
        return m
