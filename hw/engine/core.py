"""The compute core: sequencer, loader, feeder, array, accumulators, write-back, router and the on-chip memories."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.sequencer import Sequencer
from moesaic.hw.decode.instruction import INDEX_BITS
from moesaic.hw.engine.accumulator import Accumulator
from moesaic.hw.engine.array import Array
from moesaic.hw.engine.entry import Entry
from moesaic.hw.engine.extra import ExtraKey
from moesaic.hw.engine.feeder import Feeder
from moesaic.hw.engine.latency import write_back_stages
from moesaic.hw.engine.loader import Loader
from moesaic.hw.engine.memories import Memories
from moesaic.hw.engine.retirement import Retirement
from moesaic.hw.engine.writeback import WriteBack
from moesaic.hw.memory.ports import Port, ReadSignature
from moesaic.hw.moe.router import Router
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS
from moesaic.hw.spec.registers import ErrorCode
from moesaic.hw.stream.rules import StreamContract, connect_stream
from moesaic.hw.vector.pipeline import delay_valid

__all__ = ["Core", "activity_layout"]


def activity_layout() -> data.StructLayout:
    """What a core did this cycle, for the counters.

    ``busy``, ``starved``, ``loading``, ``blocked``: the array; none of them: idle. ``activation_reads``: words read
    from activation and residual memory. ``attention``: the array works for it. ``attention_read``: words read for
    scores and probabilities. ``stationary_read``: words read from the key/value memory. ``mark``: a marked instruction
    retired.
    """
    names = [*("busy", "starved", "loading", "blocked", "loader_busy", "loader_starved", "loader_blocked")]
    names += ["attention", "attention_read", "stationary_read", "mark"]
    return data.StructLayout({name: unsigned(1) for name in names} | {"activation_reads": unsigned(2)})


class Core(wiring.Component):
    """Executes the compute stream on words of the weight stream; all activations stay in its memories.

    One streamed vector per cycle. What stalls is the start of a pass (no stationary block, an earlier instruction not
    retired); from the array on nothing stalls.

    Members
    -------
    i : In(stream of unsigned(256))
        Compute instructions.
    weights : In(stream), skip : Out(stream of unsigned(24))
        Weight stream; words to drop from it.
    retired : Out(24)
        Compute instructions retired.
    counts : Out([experts] unsigned(13))
        Lengths of the expert queues.
    result : In(ReadSignature), result_ready : Out(1)
        Residual words for the store unit: a read counts in a cycle with ``result_ready``.
    error, error_code, error_index : Out
    activity : Out(activity_layout())
    """

    i: stream.Interface
    weights: stream.Interface
    skip: stream.Interface
    retired: Signal
    counts: data.View
    result: Port
    result_ready: Signal
    error: Signal
    error_code: Signal
    error_index: Signal
    activity: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION_BITS)),
                "weights": In(stream.Signature(unsigned(8 * config.word_bytes))),
                "skip": Out(stream.Signature(unsigned(24))),
                "retired": Out(INDEX_BITS),
                "counts": Out(data.ArrayLayout(unsigned(13), config.experts)),
                "result": In(ReadSignature(16, data.ArrayLayout(signed(16), config.lanes))),
                "result_ready": Out(1),
                "error": Out(1),
                "error_code": Out(8),
                "error_index": Out(INDEX_BITS),
                "activity": Out(activity_layout()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.loader = loader = Loader(config)
        m.submodules.feeder = feeder = Feeder(config)
        m.submodules.entry = entry = Entry(config)
        m.submodules.array = array = Array(
            rows=config.rows,
            lanes=config.lanes,
            load_rows=config.load_rows,
            narrow=config.narrow_weights,
            bits=config.streamed_bits,
            halves=config.packed_keys,
        )
        m.submodules.accumulator = accumulator = Accumulator(config)
        m.submodules.writeback = writeback = WriteBack(config)
        m.submodules.router = router = Router(
            rows=config.rows, experts=config.experts, max_top_k=config.max_top_k, max_tokens=config.max_tokens
        )
        m.submodules.memories = memories = Memories(config)
        m.submodules.retirement = retirement = Retirement()

        # --- instructions, and vectors to the array ---
        connect_stream(m, self.i, sequencer.i)
        connect_stream(m, sequencer.loader, loader.i)
        connect_stream(m, sequencer.feeder, feeder.i)
        connect_stream(m, self.weights, loader.weights)
        connect_stream(m, loader.skip, self.skip)
        connect_stream(m, feeder.o, entry.i)
        for name, port in (("loader", loader.i), ("feeder", feeder.i), ("vectors", feeder.o)):
            m.submodules[f"{name}_contract"] = StreamContract(port, name=name)
        wiring.connect(m, loader.fill, array.fill)
        m.d.comb += [
            loader.retired.eq(retirement.retired),
            loader.counts.eq(self.counts),
            loader.swap.eq(entry.taken),
            loader.release.eq(writeback.release),
            feeder.retired.eq(retirement.retired),
            feeder.counts.eq(self.counts),
            feeder.copies.eq(loader.copies),
            entry.full.eq(loader.full),
            array.x.eq(entry.x),
            array.x_valid.eq(entry.x_valid),
            array.swap.eq(entry.swap),
        ]
        # --- sums ---
        connect_stream(m, entry.coming, accumulator.early)
        connect_stream(m, entry.arriving, accumulator.i)
        connect_stream(m, entry.early, writeback.early)
        m.d.comb += writeback.total.eq(entry.total)
        connect_stream(m, accumulator.o, writeback.i)
        m.d.comb += [accumulator.sums.eq(array.sums), writeback.parameters.eq(loader.parameters)]
        if config.packed_keys:  # the context is read while the vector enters the array
            m.d.comb += [
                array.split.eq(memories.early_context.data.packs),
                accumulator.upper.eq(array.upper),
            ]
        if config.extra_key:
            self._extra(m, loader, feeder, entry, accumulator, writeback, memories)
        # --- retirement, in order ---
        wiring.connect(m, feeder.retirement, retirement.i)
        m.d.comb += [
            retirement.ended.eq(writeback.ended),
            retirement.routed.eq(router.o_done),
            self.retired.eq(retirement.retired),
        ]
        self._route(m, writeback, router, feeder)
        self._connect_memories(m, feeder, loader, writeback, memories)
        self._report(m, sequencer, memories)
        self._count(m, feeder, loader, entry, retirement)
        return m

    def _extra(
        self,
        m: Module,
        loader: Loader,
        feeder: Feeder,
        entry: Entry,
        accumulator: Accumulator,
        writeback: WriteBack,
        memories: Memories,
    ) -> None:
        """The extra key, beside the array."""
        m.submodules.extra = extra = ExtraKey(self.config)
        wiring.connect(m, loader.extra, extra.fill)
        wiring.connect(m, writeback.extra, memories.extra)
        wiring.connect(m, feeder.extra, memories.feed_extra)
        op = entry.early.p
        m.d.comb += [
            extra.x.eq(entry.x),
            extra.swap.eq(entry.swap),
            extra.probability.eq(entry.extra),
            extra.attend.eq(op.attend),
            extra.used.eq(op.extra),
            accumulator.products.eq(extra.products),
            accumulator.score.eq(extra.score),
        ]

    def _route(self, m: Module, writeback: WriteBack, router: Router, feeder: Feeder) -> None:
        """Logits to the router, and its queues to those who read them; it has narrower numbers."""
        op, context, queue = writeback.logits.p.op, writeback.logits.p.context, feeder.queue
        m.d.comb += [
            router.i_valid.eq(writeback.logits.valid),
            router.i_logits.eq(writeback.logits.p.logits),
            router.i_group.eq(op.block),
            router.i_slot.eq(op.slot),
            router.i_token.eq(op.token),
            router.i_first.eq((op.block == 0) & op.slot_first),
            router.i_append.eq(context.append),
            router.i_last_group.eq(op.block_final),
            router.i_last.eq(op.end),
            router.i_experts.eq(context.out_count),
            router.i_top_k.eq(context.top_k),
            router.i_kind.eq(context.gate_kind),
            router.i_shift.eq(context.post_shift),
            router.q_expert.eq(queue.address.expert),
            router.q_slot.eq(queue.address.slot),
            queue.data.token.eq(router.q_token),
            queue.data.score.eq(router.q_score),
        ]
        for e in range(self.config.experts):
            m.d.comb += self.counts[e].eq(router.o_counts[e])

    def _connect_memories(
        self, m: Module, feeder: Feeder, loader: Loader, writeback: WriteBack, memories: Memories
    ) -> None:
        """Every port to its memory."""
        ports = (
            (feeder.activation, memories.feed_activation),
            (feeder.maxima, memories.feed_maxima),
            (feeder.residual, memories.feed_residual),
            (feeder.sums, memories.feed_sums),
            (feeder.state, memories.feed_state),
            (feeder.tap, memories.tap),
            (feeder.context, memories.context),
            (loader.kv, memories.load_kv),
            (writeback.words, memories.words),
            (writeback.maxima, memories.maxima),
            (writeback.old_state, memories.old_state),
            (writeback.state, memories.state),
            (writeback.old_residual, memories.add_residual),
            (writeback.residual, memories.residual),
            (writeback.old_sums, memories.add_sums),
            (writeback.sums, memories.sums),
            (writeback.context, memories.finished_context),
            (writeback.early_context, memories.early_context),
            (wiring.flipped(self.result), memories.result),
        )
        for user, memory in ports:
            wiring.connect(m, user, memory)
        connect_stream(m, loader.copy, memories.copy)
        # The feeder reads the residual a fixed time after a vector is issued, ADD after one has entered the array.
        ahead = write_back_stages(self.config).reads - feeder.RESIDUAL_AT
        m.d.comb += [
            feeder.hold.eq(delay_valid(m, writeback.will_read, ahead, name="will_read")),
            memories.residual_due.eq(writeback.residual_due),
            self.result_ready.eq(memories.result_ready),
        ]

    def _report(self, m: Module, sequencer: Sequencer, memories: Memories) -> None:
        """Errors: the sequencer's, then addresses and buffers."""
        m.d.comb += [
            self.error.eq(sequencer.error | memories.outside | memories.collided),
            self.error_code.eq(ErrorCode.HAZARD),
            self.error_index.eq(self.retired),
        ]
        with m.If(sequencer.error):
            m.d.comb += [self.error_code.eq(sequencer.error_code), self.error_index.eq(sequencer.error_index)]
        with m.Elif(memories.outside):
            m.d.comb += self.error_code.eq(ErrorCode.MEMORY_RANGE)

    def _count(self, m: Module, feeder: Feeder, loader: Loader, entry: Entry, retirement: Retirement) -> None:
        """What the array does, and what it waits for: a cycle late, for nothing but counters is behind it."""
        seen, idle = self.activity, entry.waiting & ~loader.full
        m.d.sync += [
            seen.busy.eq(entry.busy),
            seen.starved.eq(idle & loader.starved),
            seen.blocked.eq((idle & loader.blocked & ~loader.starved) | (~feeder.o.valid & feeder.blocked)),
            seen.loading.eq(entry.waiting & (loader.full | (~loader.starved & ~loader.blocked))),
            seen.loader_busy.eq(loader.busy),
            seen.loader_starved.eq(loader.starved),
            seen.loader_blocked.eq(loader.blocked),
            seen.activation_reads.eq(feeder.activation.enable + feeder.residual.enable),
            seen.attention.eq(entry.attention),
            seen.attention_read.eq(feeder.attention_read),
            seen.stationary_read.eq(loader.kv.enable),
            seen.mark.eq(retirement.mark),
        ]
