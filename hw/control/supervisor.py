"""Start, stop, errors, drain, watchdog and interrupt of the accelerator."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import In, Out

from moesaic.hw.control.errors import ErrorReport
from moesaic.hw.spec.registers import IRQS, ErrorCode, ErrorUnit
from moesaic.hw.stream.states import States

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
    clear, clear_core : Out(1)
        Synchronous reset of the bus engines; of the core and its queues. Always equal: the core has thousands of
        registers.
    started : Out(1)
        Pulse: a start was accepted; clears the counters.
    counting : Out(1)
        Running or draining: the counters count.
    busy, done, error, draining, start_refused : Out(1)
        STATUS; a refused start shows two cycles after it was asked for.
    irq_status : Out(len(IRQS))
        An error's event comes a cycle after the error.
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
    clear_core: Signal
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
                "clear_core": Out(1),
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
        self.state = Signal(State)  # as a number; the machine itself has a register for each state
        self.at: dict[str, Signal] = {}  # those registers, once elaborated
        self.restart = Signal()  # after this clear: run, else idle
        self.resetting = Signal()  # after this drain: clear, whatever the run's end was
        self.cleared = Signal(range(clear_cycles + 1))
        self.remaining = Signal(32)
        self.expired = Signal()  # the watchdog is on, and has none remaining
        self.begun = Signal()  # a run was started in the cycle before
        self.stopping = Signal()  # while draining: after an error, or to reset; all bus engines hear of it
        self.asked = Signal()  # the host wrote start in the cycle before
        self.raised = Signal()  # an error was reported in the cycle before
        self.abandoned = Signal()  # the host wrote abort before the run it started could begin

    def elaborate(self, platform: object) -> Module:
        m = Module()
        states = States(m, *(state.name.lower() for state in State))
        self.at = at = states.at
        for state in State:
            with m.If(at[state.name.lower()]):
                m.d.comb += self.state.eq(state)
        live = Signal()  # errors are taken
        m.d.comb += live.eq(at["running"] | at["draining"])
        failed, failure = self._judge(m, live)

        m.d.sync += self.begun.eq(self.started)
        done_event = Signal()
        error_event = Signal()
        with m.If(live & failed & ~self.error & ~self.resetting):
            m.d.comb += error_event.eq(1)
            m.d.sync += [self.report.eq(failure), self.report.valid.eq(1)]

        def forget() -> None:
            m.d.sync += [self.report.eq(0), self.start_refused.eq(0)]

        def begin_clear(*, restart: Value | int) -> None:
            states.to("clearing")
            m.d.sync += [self.restart.eq(restart), self.cleared.eq(0)]

        # A cycle late, for the state has come a long way; the run itself begins later.
        with m.If(self.begun):
            forget()
        for resting in ("idle", "done", "error"):
            with states.state(resting):
                with m.If(self.soft_reset):
                    states.to("draining")
                    m.d.sync += self.resetting.eq(1)
                with m.Elif(self.started):
                    begin_clear(restart=1)
        with states.state("clearing"):
            # abort is 1 here, so a bus that is idle now is idle in the cycle in which clear acts.
            with m.If(self.soft_reset):
                m.d.sync += [self.restart.eq(0), self.resetting.eq(1)]
            with m.If(self.cleared == self.clear_cycles):
                m.d.sync += [self.clear.eq(0), self.clear_core.eq(0), self.resetting.eq(0)]
                with m.If(self.restart & ~self.soft_reset):
                    states.to("running")
                with m.Else():
                    states.to("idle")
                with m.If(self.resetting | self.soft_reset):
                    forget()
            with m.Elif(self.bus_idle):
                m.d.sync += [self.clear.eq(1), self.clear_core.eq(1), self.cleared.eq(self.cleared + 1)]
        with states.state("running"):
            # There is no error yet, so any failure is one.
            with m.If(self.soft_reset | failed | self.finished):
                states.to("draining")
            with m.If(self.soft_reset):
                m.d.sync += self.resetting.eq(1)
        with states.state("draining"):
            with m.If(self.soft_reset):
                m.d.sync += self.resetting.eq(1)
            with m.Elif(self.bus_idle & self.resetting):
                begin_clear(restart=0)
            with m.Elif(self.bus_idle & self.error):
                states.to("error")
            with m.Elif(self.bus_idle & ~failed):
                m.d.comb += done_event.eq(1)
                states.to("done")
        states.close()

        # A cycle late too, and so is an error's event.
        m.d.sync += [self.asked.eq(self.start), self.raised.eq(error_event)]
        m.d.sync += self.stopping.eq(self.error | self.resetting | (live & failed) | self.soft_reset)
        with m.If(self.asked & ~self.begun):
            m.d.sync += self.start_refused.eq(1)

        events = Cat(done_event, self.raised)
        m.d.sync += self.irq_status.eq((self.irq_status & ~self.irq_clear) | events)
        m.d.sync += self.irq.eq(((self.irq_status & ~self.irq_clear | events) & self.irq_enable).any())

        m.d.comb += [
            self.started.eq(
                self.start
                & self.bus_idle
                & (at["idle"] | at["done"] | at["error"])
                & ~self.soft_reset
                & ~self.abort_request
            ),
            self.run.eq(at["running"]),
            self.counting.eq(live),
            self.error.eq(self.report.valid),
            self.done.eq(at["done"]),
            self.draining.eq(at["draining"]),
            self.busy.eq(live | at["clearing"]),
            self.abort.eq(at["clearing"] | at["error"] | (at["draining"] & self.stopping)),
        ]
        return m

    def _judge(self, m: Module, live: Signal) -> tuple[Signal, Any]:
        """Whether something fails in this cycle, and what of it counts."""
        failed = Signal()
        failure: Any = Signal(ErrorReport)
        self._watch(m, live)
        m.d.sync += self.abandoned.eq(
            self.at["clearing"] & ~self.resetting & ~self.soft_reset & (self.abandoned | self.abort_request)
        )
        # Later assignments win: lowest priority first.
        with m.If(self.abort_request | self.abandoned):
            m.d.comb += [failed.eq(1), failure.code.eq(ErrorCode.HOST_ABORT.value)]
        with m.If(self.expired):
            m.d.comb += [failed.eq(1), failure.code.eq(ErrorCode.WATCHDOG.value)]
        m.d.comb += failure.unit.eq(ErrorUnit.CONTROL.value)
        for source in reversed(self.errors):
            with m.If(source.valid):
                m.d.comb += [failed.eq(1), failure.eq(source)]
        return failed, failure

    def _watch(self, m: Module, live: Signal) -> None:
        """The watchdog: nothing has happened for too long. It counts down from the last sign of life, and what it
        comes to is compared a cycle ahead.
        """
        with m.If(self.progress | ~live):
            m.d.sync += [self.remaining.eq(self.watchdog), self.expired.eq(0)]
        with m.Elif(self.remaining != 0):
            m.d.sync += [self.remaining.eq(self.remaining - 1), self.expired.eq(self.remaining == 1)]
