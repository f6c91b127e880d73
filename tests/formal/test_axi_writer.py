"""The write mover keeps AXI4 and its counters, whatever the slave answers."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Elaboratable, Module, Signal
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
            Assert(~w.valid | w.payload.strb.any() | (w.payload.data == 0), "without strobes, data are zero"),
            Assert(~flush | ~dut.i.ready, "no data are taken after an abort"),
        ]
        m.d.comb += Assume(~dut.clear | dut.idle, "clear only while idle")
        owing = Signal()
        m.d.sync += owing.eq(flush & (dut.filling.level != 0) & ~w.valid)
        m.d.comb += Assert(~owing | w.valid, "after an abort, beats that are owed wait for nothing but the slave")

        if not self.invariants:
            return m
        # The counters of the design and of the rules agree, up to the beat in the register.
        last, more = w.valid & w.payload.last, w.valid & ~w.payload.last
        m.d.comb += [
            Assert(dut.flight.level == aw.valid + waiting),
            Assert(rules.owed == dut.filling.level + last),
            Assert(rules.unanswered == dut.complete),
            Assert(rules.newest.index == dut.filling.write_index),
            Assert(
                (rules.filling.index + last == dut.filling.read_index)
                | ((rules.filling.index + last == dut.max_outstanding) & (dut.filling.read_index == 0))
            ),
            Assert(rules.filling.index < dut.max_outstanding),
            Assert(~w.valid | (rules.owed != 0)),
            Assert((rules.owed != 0) | (rules.beat == 0)),
            Assert((dut.filling.level != 0) | (dut.beat == 0)),
        ]
        current = rules.lengths[rules.filling.index]
        with m.If(last):
            m.d.comb += [Assert(rules.beat == current), Assert(dut.beat == 0)]
        with m.Else():
            m.d.comb += Assert(dut.beat == rules.beat + more)
        with m.If(dut.filling.level != 0):
            m.d.comb += Assert(dut.beat <= dut.filling.o.payload)
        for k in range(dut.max_outstanding):
            with m.If(self.filling.valid(k)):
                m.d.comb += Assert(rules.lengths[k] == self.filling.entry(k))
        return m


@pytest.mark.parametrize("max_outstanding", [2, 3])
def test_writer(tmp_path: Path, max_outstanding: int) -> None:
    top = WriterProof(AxiWriter(**{**SMALL, "max_outstanding": max_outstanding}, check_slave=False), invariants=True)
    prove(top, free=top.free, work=tmp_path)


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
