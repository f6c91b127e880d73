"""No transfer outside the window passes, none inside is refused."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Elaboratable, Module, Signal, Value
from prove import free_inputs, prove, refute

from moesaic.hw.memory.window import Step, WindowGuard


class GuardProof(Elaboratable):
    """Any transfers and any window, which stays as it is."""

    def __init__(self, dut: WindowGuard, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        known = Signal()
        base, size = Signal.like(dut.window_base), Signal.like(dut.window_bytes)
        m.d.sync += [known.eq(1), base.eq(dut.window_base), size.eq(dut.window_bytes)]
        m.d.comb += Assume(~known | ((base == dut.window_base) & (size == dut.window_bytes)), "the window is stable")

        taken = Signal.like(dut.i.payload)  # what was last accepted
        pending = Signal()
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += [taken.eq(dut.i.payload), pending.eq(1)]
        with m.If(dut.abort | dut.error | (dut.o.valid & dut.o.ready)):
            m.d.sync += pending.eq(0)

        first, stop = taken.addr, taken.addr + taken.beats * dut.beat_bytes
        lawful = (
            (first >= dut.window_base)
            & (stop <= dut.window_base + dut.window_bytes)
            & (stop <= 1 << dut.addr_bits)
            & (first % dut.beat_bytes == 0)
            & (taken.beats != 0)
        )
        m.d.comb += [
            Assert(~dut.o.valid | (pending & lawful & (dut.o.p.addr == first) & (dut.o.p.beats == taken.beats))),
            Assert(~dut.error | (pending & ~lawful & (dut.error_addr == first))),
            Assert(~dut.i.ready | ~pending),
        ]
        waited = Signal(range(8))
        with m.If(pending & ~dut.o.valid & ~dut.error & ~dut.abort):
            m.d.sync += waited.eq(waited + 1)
        with m.Else():
            m.d.sync += waited.eq(0)
        m.d.comb += Assert(waited < dut.LATENCY, "every transfer is judged in time")

        if self.invariants:
            below, offset = first < dut.window_base, (first - dut.window_base)[:64]
            m.d.comb += [
                Assert(dut.state.as_value() <= Step.OFFER.value),
                Assert(pending == (dut.state != Step.EMPTY)),
                Assert(dut.empty == (dut.state == Step.EMPTY)),
                Assert((dut.good | dut.bad) == (dut.state == Step.OFFER)),
                Assert(~pending | (Value.cast(dut.held) == Value.cast(taken))),
            ]
            with m.If(pending):
                with m.If((dut.state == Step.MEASURE) | (dut.state == Step.JUDGE)):
                    m.d.comb += [Assert(dut.below == below), Assert(dut.offset == offset)]
                with m.If(dut.state == Step.JUDGE):
                    m.d.comb += Assert(dut.end == offset + taken.beats * dut.beat_bytes)
                    m.d.comb += Assert(dut.stop == stop)
                with m.If(dut.state == Step.OFFER):
                    m.d.comb += [Assert(dut.bad == ~lawful), Assert(dut.good == lawful)]
                with m.Else():
                    m.d.comb += Assert(waited == dut.state.as_value() - 1)
        return m


def test_guard(tmp_path: Path) -> None:
    top = GuardProof(WindowGuard(addr_bits=40, data_bits=128), invariants=True)
    prove(top, free=top.free, work=tmp_path)


class CutsTheAddress(WindowGuard):
    """Forgets that the bus has fewer address bits."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.state == Step.MEASURE):
            m.d.sync += self.stop.eq(0)
        return m


class ForgetsTheBase(WindowGuard):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.state == Step.LOCATE):
            m.d.sync += self.below.eq(0)
        return m


class OneByteTooMany(WindowGuard):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If((self.state == Step.JUDGE) & (self.end == self.window_bytes + 1) & ~self.below):
            m.d.sync += [self.good.eq(1), self.bad.eq(0)]
        return m


class AbortIsForgotten(WindowGuard):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If((self.state == Step.MEASURE) & self.abort):
            m.d.sync += self.state.eq(Step.JUDGE)
        return m


@pytest.mark.parametrize("bug", [CutsTheAddress, ForgetsTheBase, OneByteTooMany, AbortIsForgotten])
def test_guard_bug_is_found(tmp_path: Path, bug: type[WindowGuard]) -> None:
    top = GuardProof(bug(addr_bits=40, data_bits=128), invariants=False)
    assert refute(top, free=top.free, work=tmp_path)
