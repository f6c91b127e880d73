"""Typed first-in first-out queue of a stream."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Queue"]


class Queue(wiring.Component):
    """First-in first-out queue that keeps the type of its payload.

    One payload per cycle in and out, latency 1 cycle, no combinational path between ``i`` and ``o``. The storage is
    read asynchronously (LUT RAM), so it is meant for up to a few hundred entries. Empty after reset or ``clear``.

    Parameters
    ----------
    shape : ShapeLike
        Payload.
    depth : int
        Capacity, entries. A queue of one entry passes a payload every other cycle.

    Members
    -------
    i : In(stream of shape)
    o : Out(stream of shape)
    clear : In(1)
        Forget all entries; nothing is accepted in that cycle.
    level : Out(range(depth + 1))
        Entries held.

    Raises
    ------
    ValueError
        If depth is not positive.
    """

    LATENCY = 1  # cycles, input transfer to output valid

    i: stream.Interface
    o: stream.Interface
    clear: Signal
    level: Signal

    def __init__(self, shape: ShapeLike, *, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be positive, not {depth!r}")
        self.shape, self.depth = shape, depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "clear": In(1),
                "level": Out(range(depth + 1)),
            }
        )
        self.storage: memory.Memory = memory.Memory(shape=shape, depth=depth, init=[])
        self.write_index = Signal(range(depth))
        self.read_index = Signal(range(depth))
        # no place left; there is an entry: judged ahead, for many ask
        self.full = Signal()
        self.some = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.storage = self.storage
        write = self.storage.write_port()
        read = self.storage.read_port(domain="comb")

        def after(index: Signal):
            return Mux(index == self.depth - 1, 0, index + 1)

        push = Signal()
        pop = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.full & ~self.clear),
            self.o.valid.eq(self.some),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
            write.addr.eq(self.write_index),
            write.data.eq(self.i.payload),
            write.en.eq(~self.full),  # a free place takes what is there: it counts with `push`
            read.addr.eq(self.read_index),
            self.o.payload.eq(read.data),
        ]
        with m.If(push):
            m.d.sync += self.write_index.eq(after(self.write_index))
        with m.If(pop):
            m.d.sync += self.read_index.eq(after(self.read_index))
        m.d.sync += [
            self.level.eq(self.level + push - pop),
            self.some.eq(push | (self.some & ~(pop & (self.level == 1)))),
            self.full.eq((self.full | (push & (self.level == self.depth - 1))) & ~pop),
        ]
        with m.If(self.clear):
            m.d.sync += [
                self.level.eq(0),
                self.some.eq(0),
                self.full.eq(0),
                self.write_index.eq(0),
                self.read_index.eq(0),
            ]
        return m
