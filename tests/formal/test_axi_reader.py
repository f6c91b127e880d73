"""The read mover keeps AXI4, its credits and its counters, whatever the slave answers."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Elaboratable, Module, Mux, Signal
from movers import QueueView, expect_bursts
from prove import free_inputs, prove, refute
from reader_contract import ReaderContract

from moesaic.hw.memory.axi_reader import AxiReader
from moesaic.hw.stream.rules import Check, StreamContract

SMALL = {"addr_bits": 13, "data_bits": 32, "max_burst": 4, "max_outstanding": 2, "credits": 7}
SIZE = 2  # log2 of the bytes of a beat


class ReaderProof(Elaboratable):
    """The slave may answer at any time, with any ``RLAST``; it only holds a response until it is accepted."""

    def __init__(self, dut: AxiReader, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)
        self.flight = QueueView(dut.flight)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.response = StreamContract(dut.axi.r, check=Check.ASSUME)
        m.submodules.contract = contract = ReaderContract(dut, reader=Check.ASSERT, user=Check.OFF)
        self.flight.connect(m, invariants=self.invariants)
        ar, r, rules = dut.axi.ar, dut.axi.r, dut.rules
        flush = dut.abort | dut.flushing
        expect_bursts(m, dut, ar, size=SIZE, flush=flush, invariants=self.invariants)

        # Counts of the harness, from the ports alone.
        owed = Signal(6)  # beats of accepted bursts
        held = Signal(6)  # delivered, and not released
        lost = Signal(6)  # discarded since the last clear: their credits are not back yet
        requested, arrived, delivered = ar.valid & ar.ready, r.valid & r.ready, dut.o.valid & dut.o.ready
        m.d.sync += [
            owed.eq(owed + Mux(requested, ar.payload.len + 1, 0) - arrived),
            held.eq(held + delivered - dut.release),
            lost.eq(lost + (arrived & ~delivered)),
        ]
        with m.If(dut.clear):
            m.d.sync += [held.eq(0), lost.eq(0)]
        m.d.comb += Assume(dut.release <= held, "the consumer releases what it has")
        m.d.comb += Assume(~dut.clear | dut.idle, "clear only while idle")

        offered = Mux(ar.valid, ar.payload.len + 1, 0)
        m.d.comb += [
            Assert(owed + offered + held <= dut.credits, "no more beats are owed than there are credits"),
            Assert(~arrived | (owed != 0), "no beat is taken that is not owed"),
            Assert(~dut.idle | ((owed == 0) & ~ar.valid), "idle means that nothing is owed"),
            Assert((owed == 0) | r.ready | ~(dut.o.ready | flush), "a beat that is owed and wanted is accepted"),
            Assert(~dut.o.valid | ~flush, "nothing is delivered after an abort"),
            Assert(~dut.o.valid | (r.valid & (dut.o.ready == r.ready)), "a beat is delivered as it is taken"),
            Assert(~dut.o.valid | (dut.o.payload == r.payload.data)),
        ]

        if not self.invariants:
            return m
        # The counters of the design, of the rules and of the harness agree.
        m.d.comb += [
            Assert(dut.credit + owed + offered + held + lost == dut.credits),
            Assert(rules.outstanding == dut.flight.level),
            Assert(rules.oldest.index == dut.flight.read_index),
            Assert(rules.newest.index == dut.flight.write_index),
            Assert(rules.beat == dut.beat),
            Assert(dut.first == (dut.beat == 0)),
            Assert(dut.first | (dut.ends == (dut.beat == dut.flight.o.payload.last))),
            Assert(dut.flight.level + ar.valid <= dut.max_outstanding),
            Assert((dut.flight.level != 0) | (dut.beat == 0)),
        ]
        splitter = dut.splitter
        to_come = Mux(splitter.more, splitter.beyond + 1, 0) + Mux(splitter.o.valid, splitter.o.payload.last + 1, 0)
        m.d.comb += [
            Assert(contract.flushing == dut.flushing),
            Assert(contract.held == held),
            Assert(contract.owed == Mux(dut.flushing, 0, to_come + offered + owed)),
            Assert(~dut.asked | ~splitter.o.valid),
        ]
        total = 0
        for k in range(dut.max_outstanding):
            entry = self.flight.entry(k)
            total += Mux(self.flight.valid(k), entry.last + 1, 0)
            with m.If(self.flight.valid(k)):
                m.d.comb += Assert(rules.lengths[k] == entry.last)
                with m.If(dut.flight.read_index == k):
                    m.d.comb += Assert(dut.beat <= entry.last)
        m.d.comb += Assert(owed + dut.beat == total)
        return m


@pytest.mark.parametrize("max_outstanding", [2, 3])
def test_reader(tmp_path: Path, max_outstanding: int) -> None:
    top = ReaderProof(AxiReader(**{**SMALL, "max_outstanding": max_outstanding}, check_slave=False), invariants=True)
    prove(top, free=top.free, work=tmp_path)


class ForgetsCredits(AxiReader):
    """Issues without a look at the credits that are left."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.axi.ar.valid & self.axi.ar.ready):
            m.d.sync += self.credit.eq(self.credit)
        return m


class NoLimit(AxiReader):
    """Overwrites the list of bursts in flight."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.splitter.o.valid & ~self.axi.ar.valid):
            m.d.sync += self.axi.ar.valid.eq(1)
        return m


class AbortWithdrawsAddress(AxiReader):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.abort):
            m.d.sync += self.axi.ar.valid.eq(0)
        return m


class AbortForgetsOwedData(AxiReader):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.flight.clear.eq(self.abort)
        return m


class TrustsLast(AxiReader):
    """Ends a burst where the slave says so."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.flight.o.ready.eq(self.axi.r.valid & self.axi.r.ready & self.axi.r.payload.last)
        return m


class AlwaysReady(AxiReader):
    """Takes beats that nobody asked for."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.axi.r.ready.eq(1)
        return m


class IgnoresHold(AxiReader):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.hold & self.splitter.o.valid):
            m.d.sync += self.asked.eq(1)
        return m


class TakesACommandInAnAbort(AxiReader):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.cmd.ready.eq(self.splitter.i.ready)
        return m


class IdleBeforeTheLastBeat(AxiReader):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.idle.eq(self.splitter.i.ready & ~self.splitter.o.valid & ~self.axi.ar.valid)
        return m


class CrossesPage(AxiReader):
    """Cuts at a full burst, and not at its multiples."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        inner = self.splitter.elaborate
        full = self.max_burst

        def elaborate(platform: object) -> Module:
            n = inner(platform)
            splitter = self.splitter
            with n.If(splitter.more & (splitter.beyond >= full - 1) & ~splitter.o.valid & ~splitter.drop):
                n.d.sync += [
                    splitter.o.payload.last.eq(full - 1),
                    splitter.word.eq(splitter.word + full),
                    splitter.more.eq(splitter.beyond >= full),
                    splitter.beyond.eq(splitter.beyond - full),
                ]
            return n

        object.__setattr__(self.splitter, "elaborate", elaborate)
        return m


@pytest.mark.parametrize(
    "bug",
    [
        ForgetsCredits,
        NoLimit,
        AbortWithdrawsAddress,
        AbortForgetsOwedData,
        TrustsLast,
        AlwaysReady,
        CrossesPage,
        IgnoresHold,
        TakesACommandInAnAbort,
        IdleBeforeTheLastBeat,
    ],
)
def test_reader_bug_is_found(tmp_path: Path, bug: type[AxiReader]) -> None:
    top = ReaderProof(bug(**SMALL, check_slave=False), invariants=False)
    violated = refute(top, free=top.free, work=tmp_path)
    assert violated
