"""What the proofs of the AXI4 movers share: the bursts that a command must become, and queues as invariants."""

from amaranth.hdl import Assert, Module, Mux, Signal

from moesaic.hw.memory.bursts import BEATS_BITS
from moesaic.hw.stream.queue import Queue

__all__ = ["QueueView", "expect_bursts"]


class QueueView:
    """All entries of a queue, and which of them are valid; to be made before the queue is elaborated."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.ports = [queue.storage.read_port(domain="comb") for _ in range(queue.depth)]

    def connect(self, m: Module, *, invariants: bool) -> None:
        """Drive the ports; assert that indices are in range and a level apart."""
        queue = self.queue
        for k, port in enumerate(self.ports):
            m.d.comb += port.addr.eq(k)
        if not invariants:
            return
        end = Signal(8)
        m.d.comb += [
            end.eq(queue.read_index + queue.level),
            Assert(queue.level <= queue.depth),
            Assert(queue.some == (queue.level != 0)),
            Assert(queue.full == (queue.level == queue.depth)),
            Assert(queue.read_index < queue.depth),
            Assert(queue.write_index == Mux(end >= queue.depth, end - queue.depth, end)),
        ]

    def valid(self, k: int):
        """Whether storage entry ``k`` is in use."""
        queue = self.queue
        distance = Mux(k >= queue.read_index, k - queue.read_index, k + queue.depth - queue.read_index)
        return distance < queue.level

    def entry(self, k: int):
        """Storage entry ``k``."""
        return self.ports[k].data


def expect_bursts(m: Module, dut, channel, *, size: int, flush, invariants: bool) -> None:
    """Assert that addresses are those of the command: contiguous, complete, and none after an abort."""
    splitter = dut.splitter
    past_valid, past_ready, past_flush = Signal(), Signal(), Signal()
    m.d.sync += [past_valid.eq(channel.valid), past_ready.eq(channel.ready), past_flush.eq(flush)]
    new = Signal()
    m.d.comb += new.eq(channel.valid & (~past_valid | past_ready))

    word = Signal.like(splitter.word)
    left = Signal(BEATS_BITS)
    beats = Signal(9)
    m.d.comb += beats.eq(channel.payload.len + 1)
    with m.If(new):
        m.d.comb += [
            Assert(~past_flush, "no new burst after an abort"),
            Assert(channel.payload.addr == word << size, "bursts are contiguous"),
            Assert(beats <= left, "no more beats than the command has"),
        ]
        m.d.sync += [word.eq(word + beats), left.eq(left - beats)]
    with m.If(dut.cmd.valid & dut.cmd.ready):
        m.d.comb += Assert(left == Mux(new, beats, 0), "all beats of a command are requested before the next")
        m.d.sync += [word.eq(dut.cmd.payload.addr >> size), left.eq(dut.cmd.payload.beats)]
    with m.If(flush):
        m.d.sync += left.eq(0)

    if not invariants:
        return
    # What is left is in the splitter, in its output or in the address register.
    offered = Signal(9)
    m.d.comb += offered.eq(Mux(splitter.o.valid, splitter.o.payload.last + 1, 0))
    total = Signal(26)
    inside = Mux(splitter.more, splitter.beyond + 1, 0)
    m.d.comb += total.eq(inside + offered + Mux(new, beats, 0))
    m.d.comb += Assert(left == total)
    with m.If(splitter.more):
        m.d.comb += Assert(splitter.word == (word + offered + Mux(new, beats, 0))[: len(word)])
    with m.If(splitter.o.valid):
        m.d.comb += Assert(splitter.o.payload.word == (word + Mux(new, beats, 0))[: len(word)])
        m.d.comb += Assert(within_cut(splitter.o.payload.word, splitter.o.payload.last, dut.max_burst))
    with m.If(channel.valid):
        payload = channel.payload
        m.d.comb += [
            Assert(payload.addr[:size] == 0),
            Assert(payload.len < dut.max_burst),
            Assert(within_cut(payload.addr >> size, payload.len, dut.max_burst)),
        ]


def within_cut(word, last, max_burst: int):
    """Whether a burst stays between two multiples of ``max_burst`` beats."""
    bits = (max_burst - 1).bit_length()
    return word[:bits] + last < max_burst
