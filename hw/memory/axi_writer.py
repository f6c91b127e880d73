"""AXI4 write mover: a command and a stream become bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import CACHE, PROT, Axi4WriteBus, Axi4WriteSignature, Burst, Response
from moesaic.hw.bus.axi_rules import Axi4WriteRules
from moesaic.hw.memory.bursts import BEATS_BITS, BurstSplitter, check_burst
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import Check, require

__all__ = ["AxiWriter"]


class AxiWriter(wiring.Component):
    """Write a run of consecutive beats to memory.

    A transfer is cut at multiples of ``max_burst`` beats, so that no burst crosses 4 KiB. The beats of a burst are
    offered once its address is, accepted or not: a slave may wait for either before it takes the other (AXI4,
    dependencies between channels). One beat per cycle, across bursts too; a new burst at most every other cycle.
    Latency from command to ``AWVALID`` is 3 cycles, from ``i`` to ``WVALID`` 1 cycle.

    ``abort`` drops the command in progress and takes no other command or data; an address and a beat on offer stay
    until they are accepted, beats still owed are sent without write strobes, and responses are awaited. The
    effect lasts until both ``abort`` is 0 and the bus is drained. Idle after reset.

    Parameters
    ----------
    addr_bits : int
        Width of an address.
    data_bits : int
        Width of a beat.
    max_burst : int, beats
        Longest burst; a power of two, no more than 256 beats and 4 KiB.
    max_outstanding : int, bursts
        Bursts that may wait for their response.
    check_slave : bool
        Also assert the rules that the slave has to keep.

    Members
    -------
    cmd : In(stream of {addr: unsigned(addr_bits), beats: 1..2**24 - 1})
        Transfer; the address is aligned to a beat (its low bits are ignored).
    i : In(stream of unsigned(data_bits))
        Beats.
    abort : In(1)
        Stop, as above.
    clear : In(1)
        Only while idle: the count is zero.
    idle : Out(1)
        No command, nothing in flight.
    beats_done : Out(32)
        Beats taken since ``clear``.
    error : Out(1)
        A burst was answered by another response than OKAY (pulse).
    error_resp : Out(2)
        That response; SLVERR for EXOKAY.
    error_addr : Out(addr_bits)
        Address of the first beat of the burst.
    axi : Out(Axi4WriteSignature)

    Raises
    ------
    ValueError
        If a parameter is not as above.
    """

    LATENCY = 3  # cycles, command transfer to AWVALID

    cmd: stream.Interface
    i: stream.Interface
    abort: Signal
    clear: Signal
    idle: Signal
    beats_done: Signal
    error: Signal
    error_resp: Signal
    error_addr: Signal
    axi: Axi4WriteBus

    def __init__(
        self, *, addr_bits: int, data_bits: int, max_burst: int, max_outstanding: int, check_slave: bool = True
    ) -> None:
        axi = Axi4WriteSignature(addr_bits=addr_bits, data_bits=data_bits)
        check_burst(data_bits=data_bits, max_burst=max_burst, max_outstanding=max_outstanding)
        self.addr_bits, self.data_bits, self.max_burst = addr_bits, data_bits, max_burst
        self.max_outstanding, self.check_slave = max_outstanding, check_slave
        super().__init__(
            {
                "cmd": In(stream.Signature(data.StructLayout({"addr": addr_bits, "beats": BEATS_BITS}))),
                "i": In(stream.Signature(data_bits)),
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
        word_bits = addr_bits - (data_bits // 8).bit_length() + 1
        self.splitter = BurstSplitter(word_bits=word_bits, max_burst=max_burst)
        self.flight = Queue(word_bits, depth=max_outstanding)  # bursts without response: where they begin
        self.filling = Queue(range(max_burst), depth=max_outstanding)  # bursts that lack beats: their length
        self.beat = Signal(range(max_burst))  # of the burst that is filled
        self.complete = Signal(range(max_outstanding + 1))  # bursts whose data were taken and that lack their response
        self.fresh = Signal()  # the address on offer is so for the first cycle
        self.free = Signal(init=1)  # no beat is on offer: once more, for its many bits
        self.flushing = Signal()
        self.rules = Axi4WriteRules(
            self.axi,
            data_bits=data_bits,
            max_outstanding=max_outstanding,
            slave=Check.ASSERT if check_slave else Check.OFF,
            name="writer",
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.splitter = splitter = self.splitter
        m.submodules.flight = flight = self.flight
        m.submodules.filling = filling = self.filling
        m.submodules.rules = self.rules
        size = (self.data_bits // 8).bit_length() - 1
        aw, w, b = self.axi.aw, self.axi.w, self.axi.b

        flush = Signal()
        m.d.comb += flush.eq(self.abort | self.flushing)
        m.d.sync += self.flushing.eq(flush & ~self.idle)

        # Addresses. A burst needs a place in the list of those in flight and the register of the address channel.
        issue = Signal()
        m.d.comb += [
            splitter.i.valid.eq(self.cmd.valid & ~flush),
            self.cmd.ready.eq(splitter.i.ready & ~flush),
            splitter.i.payload.word.eq(self.cmd.payload.addr >> size),
            splitter.i.payload.beats.eq(self.cmd.payload.beats),
            splitter.drop.eq(flush),
            issue.eq(splitter.o.valid & flight.i.ready & (~aw.valid | aw.ready) & ~flush),
            splitter.o.ready.eq(issue),
            flight.i.valid.eq(issue),
            flight.i.payload.eq(splitter.o.payload.word),
            aw.payload.size.eq(size),
            aw.payload.burst.eq(Burst.INCR),
            aw.payload.cache.eq(CACHE),
            aw.payload.prot.eq(PROT),
        ]
        with m.If(aw.ready):
            m.d.sync += aw.valid.eq(0)
        with m.If(issue):
            m.d.sync += aw.valid.eq(1)
        with m.If(~aw.valid | aw.ready):
            m.d.sync += [
                aw.payload.addr.eq(splitter.o.payload.word << size),
                aw.payload.len.eq(splitter.o.payload.last),
            ]

        m.d.sync += self.fresh.eq(issue)

        # Data, from a register: a beat on offer survives an abort. There is always a place in `filling`, since each of
        # its bursts has one in `flight`.
        load = Signal()
        last_beat = Signal()
        m.d.comb += [
            filling.i.valid.eq(self.fresh),
            filling.i.payload.eq(aw.payload.len),
            self.i.ready.eq(filling.o.valid & (~w.valid | w.ready) & ~flush),
            load.eq(filling.o.valid & (~w.valid | w.ready) & (self.i.valid | flush)),
            last_beat.eq(self.beat == filling.o.payload),
            filling.o.ready.eq(load & last_beat),
        ]
        with m.If(w.ready):
            m.d.sync += w.valid.eq(0)
        with m.If(load):
            m.d.sync += [w.valid.eq(1), self.beat.eq(Mux(last_beat, 0, self.beat + 1))]
        # A free register takes what is there: with `load` it is on offer.
        with m.If(w.ready):
            m.d.sync += self.free.eq(1)
        with m.If(load):
            m.d.sync += self.free.eq(0)
        with m.If(self.free | w.ready):
            m.d.sync += [
                w.payload.data.eq(self.i.payload),  # without strobes it is nobody's
                w.payload.strb.eq((~flush).replicate(self.data_bits // 8)),
                w.payload.last.eq(last_beat),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.beats_done.eq(self.beats_done + 1)

        # Responses. BREADY is 0 unless data and address of a burst were taken: nothing can be counted twice. Only the
        # newest burst may lack its address.
        completed = Signal()
        answered = Signal()
        m.d.comb += [
            completed.eq(w.valid & w.ready & w.payload.last),
            b.ready.eq((self.complete != 0) & ~(aw.valid & (flight.level == 1))),
            answered.eq(b.valid & b.ready),
            flight.o.ready.eq(answered),
            self.error.eq(answered & (b.payload.resp != Response.OKAY) & ~flush),
            # No access is exclusive: EXOKAY is a slave's mistake.
            self.error_resp.eq(Mux(b.payload.resp == Response.DECERR, Response.DECERR, Response.SLVERR)),
            self.error_addr.eq(Cat(Const(0, size), flight.o.payload)),
            self.idle.eq(splitter.i.ready & ~splitter.o.valid & ~flight.o.valid),
        ]
        m.d.sync += self.complete.eq(self.complete + completed - answered)
        with m.If(self.clear):
            require(m, Check.ASSERT, self.idle, "writer: clear only while idle")
            m.d.sync += self.beats_done.eq(0)
        return m
