"""AXI4 read mover: a command becomes bursts, and bursts become a stream."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import CACHE, PROT, Axi4ReadBus, Axi4ReadSignature, Burst, Response
from moesaic.hw.bus.axi_rules import Axi4ReadRules
from moesaic.hw.memory.bursts import BEATS_BITS, BurstSplitter, check_burst
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import Check, StreamContract, require

__all__ = ["AxiReader"]


class AxiReader(wiring.Component):
    """Read a run of consecutive beats from memory, in order.

    A transfer is cut at multiples of ``max_burst`` beats, so that no burst crosses 4 KiB. A burst is issued only when
    there is a credit for each of its beats, so that responses never wait longer than the consumer's own stalls.
    One beat per cycle; a new burst at most every other cycle; the gap between two queued commands costs no beat while
    bursts are in flight. A memory that answers after L cycles is kept busy if ``(max_outstanding - 1) * max_burst``
    beats are at least L + 1 (and there are credits for ``max_outstanding`` bursts). Latency from command to
    ``ARVALID`` is 3 cycles, from ``RVALID`` to ``o.valid`` 0 cycles. The reader counts the beats itself: a misplaced
    ``RLAST`` is reported and cannot disturb the counters.

    ``abort`` drops the command in progress and takes no other; an address on offer stays until it is accepted, and
    data still owed are accepted and discarded. The effect lasts until both ``abort`` is 0 and the bus is drained.
    After reset the reader is idle with all credits.

    Parameters
    ----------
    addr_bits : int
        Width of an address.
    data_bits : int
        Width of a beat.
    max_burst : int, beats
        Longest burst; a power of two, no more than 256 beats and 4 KiB.
    max_outstanding : int, bursts
        Bursts that may be in flight.
    credits : int, beats
        Room of the consumer; at least ``max_burst``.
    check_slave : bool
        Also assert the rules that the slave has to keep.

    Members
    -------
    cmd : In(stream of {addr: unsigned(addr_bits), beats: 1..2**24 - 1})
        Transfer; the address is aligned to a beat (its low bits are ignored).
    o : Out(stream of unsigned(data_bits))
        Beats; withdrawn by ``abort``.
    release : In(range(credits + 1))
        Beats whose room is free again.
    hold : In(1)
        No new burst begins.
    asked : Out(1)
        A burst was begun in the cycle before.
    asking : Out(1)
        A command has bursts to come.
    abort : In(1)
        Stop, as above.
    clear : In(1)
        Only while idle: all credits are back, the count is zero.
    idle : Out(1)
        No command, nothing in flight.
    beats_done : Out(32)
        Beats delivered since ``clear``.
    error : Out(1)
        A beat came with another response than OKAY or a misplaced ``RLAST`` (pulse; its data are delivered all the
        same).
    error_resp : Out(2)
        Its response, SLVERR for EXOKAY or a misplaced ``RLAST``.
    error_addr : Out(addr_bits)
        Its address.
    axi : Out(Axi4ReadSignature)

    Raises
    ------
    ValueError
        If a parameter is not as above.
    """

    LATENCY = 3  # cycles, command transfer to ARVALID

    cmd: stream.Interface
    o: stream.Interface
    release: Signal
    hold: Signal
    asked: Signal
    asking: Signal
    abort: Signal
    clear: Signal
    idle: Signal
    beats_done: Signal
    error: Signal
    error_resp: Signal
    error_addr: Signal
    axi: Axi4ReadBus

    def __init__(
        self,
        *,
        addr_bits: int,
        data_bits: int,
        max_burst: int,
        max_outstanding: int,
        credits: int,
        check_slave: bool = True,
    ) -> None:
        axi = Axi4ReadSignature(addr_bits=addr_bits, data_bits=data_bits)
        check_burst(data_bits=data_bits, max_burst=max_burst, max_outstanding=max_outstanding)
        if credits < max_burst:
            raise ValueError(f"credits must be at least max_burst ({max_burst}), not {credits!r}")
        self.addr_bits, self.data_bits, self.max_burst = addr_bits, data_bits, max_burst
        self.max_outstanding, self.credits, self.check_slave = max_outstanding, credits, check_slave
        super().__init__(
            {
                "cmd": In(stream.Signature(data.StructLayout({"addr": addr_bits, "beats": BEATS_BITS}))),
                "o": Out(stream.Signature(data_bits)),
                "release": In(range(credits + 1)),
                "hold": In(1),
                "asked": Out(1),
                "asking": Out(1),
                "abort": In(1),
                "clear": In(1),
                "idle": Out(1),
                "beats_done": Out(32),
                "error": Out(1),
                "error_resp": Out(2),
                "error_addr": Out(addr_bits),
                "axi": Out(axi),
            }
        )
        size = (data_bits // 8).bit_length() - 1
        self.splitter = BurstSplitter(word_bits=addr_bits - size, max_burst=max_burst)
        self.flight = Queue(self.splitter.o.payload.shape(), depth=max_outstanding)  # bursts whose last beat is owed
        self.credit = Signal(range(credits + 1), init=credits)
        self.beat = Signal(range(max_burst))  # of the oldest burst
        # It is the first; one of those behind it that is the last, judged a beat ahead.
        self.first = Signal(init=1)
        self.ends = Signal()
        self.flushing = Signal()
        self.rules = Axi4ReadRules(
            self.axi,
            data_bits=data_bits,
            max_outstanding=max_outstanding,
            slave=Check.ASSERT if check_slave else Check.OFF,
            name="reader",
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.splitter = splitter = self.splitter
        m.submodules.flight = flight = self.flight
        m.submodules.rules = self.rules
        size = (self.data_bits // 8).bit_length() - 1
        ar, r = self.axi.ar, self.axi.r

        flush = Signal()
        m.d.comb += flush.eq(self.abort | self.flushing)
        m.d.sync += self.flushing.eq(flush & ~self.idle)
        m.submodules.contract = StreamContract(self.o, unless=flush, name="reader output")

        # Commands to bursts. A burst needs a credit per beat, a place in the list of bursts in flight (which it enters
        # when its address is accepted), and the register of the address channel.
        issue = Signal()
        room = Signal()
        beats = Signal(range(self.max_burst + 1))
        m.d.comb += [
            splitter.i.valid.eq(self.cmd.valid & ~flush),
            self.cmd.ready.eq(splitter.i.ready & ~flush),
            splitter.i.payload.word.eq(self.cmd.payload.addr >> size),
            splitter.i.payload.beats.eq(self.cmd.payload.beats),
            splitter.drop.eq(flush),
            beats.eq(splitter.o.payload.last + 1),
            room.eq(flight.level + ar.valid < self.max_outstanding),
            issue.eq(
                splitter.o.valid
                & (self.credit > splitter.o.payload.last)
                & room
                & (~ar.valid | ar.ready)
                & ~flush
                & ~self.hold
            ),
            self.asking.eq(~splitter.i.ready),
            splitter.o.ready.eq(issue),
            flight.i.valid.eq(ar.valid & ar.ready),
            flight.i.payload.word.eq(ar.payload.addr >> size),
            flight.i.payload.last.eq(ar.payload.len),
            ar.payload.size.eq(size),
            ar.payload.burst.eq(Burst.INCR),
            ar.payload.cache.eq(CACHE),
            ar.payload.prot.eq(PROT),
        ]
        with m.If(ar.ready):
            m.d.sync += ar.valid.eq(0)
        with m.If(issue):
            m.d.sync += ar.valid.eq(1)
        with m.If(~ar.valid | ar.ready):
            m.d.sync += [
                ar.payload.addr.eq(splitter.o.payload.word << size),
                ar.payload.len.eq(splitter.o.payload.last),
            ]
        m.d.sync += self.asked.eq(issue)
        m.d.sync += self.credit.eq(self.credit + self.release - Mux(issue, beats, 0))

        # Beats of the oldest burst. Without a burst in flight, RREADY is 0: nothing can be counted twice.
        transfer = Signal()
        last_beat = Signal()
        m.d.comb += [
            self.o.payload.eq(r.payload.data),
            self.o.valid.eq(r.valid & flight.o.valid & ~flush),
            r.ready.eq(flight.o.valid & (self.o.ready | flush)),
            transfer.eq(r.valid & r.ready),
            last_beat.eq(Mux(self.first, flight.o.payload.last == 0, self.ends)),
            flight.o.ready.eq(transfer & last_beat),
        ]
        with m.If(transfer):
            m.d.sync += [
                self.beat.eq(Mux(last_beat, 0, self.beat + 1)),
                self.first.eq(last_beat),
                self.ends.eq(self.beat + 1 == flight.o.payload.last),
            ]
            with m.If(~flush):
                m.d.sync += self.beats_done.eq(self.beats_done + 1)

        # The address of a beat: bursts do not cross a multiple of their greatest length, so nothing carries out.
        # No access is exclusive: EXOKAY is a slave's mistake.
        oldest = flight.o.payload.word
        place = Signal(len(self.beat))
        m.d.comb += [
            place.eq(oldest[: len(place)] + self.beat),
            self.error.eq(transfer & ~flush & ((r.payload.resp != Response.OKAY) | (r.payload.last != last_beat))),
            self.error_resp.eq(Mux(r.payload.resp == Response.DECERR, Response.DECERR, Response.SLVERR)),
            self.error_addr.eq(Cat(Const(0, size), place, oldest[len(place) :])),
            self.idle.eq(splitter.i.ready & ~splitter.o.valid & ~ar.valid & ~flight.o.valid),
        ]
        require(m, Check.ASSERT, self.credit + self.release <= self.credits, "reader: only room in use can be released")
        with m.If(self.clear):
            require(m, Check.ASSERT, self.idle, "reader: clear only while idle")
            m.d.sync += [self.credit.eq(self.credits), self.beats_done.eq(0)]
        return m
