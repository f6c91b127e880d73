# amaranth: UnusedElaboratable=no
"""Sequencer and retirement go on while their neighbours do, and lose or double no instruction."""

from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Assume, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib.data import View
from inside import Opened, Planted
from movers import QueueView
from prove import free_inputs, prove, refute

from moesaic.hw.control.sequencer import Sequencer, issued_layout
from moesaic.hw.decode.operation import CONTEXTS
from moesaic.hw.engine.retirement import Retirement
from moesaic.hw.spec.isa import FORMATS, Opcode
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import Check, StreamContract

OPCODE_BITS = FORMATS[Opcode.NORM].field("opcode").bits
QUEUE = 2  # instructions
MICRO = PRESETS["micro8"]


class SequencerProof(Elaboratable):
    """Every instruction is handed over once, in order, with its number, to whom it is for; or one is refused, and none
    after it. Within three cycles in which both units and the fetch are ready, something is transferred or refused.
    """

    def __init__(self, dut: Sequencer, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        dut.loader_queue, dut.feeder_queue = (Queue(issued_layout(), depth=QUEUE) for _ in range(2))
        self.number = Signal(24)  # of the instruction that is followed
        self.free = [*free_inputs(dut), self.number]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self.dut
        self.views = [QueueView(queue) for queue in (dut.loader_queue, dut.feeder_queue)]
        inner = m.submodules.dut = Opened(dut, platform)
        m.submodules.i = StreamContract(dut.i, check=Check.ASSUME)
        known, number = Signal(), Signal.like(self.number)
        m.d.sync += [known.eq(1), number.eq(self.number)]
        m.d.comb += Assume(~known | (number == self.number), "the same instruction is followed all along")

        taken, gone = Signal(24), Signal(24)
        came, passed = dut.i.valid & dut.i.ready, dut.feeder.valid & dut.feeder.ready
        m.d.sync += [taken.eq(taken + came), gone.eq(gone + passed)]
        m.d.comb += Assume(~taken.all(), "a program has fewer instructions than numbers")
        followed = Signal.like(dut.i.payload)
        with m.If(came & (taken == self.number)):
            m.d.sync += followed.eq(dut.i.payload)

        def right(entry: View) -> Value:
            """Whether what is handed over came, under its number."""
            return (entry.index < taken) & ((entry.index != self.number) | (entry.body == followed))

        with m.If(dut.feeder.valid):
            m.d.comb += Assert(dut.feeder.p.index == gone, "each once, in order")
            m.d.comb += Assert(right(dut.feeder.p), "unchanged, under its number")
        due = Signal()  # the followed one is for the loader, and not handed to it
        told = dut.loader.valid & dut.loader.ready & (dut.loader.p.index == self.number)
        issued = inner["go"] & (inner["index"] == self.number)
        m.d.sync += due.eq((due & ~told) | (issued & (followed[:OPCODE_BITS] != Opcode.NORM)))
        with m.If(dut.loader.valid):
            m.d.comb += Assert(right(dut.loader.p), "unchanged, under its number")
            m.d.comb += Assert((dut.loader.p.index != self.number) | due, "once, and no NORM")

        moved = came | passed | (dut.loader.valid & dut.loader.ready)
        waited = Signal(3)
        ready = dut.i.valid & dut.feeder.ready & dut.loader.ready
        m.d.sync += waited.eq(Mux(moved | dut.error, 0, waited + ready))
        m.d.comb += Assert(waited < 3, "instructions go on")
        failed = Signal()
        m.d.sync += failed.eq(dut.error)
        m.d.comb += Assert(~failed | (dut.error & ~came & ~inner["go"]), "nothing is issued after an error")
        if self.invariants:
            self._invariants(m, inner, taken, gone, right, due, waited)
            m.d.comb += Assert(~inner["held"] | (inner["index"] != self.number) | (inner["body"] == followed))
        return m

    def _invariants(self, m, inner, taken, gone, right, due, waited) -> None:
        dut, held = self.dut, inner["held"]
        loader, feeder = self.views
        for view in self.views:
            view.connect(m, invariants=True)
        m.d.comb += [
            Assert(inner["index"] == taken - held),
            Assert(inner["index"] >= gone),
            Assert(dut.feeder_queue.level == inner["index"] - gone),
            Assert(~inner["judged"] | held),
            Assert(~inner["timely"] | inner["judged"]),
            Assert(~inner["judged"] | (inner["to_loader"] == (inner["body"][:OPCODE_BITS] != Opcode.NORM))),
            Assert((waited < 1) | inner["judged"] | dut.feeder.valid),
            Assert((waited < 2) | dut.feeder.valid),
        ]
        mine = []
        for k in range(dut.feeder_queue.depth):
            place = (k - dut.feeder_queue.read_index)[: len(dut.feeder_queue.read_index)]
            here = Signal(name=f"here_{k}")
            m.d.comb += [
                Assert(~feeder.valid(k) | (right(feeder.entry(k)) & (feeder.entry(k).index == gone + place))),
                Assert(~loader.valid(k) | (right(loader.entry(k)) & (loader.entry(k).index < inner["index"]))),
                here.eq(loader.valid(k) & (loader.entry(k).index == self.number)),
            ]
            mine.append(here)
        m.d.comb += Assert(sum(mine) == due, "in the queue once")


class RetirementProof(Elaboratable):
    """Instructions retire once each, in order, when they have ended and, if they route, the router is done; then at
    once. A marked one pulses once. One, of any number, is followed.
    """

    def __init__(self, dut: Retirement, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.number, self.routes, self.marked = Signal(24), Signal(), Signal()
        self.free = [*free_inputs(dut), self.number, self.routes, self.marked]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut, number = self.dut, self.number
        inner = m.submodules.dut = Opened(dut, platform)
        held = [self.number, self.routes, self.marked]
        known = Signal()
        m.d.sync += known.eq(1)
        for signal in held:
            past = Signal.like(signal, name=f"{signal.name}_before")
            m.d.sync += past.eq(signal)
            m.d.comb += Assume(~known | (past == signal), "the same instruction is followed all along")
        started, ended = Signal(24), Signal(24)
        mine = Signal()
        m.d.comb += mine.eq(started == number)
        m.d.comb += [
            # The walk starts them in order, and no more than there are contexts; results end in order.
            Assume(~dut.i.mask | ((started - dut.retired)[:24] < CONTEXTS)),
            Assume(~dut.i.mask | (dut.i.address == started[: len(dut.i.address)])),
            Assume(~(dut.i.mask & mine) | (dut.i.data.route == self.routes)),
            Assume(~(dut.i.mask & mine) | (dut.i.data.mark == self.marked)),
            Assume(~dut.ended | (ended != started)),
        ]
        m.d.sync += [started.eq(started + dut.i.mask), ended.eq(ended + dut.ended)]
        before = Signal(24)
        m.d.sync += before.eq(dut.retired)
        its, kinds, answered = Signal(), Signal(CONTEXTS), Signal()  # answered: by the router, for the oldest it routes
        oldest = dut.retired[: len(dut.i.address)]
        retires = (dut.retired != ended) & (~kinds.bit_select(oldest, 1) | answered)
        with m.If(dut.routed):
            m.d.sync += answered.eq(1)
        with m.If(retires & kinds.bit_select(oldest, 1)):
            m.d.sync += answered.eq(0)
        with m.If(dut.i.mask):
            m.d.sync += kinds.bit_select(dut.i.address, 1).eq(dut.i.data.route)
        m.d.comb += Assume(~dut.routed | ~answered, "the router is asked again when it has been heard")
        m.d.comb += [
            Assert((ended - dut.retired)[:24] <= CONTEXTS, "none retires before it has ended"),
            Assert((dut.retired == before) | (dut.retired == (before + 1)[:24]) | ~known),
        ]
        past_its, past_routed = Signal(), Signal()
        m.d.comb += its.eq((dut.retired == number) & (ended != number) & (started != number))
        m.d.sync += [past_its.eq(its), past_routed.eq(answered)]
        with m.If(known & past_its):
            left = dut.retired == (number + 1)[:24]
            m.d.comb += Assert(left == (~self.routes | past_routed), "it retires at once if it may, and not before")
        m.d.comb += Assert(~(dut.mark & (dut.retired == number)) | (its & self.marked))
        with m.If(its & (~self.routes | answered)):
            m.d.comb += Assert(dut.mark == self.marked, "a marked one pulses")
        if self.invariants:
            place = number[: len(dut.i.address)]
            there = Signal()  # started, and not retired
            m.d.comb += there.eq((number - dut.retired)[:24] < (started - dut.retired)[:24])
            routes = Array(inner[f"is_route_{k}"] for k in range(CONTEXTS))[place]
            marks = Array(inner[f"is_marked_{k}"] for k in range(CONTEXTS))[place]
            m.d.comb += [
                Assert(inner["finished"] == ended),
                Assert(inner["routed"] == answered),
                *(Assert(inner[f"is_route_{k}"] == kinds[k]) for k in range(CONTEXTS)),
                Assert((started - dut.retired)[:24] <= CONTEXTS),
                Assert((ended - dut.retired)[:24] <= (started - dut.retired)[:24]),
                Assert(~there | ((routes == self.routes) & (marks == self.marked))),
            ]
        return m


def test_sequencer(tmp_path: Path) -> None:
    top = SequencerProof(Sequencer(MICRO), invariants=True)
    prove(top, free=top.free, work=tmp_path, depth=2)


def test_retirement(tmp_path: Path) -> None:
    top = RetirementProof(Retirement(), invariants=True)
    prove(top, free=top.free, work=tmp_path, depth=3)


class NormsToAll(Planted, Sequencer):
    """The loader gets every instruction."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["to_loader"].eq(1)


class GoesOnAfterAnError(Planted, Sequencer):
    """A refused instruction makes room for the next one."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.error):
            m.d.sync += inner["held"].eq(0)


@pytest.mark.parametrize("bug", [NormsToAll, GoesOnAfterAnError])
def test_sequencer_bug_is_found(tmp_path: Path, bug: type[Sequencer]) -> None:
    top = SequencerProof(bug(MICRO), invariants=False)
    assert refute(top, free=top.free, work=tmp_path, depth=18)


class ForgetsTheRouter(Planted, Retirement):
    """The router's answer is for all that follow."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["routed"].eq(inner["routed"] | self.routed)


class RetiresEarly(Planted, Retirement):
    """The next one retires with it."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.mark):
            m.d.sync += self.retired.eq(self.retired + 2)


class WaitsForAnEnd(Planted, Retirement):
    """One retires only when another one ends."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(~self.ended):
            m.d.sync += self.retired.eq(self.retired)


@pytest.mark.parametrize("bug", [ForgetsTheRouter, RetiresEarly, WaitsForAnEnd])
def test_retirement_bug_is_found(tmp_path: Path, bug: type[Retirement]) -> None:
    top = RetirementProof(bug(), invariants=False)
    assert refute(top, free=top.free, work=tmp_path)
