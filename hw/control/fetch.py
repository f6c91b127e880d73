"""Instruction fetch: three instruction streams share one read port."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import Axi4ReadSignature, Response
from moesaic.hw.control.errors import ErrorReport
from moesaic.hw.memory.axi_reader import AxiReader
from moesaic.hw.memory.window import ADDRESS_BITS, WindowGuard
from moesaic.hw.spec.latency import QUEUED, SETTLE_CYCLES
from moesaic.hw.spec.registers import ErrorCode, ErrorUnit
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import Check, connect_stream, require
from moesaic.hw.stream.states import States

__all__ = ["STREAMS", "InstructionFetch"]

STREAMS = ("load", "compute", "store")
COUNT_BITS = 32
OUTSTANDING = 4  # bursts in flight, and requests whose instructions have not all arrived


class InstructionFetch(wiring.Component):
    """Reads the load, compute and store streams from DDR into a queue each.

    The streams take turns; a stream asks for up to half a queue at a time, and only for what its queue has room for, so
    that a full queue holds up nobody else. The port delivers one beat per cycle as long as consumers take that much.
    A request that leaves the window is not issued. After the first error nothing more is requested until ``clear``.
    Latency from ``run`` to the address on the bus is about a dozen cycles. After reset or ``clear`` no instruction is
    held and every stream starts at its base again.

    Parameters
    ----------
    addr_bits : int
        Width of a bus address.
    data_bits : int
        Width of a beat; divides an instruction.
    instruction_bytes : int
        Size of an instruction, a power of two.
    depth : int
        Instructions that each queue holds, a power of two of 2 or more.

    Members
    -------
    base : In(64).array(3)
        Byte address of the first instruction of each stream; stable while ``run``.
    count : In(32).array(3)
        Instructions of each stream; stable while ``run``.
    window_base, window_bytes : In(64)
        The DDR window; stable while ``run``.
    run : In(1)
        Instructions may be requested.
    abort : In(1)
        Request nothing, discard what returns; held until ``clear``.
    clear : In(1)
        Forget everything; only without ``run``, while ``idle``, and under an ``abort`` that has lasted.
    o : Out(stream of unsigned(8 * instruction_bytes)).array(3)
        In the order of ``STREAMS``.
    exhausted : Out(3)
        Bit per stream: all its instructions were handed out. Meaningful while ``run``.
    idle : Out(1)
        Nothing is in flight on the bus.
    report : Out(ErrorReport)
        Pulse for a refused request or an error response; the index is the stream.
    bytes_read : Out(64)
        Bytes received since ``clear``.
    axi : Out(Axi4ReadSignature)

    Raises
    ------
    ValueError
        If a parameter is not as above.
    """

    base: list[Signal]
    count: list[Signal]
    window_base: Signal
    window_bytes: Signal
    run: Signal
    abort: Signal
    clear: Signal
    o: list[stream.Interface]
    exhausted: Signal
    idle: Signal
    report: data.View
    bytes_read: Signal
    axi: Any

    def __init__(
        self, *, addr_bits: int, data_bits: int = 128, instruction_bytes: int = 32, depth: int = QUEUED
    ) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of 2 or more, not {depth!r}")
        if instruction_bytes < 1 or instruction_bytes & (instruction_bytes - 1):
            raise ValueError(f"instruction_bytes must be a power of two, not {instruction_bytes!r}")
        if 8 * instruction_bytes % data_bits:
            raise ValueError(f"data_bits must divide {8 * instruction_bytes}, not {data_bits!r}")
        self.addr_bits, self.data_bits = addr_bits, data_bits
        self.instruction_bytes, self.depth = instruction_bytes, depth
        self.beats = 8 * instruction_bytes // data_bits  # per instruction
        self.chunk = depth // 2  # instructions per request
        super().__init__(
            {
                "base": In(ADDRESS_BITS).array(len(STREAMS)),
                "count": In(COUNT_BITS).array(len(STREAMS)),
                "window_base": In(ADDRESS_BITS),
                "window_bytes": In(ADDRESS_BITS),
                "run": In(1),
                "abort": In(1),
                "clear": In(1),
                "o": Out(stream.Signature(8 * instruction_bytes)).array(len(STREAMS)),
                "exhausted": Out(len(STREAMS)),
                "idle": Out(1),
                "report": Out(ErrorReport),
                "bytes_read": Out(64),
                "axi": Out(Axi4ReadSignature(addr_bits=addr_bits, data_bits=data_bits)),
            }
        )
        self.reader = AxiReader(
            addr_bits=addr_bits,
            data_bits=data_bits,
            max_burst=self.chunk * self.beats,
            max_outstanding=OUTSTANDING,
            credits=len(STREAMS) * depth * self.beats,
        )
        self.guard = WindowGuard(addr_bits=addr_bits, data_bits=data_bits)
        self.request = data.StructLayout({"stream": range(len(STREAMS)), "count": range(self.chunk + 1)})
        self.order = Queue(self.request, depth=OUTSTANDING)
        self.queues = [Queue(unsigned(8 * instruction_bytes), depth=depth) for _ in STREAMS]
        self.reserved = [Signal(range(depth + 1), name=f"reserved_{name}") for name in STREAMS]  # asked for or queued
        self.issued = [Signal(COUNT_BITS, name=f"issued_{name}") for name in STREAMS]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader, m.submodules.guard, m.submodules.order = self.reader, self.guard, self.order
        for name, queue in zip(STREAMS, self.queues, strict=True):
            m.submodules[f"{name}_queue"] = queue
        self.elaborate_request(m)
        self.elaborate_return(m)
        return m

    def elaborate_request(self, m: Module) -> None:
        """Streams take turns: pick, locate, send through the guard to the reader."""
        guard, order = self.guard, self.order
        reader: Any = self.reader
        failed = Signal()
        wants = Signal(len(STREAMS))
        amounts = []
        # Three registers deep; after a request the state machine waits as long, and what consumers take meanwhile only
        # makes room.
        for k, (count, issued, reserved) in enumerate(zip(self.count, self.issued, self.reserved, strict=True)):
            left = Signal(COUNT_BITS, name=f"left_{STREAMS[k]}")
            some = Signal(name=f"some_{STREAMS[k]}")
            amount = Signal(range(self.chunk + 1), name=f"amount_{STREAMS[k]}")
            wanted = Signal(range(self.chunk + 1), name=f"wanted_{STREAMS[k]}")
            m.d.sync += [
                left.eq(count - issued),
                some.eq(left != 0),
                amount.eq(Mux(left > self.chunk, self.chunk, left)),
                wants[k].eq(some & (reserved + amount <= self.depth)),
                wanted.eq(amount),
            ]
            amounts.append(wanted)

        turn = Signal(range(len(STREAMS)))  # picked last
        chosen: Any = Signal(self.request)
        in_guard = Signal(range(len(STREAMS)))
        # booked: a cycle later
        sent = Signal()
        booked = Signal()
        settle = Signal(range(SETTLE_CYCLES + 1), init=SETTLE_CYCLES)
        m.d.comb += [
            guard.i.p.beats.eq(chosen.count * self.beats),
            guard.window_base.eq(self.window_base),
            guard.window_bytes.eq(self.window_bytes),
            guard.abort.eq(self.abort),
            reader.abort.eq(self.abort),
            order.i.p.eq(chosen),
            order.i.valid.eq(booked),  # its beats come later still
            order.clear.eq(self.clear),
            reader.clear.eq(self.clear),
            self.axi.ar.payload.eq(reader.axi.ar.payload),
            self.axi.ar.valid.eq(reader.axi.ar.valid),
            reader.axi.ar.ready.eq(self.axi.ar.ready),
            reader.axi.r.payload.eq(self.axi.r.payload),
            reader.axi.r.valid.eq(self.axi.r.valid),
            self.axi.r.ready.eq(reader.axi.r.ready),
            self.idle.eq(reader.idle),
        ]
        connect_stream(m, guard.o, reader.cmd)
        address = Signal(ADDRESS_BITS)
        m.d.comb += guard.i.p.addr.eq(address)
        done = Array(self.issued)[chosen.stream]
        m.d.sync += address.eq(Array(self.base)[chosen.stream] + done * self.instruction_bytes)

        states = States(m, "pick", "locate", "send")
        with states.state("pick"):
            # Later assignments win, so the stream after the last one picked comes last here.
            with m.Switch(turn):
                for last in range(len(STREAMS)):
                    with m.Case(last):
                        for step in reversed(range(1, len(STREAMS) + 1)):
                            k = (last + step) % len(STREAMS)
                            with m.If(wants[k]):
                                m.d.sync += [chosen.stream.eq(k), chosen.count.eq(amounts[k])]
            with m.If(wants.any() & (settle == 0) & self.run & ~self.abort & ~failed):
                states.to("locate")
        with states.state("locate"):
            m.d.sync += turn.eq(chosen.stream)
            states.to("send")
        with states.state("send"):
            m.d.comb += [
                guard.i.valid.eq(order.i.ready & ~self.abort & ~failed),
                sent.eq(guard.i.valid & guard.i.ready),
            ]
            with m.If(sent | self.abort | failed):
                states.to("pick")
        states.close()
        m.d.sync += booked.eq(sent)
        with m.If(sent | ~self.run):
            m.d.sync += settle.eq(SETTLE_CYCLES)
        with m.Elif(settle != 0):
            m.d.sync += settle.eq(settle - 1)
        with m.If(sent):
            m.d.sync += in_guard.eq(chosen.stream)

        for k, (issued, reserved, o) in enumerate(zip(self.issued, self.reserved, self.o, strict=True)):
            mine = Signal(name=f"booked_{STREAMS[k]}")
            m.d.sync += [
                mine.eq(sent & (chosen.stream == k)),
                issued.eq(issued + Mux(mine, chosen.count, 0)),
                reserved.eq(reserved + Mux(mine, chosen.count, 0) - (o.valid & o.ready)),
                self.exhausted[k].eq((issued == self.count[k]) & (reserved == 0) & self.run & ~self.clear),
            ]
            with m.If(self.clear):
                m.d.sync += [issued.eq(0), reserved.eq(0), wants.eq(0)]

        # With the beat, in the register behind the reader.
        wrong = Signal()
        response = Signal(2)
        wrong_addr = Signal(self.addr_bits, reset_less=True)
        m.d.sync += [wrong.eq(reader.error), response.eq(reader.error_resp), wrong_addr.eq(reader.error_addr)]
        m.d.comb += [self.report.unit.eq(ErrorUnit.FETCH.value), self.report.valid.eq(guard.error | wrong)]
        with m.If(wrong):
            code = Mux(response == Response.DECERR, ErrorCode.FETCH_DECERR.value, ErrorCode.FETCH_SLVERR.value)
            m.d.comb += [self.report.code.eq(code), self.report.address.eq(wrong_addr)]
            m.d.comb += self.report.index.eq(order.o.p.stream)
        with m.Else():
            m.d.comb += [self.report.code.eq(ErrorCode.ADDRESS_RANGE.value), self.report.address.eq(guard.error_addr)]
            m.d.comb += self.report.index.eq(in_guard)
        with m.If(self.report.valid):
            m.d.sync += failed.eq(1)
        with m.If(self.clear):
            m.d.sync += failed.eq(0)

    def elaborate_return(self, m: Module) -> None:
        """Beats become instructions, and go to the queue of the oldest request."""
        reader, order = self.reader, self.order
        taken = Signal()
        whole = Signal()
        last = Signal()
        arriving = Signal(self.data_bits, reset_less=True)
        m.d.sync += [taken.eq(reader.o.valid), arriving.eq(reader.o.payload)]
        with m.If(taken):
            require(m, Check.ASSERT, order.o.valid, "fetch: a beat needs the request that it belongs to")
        arrived = Signal(range(self.chunk + 1))  # instructions of the oldest request
        instruction = Signal(8 * self.instruction_bytes)
        if self.beats > 1:
            earlier = Signal((self.beats - 1) * self.data_bits, reset_less=True)  # beats, oldest lowest
            beat = Signal(range(self.beats))
            m.d.comb += [instruction.eq(Cat(earlier, arriving)), whole.eq(taken & (beat == self.beats - 1))]
            with m.If(taken):
                m.d.sync += [earlier.eq(Cat(earlier, arriving)[self.data_bits :]), beat.eq(beat + 1)]
            with m.If(self.clear):
                m.d.sync += beat.eq(0)
        else:
            m.d.comb += [instruction.eq(arriving), whole.eq(taken)]

        m.d.comb += [
            # Every beat that was asked for has its place: the port never waits.
            reader.o.ready.eq(1),
            reader.release.eq(taken),
            last.eq(arrived + 1 == order.o.p.count),
            order.o.ready.eq(whole & last),
            self.bytes_read.eq(reader.beats_done * (self.data_bits // 8)),
        ]
        with m.If(whole):
            m.d.sync += arrived.eq(Mux(last, 0, arrived + 1))
        put = Signal()
        put_stream = Signal(range(len(STREAMS)))
        put_instruction = Signal(8 * self.instruction_bytes, reset_less=True)
        m.d.sync += [put.eq(whole), put_stream.eq(order.o.p.stream), put_instruction.eq(instruction)]
        with m.If(self.clear):
            m.d.sync += [arrived.eq(0), taken.eq(0), put.eq(0)]
        for k, (queue, o) in enumerate(zip(self.queues, self.o, strict=True)):
            m.d.comb += [
                queue.i.payload.eq(put_instruction),
                queue.i.valid.eq(put & (put_stream == k)),
                queue.clear.eq(self.clear),
            ]
            with m.If(queue.i.valid):
                require(m, Check.ASSERT, queue.i.ready, "fetch: an instruction needs the place reserved for it")
            connect_stream(m, queue.o, o)
