"""The supervisor never clears a busy bus, never runs with an error, and leaves every state when it should."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Signal, Value
from prove import free_inputs, prove, refute

from moesaic.hw.control.supervisor import State, Supervisor
from moesaic.hw.spec.registers import ErrorCode

SMALL = {"errors": 2, "clear_cycles": 2}


class SupervisorProof(Elaboratable):
    """Host and units may do anything; a bus that is idle under abort stays idle."""

    def __init__(self, dut: Supervisor) -> None:
        self.dut = dut
        self.free = free_inputs(dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        quiet, known = Signal(), Signal()  # known: the cycle before was not a reset
        m.d.sync += [quiet.eq(dut.abort & dut.bus_idle), known.eq(1)]
        m.d.comb += Assume(~quiet | dut.bus_idle, "an idle bus under abort stays idle")

        self._now(m)
        still, aborting = Signal(2), Signal()  # still: in the cycle before, and the one before that
        m.d.sync += [still.eq(Cat(dut.bus_idle | dut.abort, still[0])), aborting.eq(dut.abort)]
        m.d.comb += Assert(~dut.clear | (still.all() & aborting), "a clear comes when units have settled")
        m.d.comb += Assert(~dut.clear | dut.bus_idle, "clear only while the bus is idle")

        # The cycle before.
        was = Signal(State)
        inputs = Cat(dut.start, dut.abort_request, dut.soft_reset, dut.finished, dut.progress, dut.bus_idle)
        start, abort_request, soft_reset, finished, progress, bus_idle = past = Signal(len(inputs))
        abandoned = Signal()
        unit_error, remaining, cleared = Signal(), Signal(32), Signal(range(dut.clear_cycles + 1))
        report, error, resetting, watchdog = Signal(len(Value.cast(dut.report))), Signal(), Signal(), Signal(32)
        enable = Signal(2)
        refused, raised = Signal(), Signal()
        m.d.sync += [
            refused.eq(dut.asked & ~dut.begun),
            raised.eq(dut.raised),
            was.eq(dut.state),
            past.eq(inputs),
            unit_error.eq(Cat(source.valid for source in dut.errors).any()),
            remaining.eq(dut.remaining),
            cleared.eq(dut.cleared),
            report.eq(dut.report),
            error.eq(dut.error),
            resetting.eq(dut.resetting),
            watchdog.eq(dut.watchdog),
            enable.eq(dut.irq_enable),
            abandoned.eq(dut.abandoned),
        ]
        resting = (was == State.IDLE) | (was == State.DONE) | (was == State.ERROR)
        live = (was == State.RUNNING) | (was == State.DRAINING)
        m.d.comb += Assume(~known | ~dut.busy | (dut.watchdog == watchdog), "the watchdog is locked while busy")
        stuck = (watchdog != 0) & (remaining == 0)
        failing = unit_error | abort_request | abandoned | stuck
        with m.If(known):
            with m.If((was == State.CLEARING) & (dut.state == State.RUNNING) & abort_request):
                m.d.comb += Assert(dut.abandoned, "an abort is not forgotten while the core is cleared")
            with m.If((was == State.CLEARING) & (dut.state != State.IDLE) & abandoned & ~soft_reset):
                m.d.comb += Assert(dut.abandoned | dut.resetting)
            with m.If(resting & start & bus_idle & ~soft_reset & ~abort_request):
                m.d.comb += Assert(dut.state == State.CLEARING, "a start that can be taken is taken")
            with m.Elif(start):
                m.d.comb += Assert(dut.asked & ~dut.begun, "any other start is refused")
            with m.If(refused):
                m.d.comb += Assert(dut.start_refused, "visibly, in the next cycle")
            with m.If(soft_reset & resting):
                m.d.comb += Assert(dut.draining & dut.abort)
            with m.If(was == State.CLEARING):
                left = dut.state != State.CLEARING
                m.d.comb += Assert(left | ~bus_idle | (dut.cleared == cleared + 1), "an idle bus lets the clear go on")
                m.d.comb += Assert(~left | (cleared == dut.clear_cycles), "the clear is as long as it should be")
            with m.If(was == State.RUNNING):
                ends = finished | failing | soft_reset
                m.d.comb += Assert((dut.state == State.DRAINING) == ends, "a run ends when it should, and only then")
            with m.If((was == State.DRAINING) & bus_idle & ~soft_reset):
                stays = failing & ~error & ~resetting
                m.d.comb += Assert((dut.state != State.DRAINING) | stays, "an idle bus ends the drain")
            with m.If((was == State.DRAINING) & ~bus_idle):
                m.d.comb += Assert(dut.state == State.DRAINING, "the drain waits for the bus")
            with m.If(live & failing & ~resetting):
                m.d.comb += Assert(dut.error & ~dut.run & dut.abort, "a failure stops the run at once")
            with m.If(dut.error & ~error):
                m.d.comb += Assert(live & dut.raised, "an error raises its event in the next cycle")
                m.d.comb += Assert(
                    dut.report.valid
                    & (
                        unit_error
                        | (dut.report.code == ErrorCode.WATCHDOG.value)
                        | (dut.report.code == ErrorCode.HOST_ABORT.value)
                    )
                )
            with m.If(raised):
                m.d.comb += Assert(dut.irq_status[1])
                m.d.comb += Assert(dut.irq | ~enable[1])
            with m.If(dut.error & error):
                m.d.comb += Assert(Value.cast(dut.report) == report, "the first error is kept")
            with m.If(live & ~progress & (remaining != 0)):
                m.d.comb += Assert(dut.remaining == remaining - 1, "the watchdog counts every idle cycle")
            with m.If((was == State.DRAINING) & (dut.state == State.DONE)):
                m.d.comb += Assert(dut.irq_status[0])
        return m

    def _now(self, m: Module) -> None:
        """What holds in every cycle."""
        dut = self.dut
        state = Value.cast(dut.state)
        m.d.comb += [
            Assert(state <= State.ERROR.value, "no other state"),
            Assert(dut.clear_core == dut.clear),
            Assert(~dut.clear | (dut.abort & ~dut.run), "clear only under abort"),
            Assert(~dut.run | ~(dut.error | dut.abort | dut.clear), "no run with an error, abort or clear"),
            Assert(~dut.done | ~dut.error, "done is without an error"),
            Assert((dut.state != State.ERROR) | dut.error, "the error state has an error"),
            Assert(dut.busy | dut.done | (state == State.IDLE.value) | (state == State.ERROR.value)),
            # Inductive strengthening.
            Assert(~dut.clear | (dut.state == State.CLEARING)),
            Assert((dut.state != State.CLEARING) | (dut.cleared <= dut.clear_cycles)),
            Assert((dut.state != State.CLEARING) | ~dut.clear | (dut.cleared != 0)),
            Assert(~dut.restart | (dut.state != State.CLEARING) | ~dut.error | dut.resetting | dut.begun),
            Assert(~dut.resetting | (dut.state == State.CLEARING) | (dut.state == State.DRAINING)),
            Assert((dut.state != State.CLEARING) | dut.restart | dut.resetting),
            Assert((dut.state != State.CLEARING) | ~dut.error | dut.resetting | dut.begun),
            Assert((dut.state != State.IDLE) | ~dut.error),
            Assert((dut.state != State.CLEARING) | ~(dut.restart & dut.resetting)),
            Assert(~dut.begun | ((dut.state == State.CLEARING) & (dut.cleared == 0))),
            Assert(~dut.abandoned | (dut.state == State.CLEARING) | (dut.state == State.RUNNING)),
            Assert(~dut.abandoned | (dut.state != State.CLEARING) | dut.restart),
            Assert(~dut.draining | (dut.stopping == (dut.error | dut.resetting))),
            Assert(~(dut.run | dut.draining) | (dut.expired == ((dut.watchdog != 0) & (dut.remaining == 0)))),
            Assert(~(dut.run | dut.draining) | (dut.watchdog != 0) | (dut.remaining == 0)),
        ]


def test_supervisor(tmp_path: Path) -> None:
    top = SupervisorProof(Supervisor(**SMALL))
    prove(top, free=top.free, work=tmp_path)


class ClearsABusyBus(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If((self.state == State.CLEARING) & (self.cleared != self.clear_cycles)):
            m.d.sync += [self.clear.eq(1), self.cleared.eq(self.cleared + 1)]
        return m


class ClearsWithoutAbort(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.state == State.CLEARING):
            m.d.comb += self.abort.eq(0)
        return m


class RunsOnAfterAnError(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If((self.state == State.RUNNING) & ~self.finished & ~self.soft_reset):
            m.d.sync += [self.at["running"].eq(1), self.at["draining"].eq(0)]
        return m


class LastErrorWins(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If((self.state == State.DRAINING) & self.errors[0].valid):
            m.d.sync += self.report.eq(self.errors[0])
        return m


class NeverLeavesTheDrain(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If((self.state == State.DRAINING) & self.error & ~self.resetting):
            m.d.sync += [self.at["draining"].eq(1), self.at["error"].eq(0)]
        return m


class WatchdogSleeps(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.state == State.DRAINING):
            m.d.sync += self.remaining.eq(self.watchdog)
        return m


class ForgetsTheAbort(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.clear):
            m.d.sync += self.abandoned.eq(0)
        return m


class LosesTheEvent(Supervisor):
    """Clearing a bit wins over its event."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.irq_clear[1]):
            m.d.sync += self.irq_status[1].eq(0)
        return m


class DoneDespiteAnError(Supervisor):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If((self.state == State.DRAINING) & self.bus_idle & ~self.error & ~self.resetting & ~self.soft_reset):
            m.d.sync += [self.at["draining"].eq(0), self.at["done"].eq(1)]
        return m


@pytest.mark.parametrize(
    "bug",
    [
        ClearsABusyBus,
        ClearsWithoutAbort,
        RunsOnAfterAnError,
        LastErrorWins,
        NeverLeavesTheDrain,
        WatchdogSleeps,
        LosesTheEvent,
        DoneDespiteAnError,
        ForgetsTheAbort,
    ],
)
def test_supervisor_bug_is_found(tmp_path: Path, bug: type[Supervisor]) -> None:
    top = SupervisorProof(bug(**SMALL))
    assert refute(top, free=top.free, work=tmp_path)
