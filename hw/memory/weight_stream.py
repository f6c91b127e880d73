"""The weight stream: several AXI4 read ports side by side, prefetched into a deep queue of words."""

from functools import reduce
from operator import and_

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import Axi4ReadBus, Axi4ReadSignature
from moesaic.hw.memory.axi_reader import AxiReader
from moesaic.hw.memory.bursts import BEATS_BITS
from moesaic.hw.stream.buffer import PairBuffer
from moesaic.hw.stream.rules import Check, StreamContract, connect_stream, require

__all__ = ["MOST_LEAD", "WeightStream"]

COUNT_BITS = 64  # width of the byte counters
MOST_LEAD = 2  # bursts by which a port may be ahead of the slowest


class WeightStream(wiring.Component):
    """Read the same transfer on all ports, and queue its words for the array.

    The k-th beats of the ports, port 0 lowest, are one stripe; ``word_bytes`` over the bytes of a stripe (1 to 16)
    successive stripes, the first one lowest, are one word. A transfer is a whole number of words.

    Each port writes its beats straight into its own banks of the queue, so that the queue is also what evens out the
    ports: a slow port holds back the words, and not at once the other ports. A burst is requested only when the queue
    has room for it, so responses never wait, and when no other port is more than two bursts behind: ports that stay
    together stay in different banks of a DRAM (`compiler.image`). One beat per port and cycle in, one word per cycle
    out; latency from the last beat of a word to ``o.valid`` is 4 cycles. Empty and idle after reset.

    ``skip`` throws away the next words as they arrive, as many per cycle as are there; meanwhile ``o`` offers nothing.
    ``abort`` stops all ports (see :class:`AxiReader`); what is queued then is not a whole number of words in every
    port, so ``clear`` must follow before the next transfer.

    Parameters
    ----------
    ports : int
        AXI4 ports.
    addr_bits : int
        Width of an address.
    port_bits : int
        Width of a beat.
    word_bytes : int, bytes
        Width of a word.
    depth_words : int, words
        Capacity, a power of two, with room for a burst.
    max_burst : int, beats
        Longest burst of a port.
    max_outstanding : int, bursts
        Bursts that a port may have in flight.
    check_slave : bool
        Also assert the rules that the slaves have to keep.
    ram_style : str
        Kind of memory that the queue becomes: ``block`` or ``ultra``.

    Members
    -------
    cmd : In(stream of {addr: [ports] of unsigned(addr_bits), beats: unsigned(24)})
        Transfer: address of each port, and the number of beats per port.
    o : Out(stream of unsigned(8 * word_bytes))
        Words; withdrawn by ``skip`` and ``clear``.
    skip : In(stream of unsigned(24))
        Number of words to throw away; ready when they are gone.
    level : Out(range(depth_words + 1))
        Words queued, without those on offer at ``o`` or right behind.
    abort : In(1)
        Stop, as above.
    clear : In(1)
        Only while idle: forget all words, zero the counters.
    idle : Out(1)
        No command, nothing in flight; words may be queued.
    error : Out(1)
        In the cycle before, a beat came with another response than OKAY or a misplaced ``RLAST`` (pulse); of several
        ports the lowest reports.
    error_resp : Out(2)
        Its response.
    error_addr : Out(addr_bits)
        Its address.
    error_port : Out(range(ports))
        Its port.
    bytes_read : Out(64)
        Bytes delivered by the ports since ``clear``.
    bytes_skipped : Out(64)
        Of those, bytes thrown away by ``skip``.
    axi : Out(Axi4ReadSignature)[ports]

    Raises
    ------
    ValueError
        If a parameter is not as above.
    """

    LATENCY = 4  # cycles, last beat of a word to o.valid

    cmd: stream.Interface
    o: stream.Interface
    skip: stream.Interface
    level: Signal
    abort: Signal
    clear: Signal
    idle: Signal
    error: Signal
    error_resp: Signal
    error_addr: Signal
    error_port: Signal
    bytes_read: Signal
    bytes_skipped: Signal
    axi: list[Axi4ReadBus]

    def __init__(
        self,
        *,
        ports: int,
        addr_bits: int,
        port_bits: int,
        word_bytes: int,
        depth_words: int,
        max_burst: int,
        max_outstanding: int,
        check_slave: bool = True,
        ram_style: str = "block",
    ) -> None:
        if ports < 1:
            raise ValueError(f"ports must be positive, not {ports!r}")
        stripe_bytes = ports * port_bits // 8
        if word_bytes not in [stripe_bytes << k for k in range(5)]:
            raise ValueError(f"word_bytes must be 1, 2, 4, 8 or 16 stripes of {stripe_bytes} bytes, not {word_bytes!r}")
        if depth_words < 2 or depth_words & (depth_words - 1):
            raise ValueError(f"depth_words must be a power of two, not {depth_words!r}")
        self.stripes = word_bytes // stripe_bytes
        if depth_words * self.stripes < max_burst:
            raise ValueError(f"depth_words must have room for a burst of {max_burst} beats, not {depth_words!r}")
        self.ram_style = ram_style
        self.ports, self.port_bits, self.word_bytes, self.depth_words = ports, port_bits, word_bytes, depth_words
        self.readers = [
            AxiReader(
                addr_bits=addr_bits,
                data_bits=port_bits,
                max_burst=max_burst,
                max_outstanding=max_outstanding,
                credits=depth_words * self.stripes,
                check_slave=check_slave,
            )
            for _ in range(ports)
        ]
        command = data.StructLayout({"addr": data.ArrayLayout(unsigned(addr_bits), ports), "beats": BEATS_BITS})
        super().__init__(
            {
                "cmd": In(stream.Signature(command)),
                "o": Out(stream.Signature(8 * word_bytes)),
                "skip": In(stream.Signature(24)),
                "level": Out(range(depth_words + 1)),
                "abort": In(1),
                "clear": In(1),
                "idle": Out(1),
                "error": Out(1),
                "error_resp": Out(2),
                "error_addr": Out(addr_bits),
                "error_port": Out(range(ports)),
                "bytes_read": Out(COUNT_BITS),
                "bytes_skipped": Out(COUNT_BITS),
                "axi": Out(Axi4ReadSignature(addr_bits=addr_bits, data_bits=port_bits)).array(ports),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.contract = StreamContract(self.o, unless=self.skip.valid | self.clear, name="weights")
        for p, reader in enumerate(self.readers):
            m.submodules[f"reader_{p}"] = reader
            connect_stream(m, reader.axi.ar, self.axi[p].ar)
            connect_stream(m, self.axi[p].r, reader.axi.r)
            m.d.comb += [reader.abort.eq(self.abort), reader.clear.eq(self.clear)]
        self._dispatch(m)
        self._keep_step(m)
        self._store(m)
        self._report(m)
        return m

    def _dispatch(self, m: Module) -> None:
        """Give a command to every port; it is done in the cycle after the last port took it."""
        taken = Signal(self.ports)
        ready = Cat(reader.cmd.ready for reader in self.readers)
        m.d.comb += self.cmd.ready.eq(taken.all())
        for p, reader in enumerate(self.readers):
            m.d.comb += [
                reader.cmd.valid.eq(self.cmd.valid & ~taken[p]),
                reader.cmd.payload.addr.eq(self.cmd.payload.addr[p]),
                reader.cmd.payload.beats.eq(self.cmd.payload.beats),
            ]
        with m.If(self.cmd.valid):
            m.d.sync += taken.eq(Mux(self.cmd.ready, 0, taken | ready))
        with m.If(self.abort):
            m.d.sync += taken.eq(0)
        m.d.comb += self.idle.eq((Cat(reader.idle for reader in self.readers)).all() & (taken == 0))

    def _keep_step(self, m: Module) -> None:
        """Hold a port that has asked for more bursts than the slowest port that still has some to ask for."""
        leads = [Signal(range(MOST_LEAD + 2), name=f"lead_{p}") for p in range(self.ports)]
        # Every port is ahead, or has nothing to ask for. Judged a cycle late, so never in two cycles on end.
        together = Signal()
        ahead = reduce(and_, ((lead != 0) | ~reader.asking for lead, reader in zip(leads, self.readers, strict=True)))
        m.d.sync += together.eq(ahead & ~together)
        for lead, reader in zip(leads, self.readers, strict=True):
            m.d.comb += reader.hold.eq(lead >= MOST_LEAD)
            m.d.sync += lead.eq(lead + reader.asked - (together & (lead != 0)))
            with m.If(self.abort | self.clear):
                m.d.sync += lead.eq(0)

    def _store(self, m: Module) -> None:
        """Banks of the queue: one per port and stripe, all read at the same address; then a buffer of two words."""
        depth, stripes = self.depth_words, self.stripes
        stripe_log2 = stripes.bit_length() - 1
        head = PairBuffer(8 * self.word_bytes)
        m.submodules.head = ResetInserter(self.clear)(head)
        full = Signal()  # the banks' outputs are the oldest word
        taken = Signal()
        skipping = Signal()
        begins, ends = Signal(), Signal()  # the cycle before it, and its last
        serves = Signal()  # the next cycle is none of it
        # A word is offered to the buffer, or by it, judged a cycle ahead: not while `skipping`.
        offering = Signal()
        shown = Signal()
        # Words of the queue that are skipped in this cycle, if they were counted; they are all that are left.
        amount = Signal(range(depth + 1))
        counted = Signal()
        all_left = Signal()
        # words to skip; it is not 0, judged a step ahead
        left = Signal(24)
        some_left = Signal()
        freed = Signal(range(depth + 1))
        one = Signal()  # exactly one word is queued
        released = Signal(range(depth + 1))
        m.d.sync += released.eq(freed)
        whole = []

        for p, reader in enumerate(self.readers):
            # Beats in registers: what decides whether there is one has come a long way. An index of its own for each
            # port's banks, for they are many.
            valid, beat = Signal(name=f"valid_{p}"), Signal(self.port_bits, name=f"beat_{p}", reset_less=True)
            fill = Signal(range(depth * stripes), name=f"fill_{p}")  # beats received
            ahead = Signal(range(depth + 1), name=f"ahead_{p}")  # words received, not yet complete in all ports
            done = Signal(name=f"done_{p}")  # the last beat of a word
            some = Signal(name=f"some_{p}")  # there is such a word, judged a step ahead
            # The next word's address is there before it is known whether this one leaves.
            index, next_index = Signal(range(depth), name=f"read_{p}"), Signal(range(depth), init=1, name=f"next_{p}")
            following, after = Signal(range(depth), name=f"following_{p}"), Signal(range(depth), name=f"after_{p}")
            m.d.sync += [valid.eq(reader.o.valid), beat.eq(reader.o.payload)]
            m.d.sync += [index.eq(following), next_index.eq(after)]
            m.d.comb += [
                reader.o.ready.eq(1),
                done.eq(valid & (fill[:stripe_log2] == stripes - 1)),
                reader.release.eq(released << stripe_log2),
                following.eq(Mux(taken, next_index, index)),
                after.eq(Mux(taken, next_index + 1, next_index)),
            ]
            with m.If(valid):
                m.d.sync += fill.eq(fill + 1)
            with m.If(counted):
                m.d.comb += [following.eq(index + amount), after.eq(next_index + amount)]
            for s in range(stripes):
                bank: memory.Memory = memory.Memory(
                    shape=unsigned(self.port_bits), depth=depth, init=[], attrs={"ram_style": self.ram_style}
                )
                m.submodules[f"bank_{p}_{s}"] = bank
                write, read = bank.write_port(), bank.read_port()
                place = s * self.ports + p
                m.d.comb += [
                    write.addr.eq(fill >> stripe_log2),
                    write.data.eq(beat),
                    write.en.eq(valid & (fill[:stripe_log2] == s)),
                    read.addr.eq(following),
                    read.en.eq(1),
                    head.i.payload.word_select(place, self.port_bits).eq(read.data),
                ]
            whole.append((ahead, some, done, fill, index, next_index))

        # A word that all ports have delivered joins the queue in the cycle after its last beat was written.
        joined = Signal()
        m.d.comb += joined.eq(reduce(and_, [some for _, some, *_ in whole]))
        for ahead, some, done, *_ in whole:
            m.d.sync += [ahead.eq(ahead + done - joined), some.eq(done | Mux(joined, ahead != 1, some))]

        m.d.comb += [
            head.i.valid.eq(offering),
            taken.eq(head.i.valid & head.i.ready),
            self.o.valid.eq(shown & ~self.skip.valid),
            self.o.payload.eq(head.o.payload),
            # With words to skip, the buffer is emptied first; while more than it holds are skipped, it is empty.
            head.o.ready.eq(Mux(skipping, some_left, self.o.ready & ~self.skip.valid)),
            freed.eq(Mux(counted, amount, taken)),
            one.eq(self.level == 1),
        ]
        filled = Signal()
        m.d.comb += [
            filled.eq(joined | Mux(counted, self.level != amount, full & ~(taken & one))),
            begins.eq(~skipping & self.skip.valid),
            ends.eq(skipping & ~counted & ~some_left),
            serves.eq(Mux(skipping, ends, ~begins)),
        ]
        m.d.sync += [
            self.level.eq(self.level + joined - freed),
            full.eq(filled),
            offering.eq(filled & serves),
            # The buffer's next `valid`, written out: the answer of the one who takes it comes a long way.
            shown.eq(serves & (offering | (head.o.valid & (skipping | ~self.o.ready | head.second)))),
        ]

        # First the words in the buffer, one by one; then, every other cycle, as many as the queue holds.
        # a word of the buffer; the queue holds fewer words
        passed = Signal()
        fewer = Signal()
        with m.If(skipping):
            with m.If(counted):  # the buffer is empty then, and stays so
                m.d.sync += [left.eq(left - amount), some_left.eq(~all_left), counted.eq(0)]
            with m.Elif(head.o.valid & some_left):
                m.d.comb += passed.eq(1)
                m.d.sync += [left.eq(left - 1), some_left.eq(left != 1)]
            with m.Elif(some_left):
                m.d.comb += fewer.eq(self.level < left)
                m.d.sync += [amount.eq(Mux(fewer, self.level, left)), all_left.eq(~fewer), counted.eq(1)]
        m.d.comb += self.skip.ready.eq(ends)
        with m.If(ends):
            m.d.sync += skipping.eq(0)
        with m.If(begins):
            m.d.sync += [left.eq(self.skip.payload), some_left.eq(self.skip.payload != 0), skipping.eq(1)]

        skipped = Signal(range(depth + 1))
        m.d.sync += [
            skipped.eq(Mux(counted, amount, passed)),
            self.bytes_skipped.eq(self.bytes_skipped + (skipped << (self.word_bytes.bit_length() - 1))),
        ]
        require(m, Check.ASSERT, self.level + joined <= depth, "weights: the queue must not overflow")
        with m.If(self.clear):
            # What was released by words of before belongs to credits that no longer are.
            m.d.sync += [
                self.level.eq(0),
                full.eq(0),
                offering.eq(0),
                shown.eq(0),
                skipping.eq(0),
                counted.eq(0),
                released.eq(0),
                self.bytes_skipped.eq(0),
            ]
            for ahead, some, _, fill, index, next_index in whole:
                m.d.sync += [ahead.eq(0), some.eq(0), fill.eq(0), index.eq(0), next_index.eq(1)]

    def _report(self, m: Module) -> None:
        """Counters, and the error of the lowest port that has one."""
        beats = Signal(range(self.ports + 1))
        m.d.sync += beats.eq(_count([reader.o.valid for reader in self.readers]))
        m.d.sync += self.bytes_read.eq(self.bytes_read + beats * (self.port_bits // 8))
        with m.If(self.clear):
            m.d.sync += self.bytes_read.eq(0)
        for p, reader in reversed(list(enumerate(self.readers))):
            failed = Signal(name=f"failed_{p}")
            resp, addr = (
                Signal(2, name=f"failed_resp_{p}"),
                Signal(len(self.error_addr), name=f"failed_addr_{p}", reset_less=True),
            )
            m.d.sync += [failed.eq(reader.error), resp.eq(reader.error_resp), addr.eq(reader.error_addr)]
            with m.If(failed):
                m.d.comb += [
                    self.error.eq(1),
                    self.error_resp.eq(resp),
                    self.error_addr.eq(addr),
                    self.error_port.eq(p),
                ]


def _count(bits: list):
    """Number of ones, as a balanced tree."""
    if len(bits) == 1:
        return bits[0]
    return _count(bits[: len(bits) // 2]) + _count(bits[len(bits) // 2 :])
