"""Runs the store stream: residual words to DDR."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.decode.legality import refused
from moesaic.hw.memory.bursts import BEATS_BITS
from moesaic.hw.memory.window import WindowGuard
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS, Opcode
from moesaic.hw.spec.registers import ErrorCode
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.states import States

__all__ = ["StoreUnit"]

WORDS_AHEAD = 4  # residual words between memory and bus


class _Progress:
    """How far a STORE has come. What a step decides on is judged a word, or a beat, ahead."""

    def __init__(self, beats_per_word: int) -> None:
        self.beats = beats_per_word
        # words
        self.to_read = Signal(17)
        self.to_send = Signal(17)
        # words to read; the word to send is the last
        self.more = Signal()
        self.last_word = Signal()
        self.beat = Signal(range(max(2, beats_per_word)))
        self.last_beat = Signal()

    def start(self, m: Module, words: Value) -> None:
        """Before the first word."""
        m.d.sync += [
            self.to_read.eq(words),
            self.to_send.eq(words),
            self.more.eq(1),
            self.last_word.eq(words == 1),
            self.beat.eq(0),
            self.last_beat.eq(self.beats == 1),
        ]

    def read(self, m: Module) -> None:
        """A word was read."""
        m.d.sync += [self.to_read.eq(self.to_read - 1), self.more.eq(self.to_read != 1)]

    def send(self, m: Module) -> None:
        """A beat was sent."""
        m.d.sync += [self.beat.eq(self.beat + 1), self.last_beat.eq(self.beat + 2 == self.beats)]
        with m.If(self.last_beat):
            m.d.sync += [
                self.beat.eq(0),
                self.last_beat.eq(self.beats == 1),
                self.to_send.eq(self.to_send - 1),
                self.last_word.eq(self.to_send == 2),
            ]


class StoreUnit(wiring.Component):
    """One STORE at a time; one beat per cycle once the words flow. Reads the residual memory when the core does not.

    An instruction is finished when its last beat is handed to the writer; the run is over when the writer is idle too.
    A refused instruction raises ``error`` until reset.

    Members
    -------
    i : In(stream of unsigned(256))
    cmd : Out(stream of {addr, beats}), o : Out(stream of port_bits)
        To the AxiWriter.
    read_enable, read_address : Out; read_data, read_ready : In
        Residual memory; data one cycle after a cycle with enable and ready.
    retired : In(24), window_base, window_bytes : In(64), abort : In(1)
    result_base, result_bytes : In(64)
        The region that every STORE must stay in, whatever else lies in the window.
    done : Out(24), bytes : Out(64)
        STORE instructions finished; bytes handed to the writer.
    error, error_code, error_index, error_address : Out
    """

    i: stream.Interface
    cmd: stream.Interface
    o: stream.Interface
    read_enable: Signal
    read_address: Signal
    read_data: Signal
    read_ready: Signal
    retired: Signal
    result_base: Signal
    result_bytes: Signal
    window_base: Signal
    window_bytes: Signal
    abort: Signal
    done: Signal
    bytes: Signal
    error: Signal
    error_code: Signal
    error_index: Signal
    error_address: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.guard = WindowGuard(addr_bits=config.addr_bits, data_bits=config.port_bits)
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION_BITS)),
                "cmd": Out(stream.Signature(data.StructLayout({"addr": config.addr_bits, "beats": BEATS_BITS}))),
                "o": Out(stream.Signature(config.port_bits)),
                "read_enable": Out(1),
                "read_address": Out(16),
                "read_data": In(16 * config.lanes),
                "read_ready": In(1),
                "retired": In(INDEX_BITS),
                "result_base": In(64),
                "result_bytes": In(64),
                "window_base": In(64),
                "window_bytes": In(64),
                "abort": In(1),
                "done": Out(INDEX_BITS),
                "bytes": Out(64),
                "error": Out(1),
                "error_code": Out(8),
                "error_index": Out(INDEX_BITS),
                "error_address": Out(64),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        port_bytes = config.port_bits // 8
        at = _Progress(max(1, 16 * config.lanes // config.port_bits))
        m.submodules.words = words = Queue(16 * config.lanes, depth=WORDS_AHEAD)
        op: Any = Signal(instruction_layout(Opcode.STORE))
        address = Signal(64)
        size = Signal(32)
        end = Signal(range((1 << len(op.offset)) + (1 << 32)))  # bytes from the start of the result region
        code = Signal(8)
        pending = Signal()
        sending = Signal()
        # a beat, the instruction's last
        sends = Signal()
        finishes = Signal()
        # in the cycle before
        sent = Signal()
        finished = Signal()
        m.d.comb += [sends.eq(self.o.valid & self.o.ready), finishes.eq(sends & at.last_beat & at.last_word)]
        m.d.sync += [
            sent.eq(sends),
            finished.eq(finishes),
            self.bytes.eq(self.bytes + Mux(sent, port_bytes, 0)),
            self.done.eq(self.done + finished),
        ]
        m.d.sync += pending.eq(self.read_enable & self.read_ready)
        m.d.comb += [
            words.i.valid.eq(pending),
            words.i.payload.eq(self.read_data),
            self.o.payload.eq(words.o.payload.word_select(at.beat, config.port_bits)),
            self.error_index.eq(self.done),
            self.error_code.eq(code),
            self.error_address.eq(
                Mux((code == ErrorCode.ADDRESS_RANGE) | (code == ErrorCode.RESULT_RANGE), address, 0)
            ),
        ]
        guard, outside = self.guard, self._check_range(m, address, size, end)
        states = States(m, "idle", "decode", "wait", "check", "send", "refused")
        with states.state("idle"):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += op.eq(self.i.payload)
            with m.If(self.i.valid):
                states.to("decode")
        with states.state("decode"):
            m.d.sync += [
                address.eq(self.result_base + op.offset),
                size.eq(op.words * (2 * config.lanes)),
                end.eq(op.offset + op.words * (2 * config.lanes)),
                self.read_address.eq(op.src_addr),
            ]
            at.start(m, op.words)
            states.to("wait")
            with m.If(op.opcode != Opcode.STORE):
                m.d.sync += code.eq(ErrorCode.BAD_OPCODE)
                states.to("refused")
            with m.Elif(refused(Opcode.STORE, op, config)):
                m.d.sync += code.eq(ErrorCode.BAD_FIELD)
                states.to("refused")
        with states.state("wait"):
            m.d.comb += guard.i.valid.eq(op.wait <= self.retired)
            with m.If(guard.i.valid & guard.i.ready):
                states.to("check")
        with states.state("check"):
            with m.If(guard.error):
                m.d.sync += code.eq(ErrorCode.ADDRESS_RANGE)
                states.to("refused")
            with m.Elif(guard.o.valid & outside):
                m.d.sync += code.eq(ErrorCode.RESULT_RANGE)
                states.to("refused")
            with m.Elif(self.cmd.valid & self.cmd.ready):
                m.d.sync += sending.eq(1)
                states.to("send")
        with states.state("send"):
            with m.If(finishes):
                m.d.sync += sending.eq(0)
                states.to("idle")
        with states.state("refused"):
            m.d.comb += self.error.eq(1)
        states.close()
        # A word on its way needs a place too.
        m.d.comb += [
            self.read_enable.eq(sending & at.more & (words.level + pending < WORDS_AHEAD)),
            self.o.valid.eq(sending & words.o.valid),
            words.o.ready.eq(sending & self.o.ready & at.last_beat),
        ]
        with m.If(self.read_enable & self.read_ready):
            at.read(m)
            m.d.sync += self.read_address.eq(self.read_address + 1)
        with m.If(sends):
            at.send(m)
        return m

    def _check_range(self, m: Module, address: Signal, size: Signal, end: Signal) -> Signal:
        """The transfer through the window's guard; 1 if it would leave the result region."""
        m.submodules.guard = guard = self.guard
        m.d.comb += [
            guard.window_base.eq(self.window_base),
            guard.window_bytes.eq(self.window_bytes),
            guard.abort.eq(self.abort),
            guard.i.p.addr.eq(address),
            guard.i.p.beats.eq(size >> (self.config.port_bits // 8 - 1).bit_length()),
        ]
        outside = Signal()
        # A cycle after `end`, and so long before the guard offers the transfer.
        m.d.sync += outside.eq(end > self.result_bytes)
        m.d.comb += [
            self.cmd.payload.eq(guard.o.payload),
            self.cmd.valid.eq(guard.o.valid & ~outside),
            guard.o.ready.eq(self.cmd.ready & ~outside),
        ]
        return outside
