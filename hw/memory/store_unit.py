"""Runs the store stream: residual words to DDR."""

from functools import reduce
from operator import add, or_
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.decode.legality import refused
from moesaic.hw.memory.bursts import BEATS_BITS
from moesaic.hw.memory.serialiser import Serialiser
from moesaic.hw.memory.window import WindowGuard
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS, Opcode
from moesaic.hw.spec.registers import ErrorCode
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import connect_stream
from moesaic.hw.stream.states import States

__all__ = ["StoreUnit"]

WORDS_AHEAD = 4  # residual words between memory and ports


class _Shares:
    """Words of a STORE by port: each port writes a run of consecutive ones, the last ports fewer or none.

    They are read in turn, a word of every share, so that the ports work side by side.
    """

    def __init__(self, ports: int) -> None:
        self.ports = ports
        self.address = [Signal(16, name=f"address_{p}") for p in range(ports)]  # of the share's next word
        self.left = [Signal(16, name=f"left_{p}") for p in range(ports)]  # words to read
        self.more = [Signal(name=f"more_{p}") for p in range(ports)]  # there is one, judged a word ahead
        self.turn = Signal(ports, init=1)  # whose word is read next, a bit for each port
        self.there = Signal()  # there is one, judged a word ahead

    def deal(self, m: Module, port: Value, first: Value, words: Value) -> None:
        """The port whose bit is set gets its share."""
        for p in range(self.ports):
            with m.If(port[p]):
                m.d.sync += [self.address[p].eq(first), self.left[p].eq(words), self.more[p].eq(words != 0)]

    def read(self, m: Module) -> None:
        """A word was read. A share is never longer than the one before it: behind the last that goes on, the first."""
        for p in range(self.ports):
            following = p + 1 < self.ports
            first = self.more[0] if p else self.left[0] != 1
            with m.If(self.turn[p]):
                m.d.sync += [
                    self.address[p].eq(self.address[p] + 1),
                    self.left[p].eq(self.left[p] - 1),
                    self.more[p].eq(self.left[p] != 1),
                    self.turn.eq(Mux(self.more[p + 1], 2 << p, 1) if following else 1),
                    self.there.eq((self.more[p + 1] if following else 0) | first),
                ]


class StoreUnit(wiring.Component):
    """One STORE at a time; one beat per cycle and port once the words flow. Reads the residual memory when the core
    does not.

    Of W words, port p writes ceil(W / ports) from word p * ceil(W / ports) on, or what there is of them. An instruction
    is finished when its last beats are handed to the writers; the run is over when they are idle too. A refused
    instruction raises ``error`` until reset; nothing of it is written.

    Members
    -------
    i : In(stream of unsigned(256))
    cmd : Out(stream of {addr, beats})[ports], o : Out(stream of port_bits)[ports]
        To the AxiWriter of each port.
    read_enable, read_address : Out; read_data, read_ready : In
        Residual memory; data one cycle after a cycle with enable and ready.
    retired : In(24), window_base, window_bytes : In(64), abort : In(1)
    result_base, result_bytes : In(64)
        The region that every STORE must stay in, whatever else lies in the window.
    done : Out(24), bytes : Out(64)
        STORE instructions finished; bytes handed to the writers.
    error, error_code, error_index, error_address : Out
    """

    i: stream.Interface
    cmd: list[stream.Interface]
    o: list[stream.Interface]
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
        transfer = data.StructLayout({"addr": config.addr_bits, "beats": BEATS_BITS})
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION_BITS)),
                "cmd": Out(stream.Signature(transfer)).array(config.ports),
                "o": Out(stream.Signature(config.port_bits)).array(config.ports),
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
        word_bytes = 2 * config.lanes
        op: Any = Signal(instruction_layout(Opcode.STORE))
        address = Signal(64)
        size = Signal(32)
        end = Signal(range((1 << len(op.offset)) + (1 << 32)))  # bytes from the start of the result region
        code = Signal(8)
        # words: the longest share, those that no port has yet, the share of the port that gets its own
        longest, rest, share = Signal(17), Signal(17), Signal(17)
        offered = Signal()  # it is not empty
        source = Signal(16)
        port = Signal(config.ports)  # whose share it is, a bit for each
        shares = _Shares(config.ports)
        finishes = self._send(m, shares)
        m.d.comb += [
            self.error_index.eq(self.done),
            self.error_code.eq(code),
            self.error_address.eq(
                Mux((code == ErrorCode.ADDRESS_RANGE) | (code == ErrorCode.RESULT_RANGE), address, 0)
            ),
        ]
        guard, outside = self.guard, self._check_range(m, address, size, end)
        for cmd in self.cmd:
            m.d.comb += [
                cmd.payload.addr.eq(address),
                cmd.payload.beats.eq(share * (word_bytes * 8 // config.port_bits)),
            ]
        states = States(m, "idle", "decode", "wait", "check", "measure", "offer", "deal", "send", "refused")
        with states.state("idle"):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += op.eq(self.i.payload)
            with m.If(self.i.valid):
                states.to("decode")
        with states.state("decode"):
            m.d.sync += [
                address.eq(self.result_base + op.offset),
                size.eq(op.words * word_bytes),
                end.eq(op.offset + op.words * word_bytes),
                longest.eq((op.words + (config.ports - 1)) >> (config.ports - 1).bit_length()),
                rest.eq(op.words),
                source.eq(op.src_addr),
                port.eq(1),
            ]
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
            m.d.comb += guard.o.ready.eq(1)
            with m.If(guard.error):
                m.d.sync += code.eq(ErrorCode.ADDRESS_RANGE)
                states.to("refused")
            with m.Elif(guard.o.valid):
                states.to("measure")
                with m.If(outside):
                    m.d.sync += code.eq(ErrorCode.RESULT_RANGE)
                    states.to("refused")
        with states.state("measure"):
            m.d.sync += [share.eq(Mux(rest > longest, longest, rest)), offered.eq(rest != 0)]
            states.to("offer")
        with states.state("offer"):
            for p, cmd in enumerate(self.cmd):
                m.d.comb += cmd.valid.eq(offered & port[p])
                with m.If(port[p] & cmd.ready):
                    states.to("deal")
            with m.If(~offered):
                states.to("deal")
        with states.state("deal"):
            shares.deal(m, port, source, share)
            m.d.sync += [
                rest.eq(rest - share),
                source.eq(source + share),
                address.eq(address + share * word_bytes),
                port.eq(port << 1),
            ]
            states.to("measure")
            with m.If(port[-1]):
                m.d.sync += shares.there.eq(1)
                states.to("send")
        with states.state("send"):
            with m.If(finishes):
                m.d.sync += self.done.eq(self.done + 1)
                states.to("idle")
        with states.state("refused"):
            m.d.comb += self.error.eq(1)
        states.close()
        return m

    def _send(self, m: Module, shares: _Shares) -> Signal:
        """Words of every share from memory to their port, beat by beat; 1 in the cycle in which none is left."""
        config = self.config
        word_bits, ports = 16 * config.lanes, range(config.ports)
        # Which port a word is for, in a queue of its own: what is asked is one LUT away from few bits.
        m.submodules.words = words = Queue(word_bits, depth=WORDS_AHEAD)
        m.submodules.owners = owners = Queue(config.ports, depth=WORDS_AHEAD)
        pending, room = Signal(), Signal()
        reads = Signal()
        m.d.comb += [
            self.read_enable.eq(shares.there & room),
            self.read_address.eq(reduce(or_, (Mux(shares.turn[p], shares.address[p], 0) for p in ports))),
            reads.eq(self.read_enable & self.read_ready),
            words.i.valid.eq(pending),
            words.i.payload.eq(self.read_data),
            owners.i.valid.eq(reads),
            owners.i.payload.eq(shares.turn),
        ]
        # A word on its way needs a place too. Judged a cycle ahead, as if none left.
        m.d.sync += [pending.eq(reads), room.eq(owners.level + reads < WORDS_AHEAD)]
        with m.If(reads):
            shares.read(m)
        taken, sent = Signal(config.ports), Signal(config.ports)
        for p, o in enumerate(self.o):
            m.submodules[f"serialiser_{p}"] = serialiser = Serialiser(word_bits=word_bits, beat_bits=config.port_bits)
            m.d.comb += [
                serialiser.i.valid.eq(words.o.valid & owners.o.payload[p]),
                serialiser.i.payload.eq(words.o.payload),
                taken[p].eq(serialiser.i.valid & serialiser.i.ready),
            ]
            connect_stream(m, serialiser.o, o)
            m.d.sync += sent[p].eq(o.valid & o.ready)
        m.d.comb += [words.o.ready.eq(taken.any()), owners.o.ready.eq(words.o.ready)]
        beats = Signal(range(config.ports + 1))
        m.d.sync += [
            beats.eq(reduce(add, sent)),
            self.bytes.eq(self.bytes + beats * (config.port_bits // 8)),
        ]
        left = Cat(shares.there, owners.o.valid, *(o.valid for o in self.o))
        finishes = Signal()
        m.d.comb += finishes.eq(~left.any())
        return finishes

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
        return outside
