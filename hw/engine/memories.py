"""The memories on chip, with who reads and who writes them."""

from typing import Any

from amaranth.hdl import Module, Mux, ShapeLike, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import LEVEL_BITS, MAXIMUM_BITS, distance_layout
from moesaic.hw.decode.operation import CONTEXTS, context_layout
from moesaic.hw.engine.vectors import TapSignature
from moesaic.hw.engine.words import copy_layout
from moesaic.hw.functions.companion import WordsSignature
from moesaic.hw.memory.ports import Port, ReadSignature, WriteSignature, connect_read, connect_write, operand_address
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Memory
from moesaic.hw.stream.rules import Check, require
from moesaic.hw.vector.layernorm import sums_layout
from moesaic.hw.vector.pipeline import copies

__all__ = ["Memories"]


class Memories(wiring.Component):
    """Activations, keys and values, residual, maxima of blocks, LayerNorm sums, softmax state, extra keys, contexts.

    Every memory has a read port for each of its readers, but the three of the residual share one: the feeder keeps
    clear of the write-back's reads, and the store unit waits for both. Writers that share a port go in this order:
    results, the tap, COPY. Words of activations, keys, values and residual are written a cycle later than they come:
    nobody reads a word before the instruction that wrote it has retired, much later.

    Members
    -------
    words : In(WordsSignature), residual, residual_due, maxima, sums, state, extra : In
        Results of the write-back; `extra`, and `feed_extra`, with `extra_key`.
    tap : In(TapSignature), copy : In(stream of copy_layout(config)), context : In(WriteSignature)
        Words of feeder and loader.
    feed_*, load_kv, add_residual, add_sums, old_state, early_context, finished_context : In(ReadSignature)
        Reads of feeder, loader and write-back; the contexts in the same cycle.
    result : In(ReadSignature), result_ready : Out(1)
        Residual words for the store unit: a read counts in a cycle with ``result_ready``.
    outside, collided : Out(1)
        An address beyond a memory; a tap and a result, or a streamed word and one of keys or values, in one cycle and
        from one memory. Two cycles and one after it.
    """

    words: Port
    residual: Port
    residual_due: Signal
    maxima: Port
    sums: Port
    state: Port
    extra: Port
    feed_extra: Port
    tap: Port
    copy: stream.Interface
    context: Port
    feed_activation: Port
    feed_maxima: Port
    feed_residual: Port
    feed_sums: Port
    feed_state: Port
    load_kv: Port
    add_residual: Port
    add_sums: Port
    old_state: Port
    early_context: Port
    finished_context: Port
    result: Port
    result_ready: Signal
    outside: Signal
    collided: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        word = data.ArrayLayout(unsigned(8), config.lanes)
        residual = data.ArrayLayout(signed(16), config.lanes)
        maxima = data.ArrayLayout(signed(MAXIMUM_BITS), config.groups)
        operands, residuals = ReadSignature(operand_address(), word), ReadSignature(16, residual)
        states, contexts = ReadSignature(12, signed(LEVEL_BITS)), ReadSignature(range(CONTEXTS), context_layout(config))
        extra = {
            "extra": In(WriteSignature(12, distance_layout())),
            "feed_extra": In(ReadSignature(13, distance_layout())),
        }
        super().__init__(
            {
                "words": In(WordsSignature(config)),
                "residual": In(WriteSignature(16, residual, parts=config.lanes)),
                "residual_due": In(1),
                "maxima": In(WriteSignature(16, maxima, parts=config.groups)),
                "sums": In(WriteSignature(12, sums_layout())),
                "state": In(WriteSignature(12, signed(LEVEL_BITS))),
                "tap": In(TapSignature(config)),
                "copy": In(stream.Signature(copy_layout(config))),
                "context": In(WriteSignature(range(CONTEXTS), context_layout(config))),
                "feed_activation": In(operands),
                "feed_maxima": In(ReadSignature(16, maxima)),
                "feed_residual": In(residuals),
                "feed_sums": In(ReadSignature(12, sums_layout())),
                "feed_state": In(ReadSignature(13, signed(LEVEL_BITS))),
                "load_kv": In(operands),
                "add_residual": In(residuals),
                "add_sums": In(ReadSignature(12, sums_layout())),
                "old_state": In(states),
                "early_context": In(contexts),
                "finished_context": In(contexts),
                "result": In(residuals),
                "result_ready": Out(1),
                "outside": Out(1),
                "collided": Out(1),
                **(extra if config.extra_key else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words, copy = self.words, self.copy
        to_activation = Signal()
        to_kv = Signal()
        beyond = Signal()
        was_due = Signal()
        m.d.sync += was_due.eq(words.activation_due)
        m.d.comb += [
            to_activation.eq(was_due & ~beyond),
            to_kv.eq(words.write & ((words.memory == Memory.KV) | beyond)),
        ]
        if self.config.joint_memories:
            m.d.comb += beyond.eq((words.memory == Memory.ACTIVATION) & (words.address >= self.config.activation_words))
        # Known a cycle ahead: the answer goes on to the weight stream.
        residual_free = Signal()
        activation_free = Signal()
        m.d.sync += [
            residual_free.eq(~self.residual_due),
            activation_free.eq(~words.activation_due & ~self.tap.due),
        ]
        copies_residual = copy.p.memory == Memory.RESIDUAL
        m.d.comb += copy.ready.eq(Mux(copies_residual, residual_free, activation_free))
        with m.If(copy.valid & copy.ready):
            others = Mux(copies_residual, self.residual.mask.any(), to_activation | self.tap.write)
            require(m, Check.ASSERT, ~others, "memories: a copied word needs its memory for itself")
        self._operands(m, to_activation, to_kv)
        self._residual(m, residual_free)
        self._tables(m)
        self._check(m, to_activation)
        return m

    def _memory(self, m: Module, name: str, *, shape: ShapeLike, depth: int, **attrs: str) -> memory.Memory:
        """A memory without initial contents."""
        result: memory.Memory = memory.Memory(shape=shape, depth=depth, init=[], attrs=attrs)
        m.submodules[name] = result
        return result

    def _pair(
        self, m: Module, name: str, address: Any, enable: Value, low: Value, *, depth: int
    ) -> tuple[memory.WritePort, Value]:
        """A memory of operands with its read port, and what is read; beside it one of lower bytes, written and read
        with it, if operands may have 16 bits. `low`: what goes there a cycle later.
        """
        config, style = self.config, self.config.ram_style(name)
        word = data.ArrayLayout(unsigned(8), config.lanes)
        main = self._memory(m, name, shape=word, depth=depth, ram_style=style)
        write, read = main.write_port(granularity=1), main.read_port()
        m.d.comb += [read.addr.eq(address.word), read.en.eq(enable)]
        if not config.wide_operands:
            return write, Value.cast(read.data)
        beside = self._memory(m, f"{name}_low", shape=word, depth=depth, ram_style=style)
        low_write, low_read = beside.write_port(granularity=1), beside.read_port()
        asked = Signal(name=f"{name}_low_asked")
        m.d.sync += [Value.cast(low_write.data).eq(low), asked.eq(address.low)]
        m.d.comb += [
            low_write.addr.eq(write.addr),
            low_write.en.eq(write.en),
            low_read.addr.eq(read.addr),
            low_read.en.eq(read.en),
        ]
        return write, Mux(asked, Value.cast(low_read.data), Value.cast(read.data))

    def _operands(self, m: Module, to_activation: Signal, to_kv: Signal) -> None:
        """Activation and key/value memory."""
        config, words, tap, copy = self.config, self.words, self.tap, self.copy
        feed, load = self.feed_activation, self.load_kv
        low = Mux(to_activation, Value.cast(words.low), Value.cast(tap.low))
        activation, streamed = self._pair(
            m, "activation", feed.address, feed.enable, low, depth=config.activation_words
        )
        address: Any = Signal(operand_address())
        behind = Signal()
        kv, stored = self._pair(m, "kv", address, load.enable | behind, Value.cast(words.low), depth=config.kv_words)
        m.d.comb += [address.eq(load.address), Value.cast(load.data).eq(stored), Value.cast(feed.data).eq(streamed)]
        if config.joint_memories:
            m.d.comb += behind.eq(feed.enable & (feed.address.word >= config.activation_words))
            was_behind = Signal()
            m.d.sync += was_behind.eq(behind)
            with m.If(behind):
                m.d.comb += [
                    address.word.eq(feed.address.word - config.activation_words),
                    address.low.eq(feed.address.low),
                ]
            with m.If(was_behind):
                m.d.comb += Value.cast(feed.data).eq(stored)
        place: Value = words.address
        if config.joint_memories:
            place = Mux(words.memory == Memory.KV, place, place - config.activation_words)
        m.d.sync += [kv.addr.eq(place), kv.data.eq(words.data), kv.en.eq(Mux(to_kv, words.mask, 0))]
        # Every few lanes know by themselves whether a result or a tap comes.
        here, copied = copy.valid & (copy.p.memory == Memory.ACTIVATION), Value.cast(copy.p.data)
        m.d.sync += activation.addr.eq(Mux(to_activation, words.address, Mux(tap.write, tap.address, copy.p.address)))
        results, taps = (
            copies(m, due, config.lanes, name=name)
            for due, name in ((words.activation_due, "result"), (tap.due, "tapped"))
        )
        for lane, (due, tapped) in enumerate(zip(results, taps, strict=True)):
            result = due & to_activation if config.joint_memories else due
            m.d.sync += [
                activation.data[lane].eq(
                    Mux(result, words.data[lane], Mux(tapped, tap.data[lane], copied.word_select(lane, 8)))
                ),
                activation.en[lane].eq(Mux(result, words.mask[lane], tapped | here)),
            ]

    def _residual(self, m: Module, free: Signal) -> None:
        config, copy, add = self.config, self.copy, self.add_residual
        feed, result = self.feed_residual, self.result
        style, depth = config.ram_style("residual"), config.residual_words
        residual = self._memory(m, "residual", shape=add.data.shape(), depth=depth, ram_style=style)
        write, read = residual.write_port(granularity=1), residual.read_port()
        m.d.comb += [
            read.addr.eq(Mux(add.enable, add.address, Mux(feed.enable, feed.address, result.address))),
            read.en.eq(add.enable | feed.enable | result.enable),
            *(user.data.eq(read.data) for user in (add, feed, result)),
            self.result_ready.eq(~add.enable & ~feed.enable),
        ]
        require(m, Check.ASSERT, ~(add.enable & feed.enable), "memories: the residual has one read port")
        here, copied = copy.valid & (copy.p.memory == Memory.RESIDUAL), Value.cast(copy.p.data)
        m.d.sync += write.addr.eq(Mux(free, copy.p.address, self.residual.address))
        # Every few lanes know by themselves whose word it is: `free` itself answers the copy.
        for lane, due in enumerate(copies(m, self.residual_due, config.lanes, name="residual_due")):
            m.d.sync += [
                Value.cast(write.data[lane]).eq(
                    Mux(due, Value.cast(self.residual.data[lane]), copied.word_select(lane, 16))
                ),
                write.en[lane].eq(Mux(due, self.residual.mask[lane], here)),
            ]

    def _tables(self, m: Module) -> None:
        """What belongs to words, tokens, queries and instructions."""
        config = self.config
        maxima = self._memory(
            m, "maxima", shape=self.maxima.data.shape(), depth=config.activation_words, ram_style="block"
        )
        write = maxima.write_port(granularity=1)
        m.d.sync += [
            write.addr.eq(self.maxima.address),
            write.data.eq(self.maxima.data),
            write.en.eq(self.maxima.mask),
        ]
        connect_read(m, self.feed_maxima, maxima.read_port())
        sums = self._memory(m, "sums", shape=sums_layout(), depth=config.max_tokens)
        connect_write(m, self.sums, sums.write_port())
        for user in (self.feed_sums, self.add_sums):
            connect_read(m, user, sums.read_port())
        state = self._memory(m, "state", shape=signed(LEVEL_BITS), depth=min(4096, 2 * config.max_tokens))
        connect_write(m, self.state, state.write_port())
        if config.extra_key:
            extra = self._memory(m, "extra", shape=distance_layout(), depth=min(4096, 2 * config.max_tokens))
            connect_write(m, self.extra, extra.write_port())
            connect_read(m, self.feed_extra, extra.read_port())
        for user in (self.feed_state, self.old_state):
            connect_read(m, user, state.read_port())
        contexts = self._memory(m, "contexts", shape=context_layout(config), depth=CONTEXTS)
        connect_write(m, self.context, contexts.write_port())
        for user in (self.finished_context, self.early_context):
            connect_read(m, user, contexts.read_port(domain="comb"))

    def _check(self, m: Module, to_activation: Signal) -> None:
        """Find accesses that must not be."""
        config, words, copy = self.config, self.words, self.copy
        copies_residual = copy.p.memory == Memory.RESIDUAL
        feed, load = self.feed_activation, self.load_kv
        accesses = [
            (feed.enable, feed.address.word, config.streamed_words),
            (self.feed_residual.enable, self.feed_residual.address, config.residual_words),
            (self.tap.write, self.tap.address, config.activation_words),
            (load.enable, load.address.word, config.kv_words),
            (copy.valid & copies_residual, copy.p.address, config.residual_words),
            (copy.valid & ~copies_residual, copy.p.address, config.activation_words),
            (words.write & (words.memory == Memory.KV), words.address, config.kv_words),
            (words.write & (words.memory != Memory.KV), words.address, config.streamed_words),
            (self.add_residual.enable, self.add_residual.address, config.residual_words),
        ]
        collisions = self.tap.write & to_activation
        if config.joint_memories:
            accesses.append((self.maxima.mask.any(), self.maxima.address, config.activation_words))
            collisions |= load.enable & feed.enable & (feed.address.word >= config.activation_words)
        outside = Signal(len(accesses))  # registered, and collected in the next cycle
        for k, (active, address, depth) in enumerate(accesses):
            m.d.sync += outside[k].eq(active & (address >= depth))
        m.d.sync += [self.outside.eq(outside.any()), self.collided.eq(collisions)]
