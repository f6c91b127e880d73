"""What is proved of the instruction fetch: its duties, and the invariants that make them inductive."""

from typing import Any

from amaranth.hdl import Array, Assert, Assume, Cat, Elaboratable, Fragment, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from inside import Opened
from movers import QueueView
from prove import free_inputs
from reader_contract import FreeReader, ReaderContract

from moesaic.hw.bus.axi import Response
from moesaic.hw.control.fetch import OUTSTANDING, STREAMS, InstructionFetch
from moesaic.hw.memory.window import WindowGuard
from moesaic.hw.spec.registers import ErrorCode, ErrorUnit
from moesaic.hw.stream.rules import Check, StreamContract

__all__ = ["FetchProof"]

NUMBER_BITS = 4  # width of an instruction's number
BEATS_BITS = 6  # width of a number of beats in flight


class FreeGuard(wiring.Component):
    """Holds one transfer, as `WindowGuard` is proved to; passes or refuses it when `passes` or `refuses` say so."""

    def __init__(self, like: WindowGuard) -> None:
        super().__init__(like.signature)
        Fragment.get(like, None)  # Amaranth warns of what is never elaborated
        self.held: Any = Signal(like.i.payload.shape())
        self.pending = Signal()
        self.free = self.passes, self.refuses = Signal(), Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [
            self.i.ready.eq(~self.pending & ~self.abort),
            self.o.valid.eq(self.pending & self.passes & ~self.abort),
            self.o.p.addr.eq(self.held.addr),
            self.o.p.beats.eq(self.held.beats),
            self.error.eq(self.pending & self.refuses & ~self.passes & ~self.abort),
            self.error_addr.eq(self.held.addr),
        ]
        with m.If(self.error | (self.o.valid & self.o.ready) | self.abort):
            m.d.sync += self.pending.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.pending.eq(1), self.held.eq(self.i.payload)]
        return m


class FetchProof(Elaboratable):
    """Any reader that keeps its contract, any window, any users; one instruction of one stream is followed."""

    def __init__(self, dut: InstructionFetch, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.reader = dut.reader = FreeReader(dut.reader)
        self.guard = dut.guard = FreeGuard(dut.guard)
        self.stream, self.number = Signal(range(len(STREAMS))), Signal(NUMBER_BITS)  # what is followed
        self.free = [*free_inputs(dut), *self.reader.free, *self.guard.free, self.stream, self.number]
        # Planted bugs are looked for in short programs at low addresses.
        self.low = (
            [] if invariants else [(port, Signal(3, name=f"low_{port.name}")) for port in (*dut.base, *dut.count)]
        )
        if self.low:
            self.free = [port for port in self.free if not any(port is high for high, _ in self.low)]
            self.free += [low for _, low in self.low]
        self.views = [QueueView(queue) for queue in (dut.order, *dut.queues)]
        self.oldest = [dut.order.storage.read_port(domain="comb") for _ in range(OUTSTANDING)]
        self.place = [queue.storage.read_port(domain="comb") for queue in dut.queues]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self.dut
        self.inner = m.submodules.dut = Opened(dut, platform)
        self.chosen = data.View(dut.request, self.inner["chosen"])
        self.contract = m.submodules.contract = ReaderContract(self.reader, reader=Check.ASSUME, user=Check.ASSERT)
        for name, o in zip(STREAMS, dut.o, strict=True):
            m.submodules[name] = StreamContract(o, unless=dut.clear)
        m.d.comb += [port.eq(low) for port, low in self.low]
        self._assume(m)
        self._requests(m)
        self._follow(m)
        self._errors(m)
        if self.invariants:
            self._choice(m)
            self._flight(m)
            self._places(m)
        return m

    def _assume(self, m: Module) -> None:
        """What the supervisor does, and the host may."""
        dut = self.dut
        known, aborting = Signal(), Signal()
        self.still = still = Signal(2)  # idle or aborting in the cycle before, and the one before that
        settings = Cat(*dut.base, *dut.count)
        was, followed = Signal(len(settings)), Signal(len(self.stream) + NUMBER_BITS)
        self.started = Signal()
        m.d.sync += [known.eq(1), was.eq(settings), followed.eq(Cat(self.stream, self.number)), aborting.eq(dut.abort)]
        m.d.sync += still.eq(Cat(dut.idle | dut.abort, still[0]))
        m.d.sync += self.started.eq((self.started | dut.run) & ~dut.clear)
        m.d.comb += [
            Assume(~known | (followed == Cat(self.stream, self.number)), "the same instruction is followed all along"),
            Assume(self.stream < len(STREAMS)),
            Assume(~self.started | (was == settings), "bases and counts stay from the start to the next clear"),
            Assume(~dut.clear | (dut.idle & dut.abort & ~dut.run), "clear only while idle, and under abort"),
            Assume(~dut.clear | aborting | ~self.started, "for two cycles, if something has run"),
            Assume(~dut.clear | still.all(), "as `Supervisor` is proved to do"),
            Assume(~aborting | dut.abort | self.cleared(m), "abort holds until clear"),
        ]

    def cleared(self, m: Module) -> Signal:
        """Whether the cycle before had a clear."""
        result = Signal()
        m.d.sync += result.eq(self.dut.clear)
        return result

    def _requests(self, m: Module) -> None:
        """Each request is for the next instructions of its stream."""
        dut, chosen, guard = self.dut, self.chosen, self.guard
        self.requested = [Signal(32, name=f"requested_{name}") for name in STREAMS]
        self.handed = [Signal(NUMBER_BITS, name=f"handed_{name}") for name in STREAMS]
        self.sent = sent = Signal()
        m.d.comb += sent.eq(guard.i.valid & guard.i.ready)
        first = Array(self.requested)[chosen.stream]
        with m.If(sent):
            m.d.comb += [
                Assert(chosen.stream < len(STREAMS)),
                Assert(guard.i.p.addr == (Array(dut.base)[chosen.stream] + first * dut.instruction_bytes)[:64]),
                Assert(guard.i.p.beats == chosen.count * dut.beats),
                Assert((chosen.count != 0) & (chosen.count <= dut.chunk)),
                Assert(chosen.count <= Array(dut.count)[chosen.stream] - first, "nothing beyond the program's end"),
                Assert(~dut.abort, "no request in an abort"),
            ]
        m.d.comb += Assert(~self.reader.cmd.valid | ~dut.abort)
        begun = Signal(2)  # cycles since a run began: the status of a run counts on the bus engine to begin later
        m.d.sync += begun.eq(Mux(dut.clear, 0, begun + (dut.run | begun.any()) - begun.all()))
        m.d.comb += [
            Assert(~sent | (begun >= 2), "no request at once"),
            Assert(~self.inner["in_locate"] | begun.any()),
            Assert(~self.inner["in_send"] | (begun >= 2)),
        ]
        self.inside = []
        running = Signal()
        m.d.sync += running.eq(dut.run & ~dut.clear)
        for k, (requested, handed, o) in enumerate(zip(self.requested, self.handed, dut.o, strict=True)):
            inside = Signal(NUMBER_BITS, name=f"inside_{STREAMS[k]}")  # requested, and not handed over
            self.inside.append(inside)
            m.d.comb += inside.eq(requested - handed)
            m.d.sync += [
                requested.eq(requested + Mux(sent & (chosen.stream == k), chosen.count, 0)),
                handed.eq(handed + (o.valid & o.ready)),
            ]
            m.d.comb += [
                Assert(~o.valid | (inside != 0), "no instruction that was not asked for"),
                Assert(inside <= dut.depth, "no more than there is room for"),
            ]
            with m.If(dut.exhausted[k] & running & dut.run):
                m.d.comb += Assert((requested == dut.count[k]) & (inside == 0), "exhausted is handed out to the end")
            with m.If(dut.clear):
                m.d.sync += [requested.eq(0), handed.eq(0)]

    def _follow(self, m: Module) -> None:
        """The beats of the instruction that is followed, as the reader delivers them, and its way to the outlet."""
        dut, chosen, reader, stream = self.dut, self.chosen, self.reader, self.stream
        self.delivered = delivered = Signal()
        self.owed = Signal(BEATS_BITS)  # beats of all requests, not delivered
        self.to_go = Signal(BEATS_BITS)  # of these, up to the last one of the instruction
        self.beats = [Signal(dut.data_bits, name=f"beat_{b}") for b in range(dut.beats)]
        after, offset = Signal(BEATS_BITS), Signal(NUMBER_BITS)
        m.d.comb += [
            delivered.eq(reader.o.valid & reader.o.ready),
            after.eq(self.owed - delivered),
            offset.eq(self.number - Array(self.requested)[stream]),
            Assert(reader.o.ready, "the port never waits"),
        ]
        m.d.sync += self.owed.eq(after + Mux(self.sent, chosen.count * dut.beats, 0))
        with m.If(self.sent & (chosen.stream == stream) & (offset < chosen.count)):
            m.d.sync += self.to_go.eq(after + (offset + 1) * dut.beats)
        with m.Elif(delivered & (self.to_go != 0)):
            m.d.sync += self.to_go.eq(self.to_go - 1)
        self.its_beat = Signal()
        m.d.comb += self.its_beat.eq(delivered & (self.to_go != 0) & (self.to_go <= dut.beats))
        for b, beat in enumerate(self.beats):
            with m.If(delivered & (self.to_go == dut.beats - b)):
                m.d.sync += beat.eq(reader.o.payload)

        # Instructions of its stream before it, of those in the unit; whether it is one of them.
        self.before, self.present = Signal(NUMBER_BITS), Signal()
        m.d.comb += self.before.eq(self.number - Array(self.handed)[stream])
        m.d.comb += self.present.eq(self.before < Array(self.inside)[stream])
        valid = Array([o.valid for o in dut.o])[stream]
        self.waited = Signal(2)
        at_outlet = self.present & (self.before == 0)
        with m.If(valid & at_outlet):
            m.d.comb += Assert(self.to_go == 0, "no instruction before its beats")
            m.d.comb += Assert(Array([o.payload for o in dut.o])[stream] == Cat(*self.beats), "unchanged and in order")
        m.d.sync += self.waited.eq(Mux(at_outlet & (self.to_go == 0) & ~valid, self.waited + 1, 0))
        m.d.comb += Assert(self.waited < 3, "an instruction is offered in time")
        with m.If(dut.clear):
            m.d.sync += [self.owed.eq(0), self.to_go.eq(0), self.waited.eq(0)]

    def _errors(self, m: Module) -> None:
        """Errors are reported with their stream: a beat's in the next cycle, a refused request's at once."""
        dut, reader, guard, report = self.dut, self.reader, self.guard, self.dut.report
        wrong, its, resp = Signal(), Signal(), Signal(2)
        address, asker = Signal(dut.addr_bits), Signal(range(len(STREAMS)))
        m.d.sync += [wrong.eq(reader.error), its.eq(self.its_beat), resp.eq(reader.error_resp)]
        m.d.sync += address.eq(reader.error_addr)
        with m.If(self.sent):
            m.d.sync += asker.eq(self.chosen.stream)
        m.d.comb += Assert(report.valid == (wrong | guard.error), "an error is reported, and nothing else")
        with m.If(wrong):
            code = Mux(resp == Response.DECERR, ErrorCode.FETCH_DECERR.value, ErrorCode.FETCH_SLVERR.value)
            m.d.comb += Assert((report.code == code) & (report.address == address))
            with m.If(its):
                m.d.comb += Assert(report.index == self.stream, "with the stream that the beat is for")
        with m.Elif(guard.error):
            m.d.comb += Assert((report.code == ErrorCode.ADDRESS_RANGE.value) & (report.address == guard.held.addr))
            m.d.comb += Assert(report.index == asker, "with the stream that asked")
        with m.If(report.valid):
            m.d.comb += Assert(report.unit == ErrorUnit.FETCH.value)
        failed = Signal()
        m.d.sync += failed.eq((failed | report.valid) & ~dut.clear)
        m.d.comb += Assert(~failed | ~self.sent, "no request after an error")
        if self.invariants:
            m.d.comb += Assert(failed == self.inner["failed"])
            m.d.comb += Assert(wrong == self.inner["wrong"])
            m.d.comb += Assert(~wrong | ((resp == self.inner["response"]) & (address == self.inner["wrong_addr"])))
            m.d.comb += Assert(~guard.pending | (asker == self.inner["in_guard"]))
            m.d.comb += Assert(~wrong | self.inner["taken"] | dut.clear)

    def _choice(self, m: Module) -> None:
        """Invariants: what a stream would ask for, and what was chosen."""
        dut, inner, chosen = self.dut, self.inner, self.chosen
        settle, booked = inner["settle"], inner["booked"]
        choosing = inner["in_locate"] | inner["in_send"]
        room = [Signal(4, name=f"room_{name}") for name in STREAMS]  # for instructions, in a stream's queue
        left = [Signal(32, name=f"left_{name}") for name in STREAMS]  # instructions not asked for
        m.d.comb += [
            Assert(inner["in_pick"] + inner["in_locate"] + inner["in_send"] == 1),
            Assert(chosen.stream < len(STREAMS)),
            Assert(inner["turn"] < len(STREAMS)),
            Assert(settle <= 4),
            Assert((settle == 4) | self.started),
            Assert(~booked | (inner["in_pick"] & (settle == 4))),
            Assert(~choosing | self.started),
        ]
        for k, name in enumerate(STREAMS):
            mine = inner[f"booked_{name}"]
            amount = Mux(left[k] > dut.chunk, dut.chunk, left[k])
            m.d.comb += [
                room[k].eq(dut.depth - dut.reserved[k]),
                left[k].eq(dut.count[k] - dut.issued[k]),
                Assert(mine == (booked & (chosen.stream == k))),
                Assert(self.requested[k] == dut.issued[k] + Mux(mine, chosen.count, 0)),
                Assert(self.started | (self.requested[k] == 0)),
                Assert(~self.started | (dut.issued[k] <= dut.count[k])),
                Assert(~mine | ((chosen.count <= left[k]) & (chosen.count <= room[k]))),
                Assert(dut.reserved[k] <= dut.depth),
                Assert(self.inside[k] == dut.reserved[k] + Mux(mine, chosen.count, 0)),
                Assert((settle > 2) | (inner[f"left_{name}"] == left[k])),
            ]
            with m.If(settle <= 1):
                m.d.comb += Assert(inner[f"some_{name}"] == (left[k] != 0))
                m.d.comb += Assert(inner[f"amount_{name}"] == amount)
            with m.If((settle == 0) & inner["wants"][k]):
                m.d.comb += Assert((left[k] != 0) & (inner[f"wanted_{name}"] == amount) & (amount <= room[k]))
            with m.If(dut.exhausted[k]):
                m.d.comb += Assert((self.requested[k] == dut.count[k]) & (self.inside[k] == 0) | ~self.started)
        own_left, own_room = Array(left)[chosen.stream], Array(room)[chosen.stream]
        with m.If(choosing | booked):
            m.d.comb += Assert((chosen.count != 0) & (chosen.count <= dut.chunk))
        with m.If(choosing):
            m.d.comb += Assert((chosen.count <= own_left) & (chosen.count <= own_room))
        with m.If(inner["in_send"]):
            first = Array(dut.issued)[chosen.stream]
            m.d.comb += Assert(
                inner["address"] == (Array(dut.base)[chosen.stream] + first * dut.instruction_bytes)[:64]
            )

    def _flight(self, m: Module) -> None:
        """Invariants: requests whose instructions have not all arrived, oldest first, and where the followed one is."""
        dut, inner, chosen, guard = self.dut, self.inner, self.chosen, self.guard
        order, booked, arrived = dut.order, inner["booked"], inner["arrived"]
        for view in self.views:
            view.connect(m, invariants=True)
        taken = inner["taken"]
        begun = taken + (inner["beat"] if dut.beats > 1 else 0)  # beats delivered of the instruction in progress
        self.queued = Signal(NUMBER_BITS)  # its stream's, that have arrived
        waiting = Signal(NUMBER_BITS)  # those of its stream before it, that have not
        put = [inner["put"] & (inner["put_stream"] == k) for k in range(len(STREAMS))]
        m.d.comb += [
            self.queued.eq(Array([queue.level + p for queue, p in zip(dut.queues, put, strict=True)])[self.stream]),
            waiting.eq(self.before - self.queued),
        ]
        beats: Any = 0
        held = [queue.level + p for queue, p in zip(dut.queues, put, strict=True)]
        mine: Any = 0  # instructions of its stream in older requests
        for j in range(OUTSTANDING + 1):
            entry = data.View(dut.request, self.oldest[j].data if j < OUTSTANDING else Signal(len(Value.cast(chosen))))
            count, stream, valid = (
                Signal(4, name=f"count_{j}"),
                Signal(2, name=f"stream_{j}"),
                Signal(name=f"valid_{j}"),
            )
            stored = order.level > j
            last = booked & (order.level == j)
            if j < OUTSTANDING:
                m.d.comb += self.oldest[j].addr.eq(order.read_index + j)
                m.d.comb += [
                    valid.eq(stored | last),
                    count.eq(Mux(stored, entry.count, chosen.count) - (arrived if j == 0 else 0)),
                    stream.eq(Mux(stored, entry.stream, chosen.stream)),
                ]
                with m.If(stored):
                    m.d.comb += Assert((entry.count <= dut.chunk) & (entry.stream < len(STREAMS)) & (count != 0))
                    m.d.comb += Assert(entry.count != 0)
                held = [h + Mux(stored & (stream == k), count, 0) for k, h in enumerate(held)]
            its, here = Signal(name=f"its_{j}"), Signal(name=f"here_{j}")
            base_beats, base_mine = Signal(BEATS_BITS, name=f"beats_{j}"), Signal(NUMBER_BITS, name=f"mine_{j}")
            m.d.comb += [
                base_beats.eq(beats),
                base_mine.eq(mine),
                its.eq(valid & (stream == self.stream)),
                here.eq(
                    its
                    & self.present
                    & (self.before >= self.queued)
                    & (waiting - base_mine < count)
                    & (waiting >= base_mine)
                ),
            ]
            with m.If(here):
                m.d.comb += Assert(self.to_go == base_beats + (waiting - base_mine + 1) * dut.beats - begun)
            beats = base_beats + Mux(valid, count * dut.beats, 0)
            mine = base_mine + Mux(its, count, 0)
        m.d.comb += [
            Assert(self.owed == (beats - begun)[:BEATS_BITS]),
            Assert(self.contract.held == taken),
            Assert(self.contract.owed + Mux(guard.pending, guard.held.beats, 0) <= self.owed),
            Assert(~booked | (guard.pending & (guard.held.beats == chosen.count * dut.beats) & ~order.full)),
            Assert(~self.still[0] | ~taken),
            Assert(~self.still[1] | ~inner["put"]),
            Assert(order.some | ((arrived == 0) & (begun == 0))),
            Assert(~self.present | (self.to_go <= self.owed)),
            Assert(self.present | (self.to_go == 0)),
        ]
        for k in range(len(STREAMS)):
            m.d.comb += Assert(dut.reserved[k] == held[k])

    def _places(self, m: Module) -> None:
        """Invariants: the followed instruction and its beats, on their way to the outlet."""
        dut, inner = self.dut, self.inner
        word = Cat(*self.beats)
        m.d.comb += Assert(~inner["put"] | (inner["put_stream"] < len(STREAMS)))
        for k, (queue, port) in enumerate(zip(dut.queues, self.place, strict=True)):
            m.d.comb += port.addr.eq(queue.read_index + self.before)
            with m.If(self.present & (self.stream == k)):
                with m.If(self.before < queue.level):
                    m.d.comb += Assert((port.data == word) & (self.to_go == 0))
                with m.Elif(self.before < self.queued):
                    m.d.comb += Assert((inner["put_instruction"] == word) & (self.to_go == 0))
        own = dut.order.some & (data.View(dut.request, self.oldest[0].data).stream == self.stream)
        beat = inner["beat"] if dut.beats > 1 else 0
        with m.If(self.present & own & (self.before == self.queued)):
            for b in range(dut.beats - 1):
                place = dut.beats - 1 + b - beat  # the earlier beats move down
                earlier = inner["earlier"].word_select(place[:4], dut.data_bits)
                with m.If(b < beat):
                    m.d.comb += Assert(earlier == self.beats[b])
            with m.If(inner["taken"]):
                m.d.comb += Assert(inner["arriving"] == Array(self.beats)[beat])
        level = Array([queue.level for queue in dut.queues])[self.stream]
        m.d.comb += [
            Assert((self.waited < 1) | (self.present & (self.before == 0) & (self.to_go == 0))),
            Assert((self.waited < 2) | (level != 0)),
            Assert((self.waited < 1) | (self.queued != 0)),
        ]
