"""The compute core: sequencer, loader, feeder, array, accumulators, write-back, router and the on-chip memories."""

from amaranth.hdl import Array as HdlArray
from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.sequencer import Sequencer
from moesaic.hw.decode.instruction import INDEX_BITS
from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.engine.accumulator import Accumulator
from moesaic.hw.engine.array import Array, array_latency
from moesaic.hw.engine.feeder import Feeder
from moesaic.hw.engine.loader import Loader
from moesaic.hw.engine.writeback import STATE_SUM_BITS, WriteBack
from moesaic.hw.moe.router import Router
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS, Memory
from moesaic.hw.spec.registers import ErrorCode
from moesaic.hw.stream.rules import Check, StreamContract, require

__all__ = ["Core"]


def _memory(m: Module, name: str, *, shape: data.Layout, depth: int, **attrs: str) -> memory.Memory:
    """An on-chip memory, without initial contents."""
    result: memory.Memory = memory.Memory(shape=shape, depth=depth, init=[], attrs=attrs)
    m.submodules[name] = result
    return result


def _lower_bytes(
    m: Module,
    name: str,
    write: memory.WritePort,
    read: memory.ReadPort,
    *,
    depth: int,
    data: Value,
    low: Value,
    **attrs: str,
) -> Value:
    """A memory beside another, written and read with it; `data`: what goes into it a cycle later. The word that `low`
    asks for.
    """
    beside = _memory(m, f"{name}_low", shape=write.data.shape(), depth=depth, **attrs)
    low_write, low_read = beside.write_port(granularity=1), beside.read_port()
    asked = Signal(name=f"{name}_low_asked")
    m.d.sync += [low_write.data.eq(data), asked.eq(low)]
    m.d.comb += [
        low_write.addr.eq(write.addr),
        low_write.en.eq(write.en),
        low_read.addr.eq(read.addr),
        low_read.en.eq(read.en),
    ]
    return Mux(asked, low_read.data, read.data)


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
    retired : Out(24), mark : Out(1)
        Compute instructions retired; pulses when a marked one retires.
    counts : Out(experts x 13)
        Lengths of the expert queues.
    result_enable, result_address : In; result_data, result_ready : Out
        Residual words for the store unit: data one cycle after a cycle with enable and ready.
    error, error_code, error_index : Out
    busy, starved, loading, blocked : Out(1)
        What the array did this cycle; none of them: idle.
    loader_busy, loader_starved, loader_blocked, activation_reads, attention, attention_read, stationary_read : Out
        For the counters.
    """

    i: stream.Interface
    weights: stream.Interface
    skip: stream.Interface
    retired: Signal
    mark: Signal
    counts: data.View
    result_enable: Signal
    result_address: Signal
    result_data: Signal
    result_ready: Signal
    error: Signal
    error_code: Signal
    error_index: Signal
    busy: Signal
    starved: Signal
    loading: Signal
    blocked: Signal
    loader_busy: Signal
    loader_starved: Signal
    loader_blocked: Signal
    activation_reads: Signal
    attention: Signal
    attention_read: Signal
    stationary_read: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION_BITS)),
                "weights": In(stream.Signature(unsigned(8 * config.word_bytes))),
                "skip": Out(stream.Signature(unsigned(24))),
                "retired": Out(INDEX_BITS),
                "mark": Out(1),
                "counts": Out(data.ArrayLayout(unsigned(13), config.experts)),
                "result_enable": In(1),
                "result_address": In(16),
                "result_data": Out(16 * config.lanes),
                "result_ready": Out(1),
                "error": Out(1),
                "error_code": Out(8),
                "error_index": Out(INDEX_BITS),
                "busy": Out(1),
                "starved": Out(1),
                "loading": Out(1),
                "blocked": Out(1),
                "loader_busy": Out(1),
                "loader_starved": Out(1),
                "loader_blocked": Out(1),
                "activation_reads": Out(2),
                "attention": Out(1),
                "attention_read": Out(1),
                "stationary_read": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        rows, lanes = config.rows, config.lanes
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.loader = loader = Loader(config)
        m.submodules.feeder = feeder = Feeder(config)
        m.submodules.array = array = Array(
            rows=rows, lanes=lanes, load_rows=config.load_rows, narrow=config.narrow_weights
        )
        m.submodules.accumulator = accumulator = Accumulator(config)
        m.submodules.writeback = writeback = WriteBack(config)
        m.submodules.router = router = Router(
            rows=rows, experts=config.experts, max_top_k=config.max_top_k, max_tokens=config.max_tokens
        )

        # --- memories ---
        to_activation = writeback.vector_write & (writeback.vector_memory == Memory.ACTIVATION)
        word = data.ArrayLayout(unsigned(8), lanes)
        activation = _memory(m, "activation", shape=word, depth=config.activation_words, ram_style=config.ram_style)
        kv = _memory(m, "kv", shape=word, depth=config.kv_words, ram_style="block")
        residual = _memory(
            m, "residual", shape=data.ArrayLayout(signed(16), lanes), depth=config.residual_words, ram_style="block"
        )
        maxima = _memory(
            m,
            "maxima",
            shape=data.ArrayLayout(signed(9), config.groups),
            depth=config.activation_words,
            ram_style="block",
        )
        sums = _memory(
            m, "sums", shape=data.StructLayout({"total": signed(28), "squares": unsigned(42)}), depth=config.max_tokens
        )
        state = _memory(
            m,
            "state",
            shape=data.StructLayout({"maximum": signed(9), "sum": unsigned(STATE_SUM_BITS)}),
            depth=min(4096, 2 * config.max_tokens),
        )
        contexts = _memory(m, "contexts", shape=context_layout(), depth=CONTEXTS)
        activation_write, activation_read = activation.write_port(granularity=1), activation.read_port()
        kv_write, kv_read = kv.write_port(granularity=1), kv.read_port()
        activation_data: Value = Value.cast(activation_read.data)
        kv_data: Value = Value.cast(kv_read.data)
        if config.wide_operands:
            tapped_or_written = Mux(to_activation, writeback.vector_low, feeder.tap_low)
            activation_data = _lower_bytes(
                m,
                "activation",
                activation_write,
                activation_read,
                depth=config.activation_words,
                data=tapped_or_written,
                low=feeder.activation_low,
                ram_style=config.ram_style,
            )
            kv_data = _lower_bytes(
                m,
                "kv",
                kv_write,
                kv_read,
                depth=config.kv_words,
                data=writeback.vector_low,
                low=loader.kv_low,
                ram_style="block",
            )
        residual_write = residual.write_port(granularity=1)
        residual_feed, residual_add = residual.read_port(), residual.read_port()
        maxima_write, maxima_read = maxima.write_port(granularity=1), maxima.read_port()
        sums_write, sums_feed, sums_update = sums.write_port(), sums.read_port(), sums.read_port()
        state_write, state_feed, state_early, state_old = (
            state.write_port(),
            state.read_port(),
            state.read_port(),
            state.read_port(),
        )
        context_write = contexts.write_port()
        context_read, context_pop = contexts.read_port(domain="comb"), contexts.read_port(domain="comb")

        # --- instructions ---
        retired = Signal(INDEX_BITS)
        m.d.comb += [
            sequencer.i.payload.eq(self.i.payload),
            sequencer.i.valid.eq(self.i.valid),
            self.i.ready.eq(sequencer.i.ready),
            self.retired.eq(retired),
        ]
        for unit, port in ((loader, sequencer.loader), (feeder, sequencer.feeder)):
            m.d.comb += [
                unit.i.payload.eq(port.payload),
                unit.i.valid.eq(port.valid),
                port.ready.eq(unit.i.ready),
                unit.retired.eq(retired),
                unit.counts.eq(self.counts),
            ]
        m.d.comb += [
            loader.weights.payload.eq(self.weights.payload),
            loader.weights.valid.eq(self.weights.valid),
            self.weights.ready.eq(loader.weights.ready),
            self.skip.payload.eq(loader.skip.payload),
            self.skip.valid.eq(loader.skip.valid),
            loader.skip.ready.eq(self.skip.ready),
            feeder.copies.eq(loader.copies),
            context_write.addr.eq(feeder.context_index),
            context_write.data.eq(feeder.context_data),
            context_write.en.eq(feeder.context_write),
        ]

        for e in range(config.experts):
            m.d.comb += self.counts[e].eq(router.o_counts[e])

        for name, port in (("loader", sequencer.loader), ("feeder", sequencer.feeder), ("vectors", feeder.o)):
            m.submodules[f"{name}_contract"] = StreamContract(port, name=name)

        # --- the array takes a vector ---
        head = feeder.o.p.op
        pass_length = Signal(range(writeback.reuse))  # cycles until `spaced`
        spaced = Signal(init=1)  # the next pass may start
        need_block, may_start = Signal(), Signal()
        swapped = Signal()
        pop = Signal()
        m.d.comb += [
            need_block.eq(head.vector & head.pass_first),
            may_start.eq(loader.full & spaced),
            feeder.o.ready.eq(~need_block | may_start),
            pop.eq(feeder.o.valid & feeder.o.ready),
            array.x.eq(feeder.o.p.x),
            array.x_valid.eq(pop & head.vector),
            array.swap.eq(pop & need_block),
            loader.swap.eq(swapped),
            array.clear.eq(loader.clear),
            array.word_load.eq(loader.word_load),
            array.word.eq(loader.word),
            array.narrow.eq(loader.narrow),
            array.key_load.eq(loader.key_load),
            array.key.eq(loader.key),
            array.lane_load.eq(loader.lane_load),
            array.lane.eq(loader.lane),
            array.column.eq(loader.column),
        ]
        m.d.sync += swapped.eq(array.swap)
        with m.If(pass_length != 0):
            m.d.sync += pass_length.eq(pass_length - 1)
        with m.Else():
            m.d.sync += spaced.eq(1)
        with m.If(array.swap):
            # Read-modify-writes of one entry must not overlap: of an accumulator in every pass, of sums and softmax
            # state where results leave.
            m.d.sync += [pass_length.eq(Mux(head.acc_last, writeback.reuse, accumulator.REUSE) - 1), spaced.eq(0)]

        latency = array_latency(lanes)
        operation = operation_layout()
        ops, lives = [head], [pop]
        for k in range(1, latency + 1):
            op, live = Signal(operation, name=f"op_{k}", reset_less=True), Signal(name=f"live_{k}")
            m.d.sync += [op.eq(ops[-1]), live.eq(lives[-1])]
            ops.append(op)
            lives.append(live)
        m.d.comb += [
            accumulator.early_valid.eq(lives[latency - 1] & ops[latency - 1].vector),
            accumulator.early_slot.eq(ops[latency - 1].slot),
            accumulator.i_valid.eq(lives[latency]),
            accumulator.i_op.eq(ops[latency]),
            accumulator.i_sums.eq(array.sums),
            writeback.pop_valid.eq(pop & head.vector & head.acc_last),
            writeback.pop_op.eq(head),
            context_pop.addr.eq(writeback.pop_context_index),
            writeback.pop_scalar.eq(context_pop.data.scalar),
            writeback.i_valid.eq(accumulator.o_valid),
            writeback.i_op.eq(accumulator.o_op),
            writeback.i_acc.eq(accumulator.o_acc),
            context_read.addr.eq(writeback.context_index),
            writeback.context.eq(context_read.data),
            writeback.parameters.eq(loader.parameters),
            loader.release.eq(writeback.release),
        ]

        # --- softmax state, block maxima, sums ---
        m.d.comb += [
            state_feed.addr.eq(feeder.state_address),
            feeder.state_maximum.eq(state_feed.data.maximum),
            state_early.addr.eq(writeback.state_address),
            writeback.state_sum.eq(state_early.data.sum),
            state_old.addr.eq(writeback.old_state_address),
            writeback.old_state_maximum.eq(state_old.data.maximum),
            writeback.old_state_sum.eq(state_old.data.sum),
            state_write.addr.eq(writeback.state_write_address),
            state_write.en.eq(writeback.state_write),
            state_write.data.maximum.eq(writeback.state_write_maximum),
            state_write.data.sum.eq(writeback.state_write_sum),
            maxima_read.addr.eq(feeder.activation_address),
            maxima_read.en.eq(feeder.activation_enable),
            feeder.maxima_data.eq(maxima_read.data),
            sums_feed.addr.eq(feeder.sums_address),
            feeder.sums_total.eq(sums_feed.data.total),
            feeder.sums_squares.eq(sums_feed.data.squares),
            sums_update.addr.eq(writeback.sums_address),
            writeback.sums_total.eq(sums_update.data.total),
            writeback.sums_squares.eq(sums_update.data.squares),
            sums_write.addr.eq(writeback.sums_write_address),
            sums_write.en.eq(writeback.sums_write),
            sums_write.data.total.eq(writeback.sums_write_total),
            sums_write.data.squares.eq(writeback.sums_write_squares),
        ]

        # --- activation, key/value and residual memories; COPY writes when nobody else does ---
        to_kv = writeback.vector_write & (writeback.vector_memory == Memory.KV)
        copy_residual = loader.copy_memory == Memory.RESIDUAL
        everything = (1 << lanes) - 1
        # Known a cycle ahead: the answer goes on to the weight stream.
        residual_free, activation_free = Signal(), Signal()
        m.d.sync += [
            residual_free.eq(~writeback.residual_due),
            activation_free.eq(~writeback.activation_due & ~feeder.tap_due),
        ]
        m.d.comb += [
            loader.copy_ready.eq(Mux(copy_residual, residual_free, activation_free)),
            activation_read.addr.eq(feeder.activation_address),
            activation_read.en.eq(feeder.activation_enable),
            feeder.activation_data.eq(activation_data),
            kv_read.addr.eq(loader.kv_address),
            kv_read.en.eq(loader.kv_enable),
            loader.kv_data.eq(kv_data),
            residual_feed.addr.eq(feeder.residual_address),
            residual_feed.en.eq(feeder.residual_enable),
            feeder.residual_data.eq(residual_feed.data),
            residual_add.addr.eq(Mux(writeback.residual_enable, writeback.residual_address, self.result_address)),
            residual_add.en.eq(writeback.residual_enable | self.result_enable),
            writeback.residual_data.eq(residual_add.data),
            self.result_data.eq(residual_add.data),
            self.result_ready.eq(~writeback.residual_enable),
        ]
        with m.If(loader.copy_valid & loader.copy_ready):
            others = Mux(copy_residual, writeback.residual_write, to_activation | feeder.tap_valid)
            require(m, Check.ASSERT, ~others, "core: a copied word needs its memory for itself")
        # Registers right in front of the memories. Nobody reads a word before the instruction that wrote it has
        # retired, much later.
        m.d.sync += [
            kv_write.addr.eq(writeback.vector_address),
            kv_write.data.eq(writeback.vector_data),
            kv_write.en.eq(Mux(to_kv, writeback.vector_mask, 0)),
            maxima_write.addr.eq(writeback.vector_address),
            maxima_write.en.eq(Mux(writeback.maxima_write, writeback.maxima_mask, 0)),
        ]
        for g in range(config.groups):
            m.d.sync += maxima_write.data[g].eq(writeback.maxima_data)
        with m.If(to_activation):
            m.d.sync += [
                activation_write.addr.eq(writeback.vector_address),
                activation_write.data.eq(writeback.vector_data),
                activation_write.en.eq(writeback.vector_mask),
            ]
        with m.Elif(feeder.tap_valid):
            m.d.sync += [
                activation_write.addr.eq(feeder.tap_address),
                activation_write.data.eq(feeder.tap_data),
                activation_write.en.eq(everything),
            ]
        with m.Else():
            m.d.sync += [
                activation_write.addr.eq(loader.copy_address),
                activation_write.data.eq(loader.copy_data),
                activation_write.en.eq(
                    (loader.copy_valid & (loader.copy_memory == Memory.ACTIVATION)).replicate(lanes)
                ),
            ]
        with m.If(writeback.residual_write):
            m.d.sync += [
                residual_write.addr.eq(writeback.residual_write_address),
                residual_write.data.eq(writeback.residual_write_data),
                residual_write.en.eq(writeback.residual_write_mask),
            ]
        with m.Else():
            m.d.sync += [
                residual_write.addr.eq(loader.copy_address),
                residual_write.data.eq(loader.copy_data),
                residual_write.en.eq((loader.copy_valid & copy_residual).replicate(lanes)),
            ]

        # --- router ---
        route = writeback.route_op
        m.d.comb += [
            router.i_valid.eq(writeback.route_valid),
            router.i_logits.eq(writeback.route_logits),
            router.i_group.eq(route.block),
            router.i_slot.eq(route.slot),
            router.i_token.eq(route.token),
            router.i_first.eq((route.block == 0) & route.slot_first),
            router.i_last_group.eq(route.block_final),
            router.i_last.eq(route.end),
            router.i_experts.eq(writeback.route_context.out_count),
            router.i_top_k.eq(writeback.route_context.top_k),
            router.i_kind.eq(writeback.route_context.gate_kind),
            router.q_expert.eq(feeder.queue_expert),
            router.q_slot.eq(feeder.queue_slot),
            feeder.queue_token.eq(router.q_token),
            feeder.queue_score.eq(router.q_score),
        ]

        # --- retirement, in order ---
        finished = Signal(INDEX_BITS)
        routed = Signal()
        is_route = HdlArray(Signal(name=f"is_route_{k}") for k in range(CONTEXTS))
        is_marked = HdlArray(Signal(name=f"is_marked_{k}") for k in range(CONTEXTS))
        with m.If(feeder.context_write):
            m.d.sync += [
                is_route[feeder.context_index].eq(feeder.context_route),
                is_marked[feeder.context_index].eq(feeder.context_mark),
            ]
        with m.If(router.o_done):
            m.d.sync += routed.eq(1)
        with m.If(writeback.ended):
            m.d.sync += finished.eq(finished + 1)
        oldest = retired[: CONTEXTS.bit_length() - 1]
        with m.If((retired != finished) & (~is_route[oldest] | routed)):
            m.d.sync += retired.eq(retired + 1)
            m.d.comb += self.mark.eq(is_marked[oldest])
            with m.If(is_route[oldest]):
                m.d.sync += routed.eq(0)

        # --- errors: the sequencer's, then addresses and buffers ---
        checks = (
            (feeder.activation_enable, feeder.activation_address, config.activation_words),
            (feeder.residual_enable, feeder.residual_address, config.residual_words),
            (feeder.tap_valid, feeder.tap_address, config.activation_words),
            (loader.kv_enable, loader.kv_address, config.kv_words),
            (loader.copy_valid & copy_residual, loader.copy_address, config.residual_words),
            (loader.copy_valid & ~copy_residual, loader.copy_address, config.activation_words),
            (to_kv, writeback.vector_address, config.kv_words),
            (
                writeback.vector_write & (writeback.vector_memory != Memory.KV),
                writeback.vector_address,
                config.activation_words,
            ),
            (writeback.residual_enable, writeback.residual_address, config.residual_words),
        )
        outside = Signal(len(checks))  # registered, and collected in the next cycle
        for k, (active, address, words) in enumerate(checks):
            m.d.sync += outside[k].eq(active & (address >= words))
        bad_address, bad_hazard = Signal(), Signal()
        m.d.sync += [bad_address.eq(outside.any()), bad_hazard.eq(feeder.tap_valid & to_activation)]
        m.d.comb += [
            self.error.eq(sequencer.error | bad_address | bad_hazard),
            self.error_code.eq(ErrorCode.HAZARD),
            self.error_index.eq(retired),
        ]
        with m.If(sequencer.error):
            m.d.comb += [self.error_code.eq(sequencer.error_code), self.error_index.eq(sequencer.error_index)]
        with m.Elif(bad_address):
            m.d.comb += self.error_code.eq(ErrorCode.MEMORY_RANGE)

        # --- what the array does ---
        in_attention = Signal()
        with m.If(pop & head.vector):
            m.d.sync += in_attention.eq(head.attention)
        waiting = feeder.o.valid & need_block & ~may_start
        m.d.comb += [
            self.busy.eq(pop & head.vector),
            self.starved.eq(waiting & ~loader.full & loader.starved),
            self.blocked.eq(
                (waiting & ~loader.full & loader.blocked & ~loader.starved) | (~feeder.o.valid & feeder.blocked)
            ),
            self.loading.eq(waiting & (loader.full | (~loader.starved & ~loader.blocked))),
            self.loader_busy.eq(loader.busy),
            self.loader_starved.eq(loader.starved),
            self.loader_blocked.eq(loader.blocked),
            self.activation_reads.eq(feeder.activation_enable + feeder.residual_enable),
            self.attention.eq(Mux(pop & head.vector, head.attention, in_attention)),
            self.attention_read.eq(feeder.attention_read),
            self.stationary_read.eq(loader.kv_enable),
        ]
        return m
