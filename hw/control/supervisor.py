"""Start, stop, errors, drain, watchdog and interrupt of the accelerator."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.errors import ErrorReport
from moesaic.hw.spec.registers import IRQS, ErrorCode, ErrorUnit

__all__ = ["State", "Supervisor"]


class State(Enum, shape=unsigned(3)):
    """What the accelerator is doing."""

    IDLE = 0
    CLEARING = 1
    RUNNING = 2
    DRAINING = 3
    DONE = 4
    ERROR = 5


class Supervisor(wiring.Component):
    """Take one run from start to done or error, and leave the accelerator fit for the next.

    A start clears the core (``clear``) and runs it until ``finished``, an error, the watchdog or the host ends the
    run. Then the bus drains: after an error with ``abort`` asserted, after success without. ``abort`` stays asserted
    from the error to the end of the next clear, so an idle bus stays idle whatever the queues still hold. The first
    error is kept; of several in one cycle the lowest index wins, then the watchdog, then the host. An error that
    arrives while a
    successful run drains turns it into a failed one. The error is latched, visible and raises the interrupt in the
    cycle after it is reported, whether or not the drain can end. A start that cannot be taken (busy, or the bus is not
    idle) sets ``start_refused`` and nothing else. A soft reset aborts, drains, clears, and goes idle with all status
    cleared.

    Latency is one cycle from any input to any output but ``started``, which is combinational. Reset state: idle, all
    outputs 0.

    Parameters
    ----------
    errors : int
        Number of error sources.
    clear_cycles : int
        Cycles for which ``clear`` is asserted.

    Members
    -------
    start, abort_request, soft_reset : In(1)
        Pulses from CTRL; soft_reset wins over abort_request, abort_request over start. An abort_request while the core
        is cleared for a run ends that run in its first cycle.
    watchdog : In(32)
        Cycles without progress before the WATCHDOG error; 0 = off. Stable while busy.
    finished : In(1)
        All three instruction streams have retired. Only looked at while running.
    progress : In(1)
        Some unit did something useful this cycle.
    bus_idle : In(1)
        No transaction is in flight in any bus engine. Must stay 1 while ``abort`` is 1.
    errors : In(ErrorReport).array(errors)
        Looked at while running and draining.
    irq_enable, irq_clear : In(len(IRQS))
        Bit per event of ``IRQS``; irq_clear is a pulse, and an event in the same cycle wins.
    run : Out(1)
        The units may work.
    abort : Out(1)
        To the bus engines: issue nothing, discard what returns.
    clear : Out(1)
        Synchronous reset of the core and its queues.
    started : Out(1)
        Pulse: a start was accepted; clears the counters.
    counting : Out(1)
        Running or draining: the counters count.
    busy, done, error, draining, start_refused : Out(1)
        STATUS.
    irq_status : Out(len(IRQS))
    irq : Out(1)
        Level, until irq_status or irq_enable is cleared.
    report : Out(ErrorReport)
        The latched error; all 0 when there is none.

    Raises
    ------
    ValueError
        If ``errors`` or ``clear_cycles`` is not positive.
    """

    start: Signal
    abort_request: Signal
    soft_reset: Signal
    watchdog: Signal
    finished: Signal
    progress: Signal
    bus_idle: Signal
    errors: list[data.View]
    irq_enable: Signal
    irq_clear: Signal
    run: Signal
    abort: Signal
    clear: Signal
    started: Signal
    counting: Signal
    busy: Signal
    done: Signal
    error: Signal
    draining: Signal
    start_refused: Signal
    irq_status: Signal
    irq: Signal
    report: data.View

    def __init__(self, *, errors: int, clear_cycles: int = 4) -> None:
        for name, value in (("errors", errors), ("clear_cycles", clear_cycles)):
            if value < 1:
                raise ValueError(f"{name} must be positive, not {value!r}")
        self.sources, self.clear_cycles = errors, clear_cycles
        super().__init__(
            {
                "start": In(1),
                "abort_request": In(1),
                "soft_reset": In(1),
                "watchdog": In(32),
                "finished": In(1),
                "progress": In(1),
                "bus_idle": In(1),
                "errors": In(ErrorReport).array(errors),
                "irq_enable": In(len(IRQS)),
                "irq_clear": In(len(IRQS)),
                "run": Out(1),
                "abort": Out(1),
                "clear": Out(1),
                "started": Out(1),
                "counting": Out(1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(1),
                "draining": Out(1),
                "start_refused": Out(1),
                "irq_status": Out(len(IRQS)),
                "irq": Out(1),
                "report": Out(ErrorReport),
            }
        )
        # Proofs name these.
        self.state = Signal(State)
        self.restart = Signal()  # after this clear: run, else idle
        self.resetting = Signal()  # after this drain: clear, whatever the run's end was
        self.cleared = Signal(range(clear_cycles + 1))
        self.remaining = Signal(32)
        self.begun = Signal()  # a run was started in the cycle before
        self.abandoned = Signal()  # the host wrote abort before the run it started could begin

    def elaborate(self, platform: object) -> Module:
        m = Module()
        live = Signal()  # errors are taken
        failed = Signal()  # an error this cycle
        failure: Any = Signal(ErrorReport)
        m.d.comb += live.eq((self.state == State.RUNNING) | (self.state == State.DRAINING))
        stuck = self._watch(m, live)

        m.d.sync += self.abandoned.eq(
            (self.state == State.CLEARING) & ~self.resetting & ~self.soft_reset & (self.abandoned | self.abort_request)
        )

        # Later assignments win: lowest priority first.
        with m.If(self.abort_request | self.abandoned):
            m.d.comb += [failed.eq(1), failure.code.eq(ErrorCode.HOST_ABORT.value)]
        with m.If(stuck):
            m.d.comb += [failed.eq(1), failure.code.eq(ErrorCode.WATCHDOG.value)]
        m.d.comb += failure.unit.eq(ErrorUnit.CONTROL.value)
        for source in reversed(self.errors):
            with m.If(source.valid):
                m.d.comb += [failed.eq(1), failure.eq(source)]

        m.d.sync += self.begun.eq(self.started)
        done_event = Signal()
        error_event = Signal()
        with m.If(live & failed & ~self.error & ~self.resetting):
            m.d.comb += error_event.eq(1)
            m.d.sync += [self.report.eq(failure), self.report.valid.eq(1)]

        def forget() -> None:
            m.d.sync += [self.report.eq(0), self.start_refused.eq(0)]

        def begin_clear(*, restart: Value | int) -> None:
            m.d.sync += [self.state.eq(State.CLEARING), self.restart.eq(restart), self.cleared.eq(0)]

        # A cycle late, for the state has come a long way; the run itself begins later.
        with m.If(self.begun):
            forget()
        with m.Switch(self.state):
            with m.Case(State.IDLE, State.DONE, State.ERROR):
                with m.If(self.soft_reset):
                    m.d.sync += [self.state.eq(State.DRAINING), self.resetting.eq(1)]
                with m.Elif(self.started):
                    begin_clear(restart=1)
            with m.Case(State.CLEARING):
                # abort is 1 here, so a bus that is idle now is idle in the cycle in which clear acts.
                with m.If(self.soft_reset):
                    m.d.sync += [self.restart.eq(0), self.resetting.eq(1)]
                with m.If(self.cleared == self.clear_cycles):
                    m.d.sync += [self.clear.eq(0), self.resetting.eq(0)]
                    m.d.sync += self.state.eq(Mux(self.restart & ~self.soft_reset, State.RUNNING, State.IDLE))
                    with m.If(self.resetting | self.soft_reset):
                        forget()
                with m.Elif(self.bus_idle):
                    m.d.sync += [self.clear.eq(1), self.cleared.eq(self.cleared + 1)]
            with m.Case(State.RUNNING):
                with m.If(self.soft_reset):
                    m.d.sync += [self.state.eq(State.DRAINING), self.resetting.eq(1)]
                with m.Elif(error_event | self.finished):
                    m.d.sync += self.state.eq(State.DRAINING)
            with m.Case(State.DRAINING):
                with m.If(self.soft_reset):
                    m.d.sync += self.resetting.eq(1)
                with m.Elif(self.bus_idle & self.resetting):
                    begin_clear(restart=0)
                with m.Elif(self.bus_idle & self.error):
                    m.d.sync += self.state.eq(State.ERROR)
                with m.Elif(self.bus_idle & ~error_event):
                    m.d.comb += done_event.eq(1)
                    m.d.sync += self.state.eq(State.DONE)

        with m.If(self.start & ~self.started):
            m.d.sync += self.start_refused.eq(1)

        events = Cat(done_event, error_event)
        m.d.sync += self.irq_status.eq((self.irq_status & ~self.irq_clear) | events)
        m.d.sync += self.irq.eq(((self.irq_status & ~self.irq_clear | events) & self.irq_enable).any())

        ready = Signal()  # a start can be taken
        m.d.comb += [
            ready.eq(self.bus_idle & ((self.state == State.IDLE) | self.done | (self.state == State.ERROR))),
            self.started.eq(self.start & ready & ~self.soft_reset & ~self.abort_request),
            self.run.eq(self.state == State.RUNNING),
            self.counting.eq(live),
            self.error.eq(self.report.valid),
            self.done.eq(self.state == State.DONE),
            self.draining.eq(self.state == State.DRAINING),
            self.busy.eq(live | (self.state == State.CLEARING)),
            self.abort.eq(
                (self.state == State.CLEARING)
                | (self.state == State.ERROR)
                | ((self.state == State.DRAINING) & (self.error | self.resetting))
            ),
        ]
        return m

    def _watch(self, m: Module, live: Signal) -> Signal:
        """The watchdog: 1 when nothing has happened for too long. It counts down from the last sign of life, so the
        comparison is with a constant.
        """
        stuck = Signal()
        with m.If(self.progress | ~live):
            m.d.sync += self.remaining.eq(self.watchdog)
        with m.Elif(self.remaining != 0):
            m.d.sync += self.remaining.eq(self.remaining - 1)
        m.d.comb += stuck.eq((self.watchdog != 0) & (self.remaining == 0))
        return stuck
