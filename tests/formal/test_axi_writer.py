"""The write mover keeps AXI4 and its counters, whatever the slave answers."""

from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Elaboratable, Module, Mux, Signal
from movers import QueueView, expect_bursts
from prove import free_inputs, prove, refute

from moesaic.hw.memory.axi_writer import AxiWriter

SMALL = {"addr_bits": 13, "data_bits": 32, "max_burst": 4, "max_outstanding": 2}
SIZE = 2  # log2 of the bytes of a beat


class WriterProof(Elaboratable):
    """The slave may answer at any time; the writer takes no response before the burst is complete."""

    def __init__(self, dut: AxiWriter, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)
        self.flight, self.filling = QueueView(dut.flight), QueueView(dut.filling)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        self.flight.connect(m, invariants=self.invariants)
        self.filling.connect(m, invariants=self.invariants)
        aw, w, b, rules = dut.axi.aw, dut.axi.w, dut.axi.b, dut.rules
        flush = dut.abort | dut.flushing
        expect_bursts(m, dut, aw, size=SIZE, flush=flush, invariants=self.invariants)

        waiting = rules.owed + rules.unanswered
        m.d.comb += [
            Assert(~(b.valid & b.ready) | (rules.unanswered != 0), "no response is taken that is not owed"),
            Assert((rules.unanswered == 0) | b.ready, "a response that is owed is accepted"),
            Assert(~dut.idle | ((waiting == 0) & ~aw.valid & ~w.valid), "idle means that nothing is owed"),
            Assert(~w.valid | (w.payload.strb == w.payload.strb[0].replicate(4)), "strobes are all or none"),
            Assert(~flush | ~dut.i.ready, "no data are taken after an abort"),
        ]
        m.d.comb += Assume(~dut.clear | dut.idle, "clear only while idle")
        unfilled = rules.owed + (aw.valid & ~rules.ahead)  # bursts, the one on offer too, whose data were not all taken
        past_valid, past_ready, fresh, due = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [past_valid.eq(aw.valid), past_ready.eq(aw.ready)]
        m.d.comb += fresh.eq(aw.valid & (~past_valid | past_ready))  # its data may come a cycle later
        m.d.sync += due.eq((unfilled != fresh) & (dut.i.valid | flush) & ~w.valid)
        m.d.comb += Assert(~due | w.valid, "a beat waits for its data and for nothing else, AWREADY least of all")

        if not self.invariants:
            return m
        # The counters of the design and of the rules agree, up to the address and the beat in the registers.
        last, more = w.valid & w.payload.last, w.valid & ~w.payload.last

        def follows(index, step, value):
            """Whether `value` is `step` places after `index`."""
            return (index + step == value) | ((index + step == dut.max_outstanding) & (value == 0))

        m.d.comb += [
            Assert(dut.flight.level == aw.valid + waiting),
            Assert(fresh == dut.fresh),
            Assert(dut.free == ~w.valid),
            Assert(unfilled == dut.filling.level + last + fresh),
            Assert(rules.unanswered + rules.ahead == dut.complete),
            Assert(~rules.ahead | (aw.valid & (rules.owed == 0))),
            Assert(follows(rules.newest.index, aw.valid & ~fresh, dut.filling.write_index)),
            Assert(follows(rules.filling.index, last, dut.filling.read_index)),
            Assert(rules.newest.index < dut.max_outstanding),
            Assert(rules.filling.index < dut.max_outstanding),
            Assert(~w.valid | (unfilled != fresh)),
            Assert((unfilled != 0) | (rules.beat == 0)),
            Assert((dut.filling.level != 0) | (dut.beat == 0)),
        ]
        current = Mux(rules.owed != 0, rules.lengths[rules.filling.index], aw.payload.len)
        with m.If(last):
            m.d.comb += [Assert(rules.beat == current), Assert(dut.beat == 0)]
        with m.Else():
            m.d.comb += Assert(dut.beat == rules.beat + more)
        with m.If(dut.filling.level != 0):
            m.d.comb += Assert(dut.beat <= dut.filling.o.payload)
        for k in range(dut.max_outstanding):
            offered = aw.valid & (rules.newest.index == k)
            with m.If(self.filling.valid(k)):
                m.d.comb += Assert(Mux(offered, aw.payload.len, rules.lengths[k]) == self.filling.entry(k))
        return m


class ProgressProof(WriterProof):
    """A slave that does all that its order of the channels allows is never waited for in vain.

    Orders that AXI4 allows a slave: 0 data after their address; 1 as 0, and an address only while data are on offer;
    2 an address only after all its data; 3 address and first beat together.
    """

    LIMIT = 6  # cycles from one transfer to the next: response, place in flight, cut, address, its data

    def __init__(self, dut: AxiWriter, *, invariants: bool) -> None:
        super().__init__(dut, invariants=invariants)
        self.order = Signal(2)
        self.free.append(self.order)

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        dut, rules = self.dut, self.dut.rules
        aw, w, b = dut.axi.aw, dut.axi.w, dut.axi.b
        flush = dut.abort | dut.flushing
        known, order = Signal(), Signal(2)
        m.d.sync += [known.eq(1), order.eq(self.order)]
        m.d.comb += Assume(~known | (order == self.order), "a slave keeps to its order")

        addressed = rules.owed != 0
        takes_address = Array([1, w.valid | rules.ahead, rules.ahead, w.valid | rules.ahead])[self.order]
        takes_data = Array([addressed, addressed, 1, addressed | aw.valid])[self.order]
        willing, moves, idle_cycles = Signal(), Signal(), Signal(range(self.LIMIT + 1))
        m.d.comb += [
            willing.eq(
                (aw.ready | ~takes_address)
                & (w.ready | ~takes_data)
                & (b.valid | (rules.unanswered == 0))
                & (dut.i.valid | flush)
            ),
            moves.eq(Cat(port.valid & port.ready for port in (aw, w, b, dut.cmd)).any()),
        ]
        wanted = ~dut.idle | (dut.cmd.valid & ~flush)
        m.d.sync += idle_cycles.eq(Mux(wanted & willing & ~moves, idle_cycles + 1, 0))
        m.d.comb += Assert(idle_cycles < self.LIMIT, "no deadlock with any order")
        return m


@pytest.mark.parametrize("max_outstanding", [2, 3])
def test_writer(tmp_path: Path, max_outstanding: int) -> None:
    top = WriterProof(AxiWriter(**{**SMALL, "max_outstanding": max_outstanding}, check_slave=False), invariants=True)
    prove(top, free=top.free, work=tmp_path)


@pytest.mark.parametrize("max_outstanding", [1, 2])
def test_no_deadlock_whatever_the_slave_waits_for(tmp_path: Path, max_outstanding: int) -> None:
    top = ProgressProof(AxiWriter(**{**SMALL, "max_outstanding": max_outstanding}, check_slave=False), invariants=True)
    prove(top, free=top.free, work=tmp_path)


class WaitsForAddress(AxiWriter):
    """Offers data only when their address was accepted, as a master must not."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += [
            self.filling.i.valid.eq(self.axi.aw.valid & self.axi.aw.ready),
            self.filling.i.payload.eq(self.axi.aw.payload.len),
        ]
        return m


@pytest.mark.parametrize("proof", [WriterProof, ProgressProof])
def test_waiting_for_the_address_is_found(tmp_path: Path, proof: type[WriterProof]) -> None:
    top = proof(WaitsForAddress(**SMALL, check_slave=False), invariants=False)
    assert refute(top, free=top.free, work=tmp_path)


class AbortWithdrawsData(AxiWriter):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.abort):
            m.d.sync += self.axi.w.valid.eq(0)
        return m


class AbortChangesData(AxiWriter):
    """Puts the strobes out of a beat that is on offer."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.abort):
            m.d.sync += self.axi.w.payload.strb.eq(0)
        return m


class AbortForgetsData(AxiWriter):
    """Does not send the beats that an accepted address owes."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.filling.clear.eq(self.abort & self.filling.o.valid)
        return m


class LastMisplaced(AxiWriter):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.beat == self.max_burst - 1):
            m.d.sync += self.axi.w.payload.last.eq(0)
        return m


class DataBeforeAddress(AxiWriter):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.i.valid & self.axi.aw.valid & ~self.axi.w.valid):
            m.d.sync += self.axi.w.valid.eq(1)
        return m


class EarlyResponse(AxiWriter):
    """Takes a response as soon as a burst is in flight."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.axi.b.ready.eq(self.flight.o.valid)
        return m


class NoLimit(AxiWriter):
    """Has more bursts in flight than it has places for."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.splitter.o.valid & ~self.axi.aw.valid):
            m.d.sync += self.axi.aw.valid.eq(1)
        return m


@pytest.mark.parametrize(
    "bug",
    [AbortWithdrawsData, AbortChangesData, AbortForgetsData, LastMisplaced, DataBeforeAddress, EarlyResponse, NoLimit],
)
def test_writer_bug_is_found(tmp_path: Path, bug: type[AxiWriter]) -> None:
    top = WriterProof(bug(**SMALL, check_slave=False), invariants=False)
    violated = refute(top, free=top.free, work=tmp_path)
    assert violated
