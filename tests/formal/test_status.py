# amaranth: UnusedElaboratable=no
"""What a driver sees of runs, in the registers: how each ends, once, and not before the buses are idle."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Signal, Value
from inside import Planted, opened, signals
from prove import prove, refute
from test_axilite import flight
from test_supervisor import SupervisorProof

from moesaic.hw.control.supervisor import State, Supervisor
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.stream.rules import Check, StreamContract
from moesaic.hw.top import Accelerator, _Units

EARLY, LATE = 3, 5  # cycles from those of a run to those in which an engine may begin something
READ = ("STATUS", "IRQ_STATUS", "ERROR_CODE", "ERROR_INSTRUCTION", "ERROR_ADDR_LO")


class StatusProof(Elaboratable):
    """Registers and supervisor as `Accelerator` connects them; all units behind them, and the host, are free."""

    def __init__(self, supervisor: type[Supervisor] = Supervisor, accelerator: type[Accelerator] = Accelerator) -> None:
        self.whole = accelerator(PRESETS["micro8"])
        self.units = units = _Units.of(self.whole.config)
        units.supervisor.__class__ = supervisor
        fetch, weights, writers, core = units.fetch, units.weights, units.writers, units.core
        self.engines = [fetch.idle, weights.idle, writers.idle]
        self.left = Signal()  # in the buffers between units
        errors = [fetch.report, weights.error, weights.error_resp, writers.error, core.error, core.error_code]
        errors += [units.load.error, units.load.error_code, units.store.error, units.store.error_code]
        progress = [core.retired, units.load.done, units.store.done, fetch.exhausted, weights.level, weights.o.valid]
        bus = units.registers.bus
        host = [*(part for c in (bus.aw, bus.w, bus.ar) for part in (c.valid, c.payload)), bus.b.ready, bus.r.ready]
        parts = [*self.engines, self.left, *errors, *progress, writers.moves, core.activity, *host]
        self.free = [Value.cast(part) for part in parts]
        # What a search for a mistake needs: writes, engines, errors of one unit.
        writes = (bus.aw.valid, bus.aw.payload, bus.w.valid, bus.w.payload, bus.b.ready)
        self.control = [Value.cast(part) for part in (*self.engines, *writes, fetch.report)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        units, whole = self.units, self.whole
        self.registers, self.supervisor = registers, supervisor = units.registers, units.supervisor
        self.inner, self.slave = opened(supervisor, platform), opened(registers, platform)
        m.submodules.registers, m.submodules.supervisor = registers, supervisor
        for channel in ("aw", "w", "ar"):
            m.submodules[channel] = StreamContract(getattr(registers.bus, channel), check=Check.ASSUME)
        abort = Signal()
        m.d.sync += abort.eq(supervisor.abort)
        whole._supervise(m, units, abort, in_buffers=self.left)
        whole._report(m, units)
        whole._show(m, units)
        SupervisorProof(supervisor)._now(m)
        self._assume(m, abort)
        self._runs(m)
        self._interrupts(m)
        self._idle(m, abort)
        self._settings(m)
        self._errors(m)
        self._reads(m)
        return m

    def _before(self, m: Module, value: Value, *, cycles: int = 1) -> Value:
        """A value of the cycle before, or of one before that; 0 after a reset."""
        for _ in range(cycles):
            past = Signal.like(Value.cast(value), name="past", init=0)
            m.d.sync += past.eq(value)
            value = past
        return value

    def _assume(self, m: Module, abort: Signal) -> None:
        """A bus engine that is idle begins nothing when it hears of an abort, at once in a run, or long after it."""
        fetch, weights, writers = self.engines
        heard = ((fetch, abort), (weights, abort), (writers, self.supervisor.abort))
        m.d.comb += [Assume(~self._before(m, idle & stop) | idle) for idle, stop in heard]
        self.went = went = Signal(LATE)  # whether there was a run so many cycles before, and one
        m.d.sync += went.eq(Cat(self.supervisor.counting, went))
        m.d.comb += [Assume(~self._before(m, idle) | idle | went[EARLY - 1 :].any()) for idle in self.engines]
        m.d.comb += [Assume(~source.valid | (source.code != 0)) for source in self.supervisor.errors]

    def _runs(self, m: Module) -> None:
        """A run that was started ends once: done, or with an error, or by a soft reset."""
        inner, supervisor, status = self.inner, self.supervisor, self.registers.ro.status
        self.open, done, failed = Signal(), Signal(), Signal()
        ended = inner["done_event"] | inner["error_event"]
        with m.If(ended | (supervisor.state == State.IDLE)):
            m.d.sync += self.open.eq(0)
        with m.If(ended):
            m.d.sync += [done.eq(inner["done_event"]), failed.eq(inner["error_event"])]
        with m.If(supervisor.started):
            m.d.sync += [self.open.eq(1), done.eq(0), failed.eq(0)]
        m.d.comb += [
            Assert(~ended | self.open, "a run ends once"),
            Assert(~(inner["done_event"] & inner["error_event"]), "in one way"),
            Assert(~self.open | status.busy | (supervisor.state == State.IDLE), "or a soft reset ends it"),
            Assert((supervisor.state != State.RUNNING) | self.open),
            Assert((supervisor.state != State.CLEARING) | ~supervisor.restart | self.open),
            Assert((supervisor.state != State.DRAINING) | supervisor.resetting | (self.open == ~status.error)),
            Assert(~status.error | ~self.open | supervisor.begun),
            Assert(~status.done | (done & ~status.busy & ~status.error), "done is a run that ended well"),
            Assert(~status.error | failed | supervisor.begun, "an error is of a run that failed"),
            Assert(~(status.busy & status.draining) | ~supervisor.started, "no start while another run drains"),
            Assert(~status.busy | ~supervisor.started, "nor while it is busy"),
        ]

    def _interrupts(self, m: Module) -> None:
        """An event is set once, stays until the host clears it, and shows at the pin while it is enabled."""
        inner, supervisor, registers = self.inner, self.supervisor, self.registers
        events = Cat(inner["done_event"], self._before(m, inner["error_event"]))
        status, was = registers.ro.irq_status.as_value(), self._before(m, supervisor.irq_status)
        cleared = self._before(m, registers.pulse.irq_status.as_value(), cycles=2)
        came = self._before(m, events)
        m.d.comb += [
            Assert(status == (was & ~cleared | came), "an event stays until it is cleared"),
            Assert(self.whole.irq == (status & self._before(m, registers.rw.irq_enable.as_value())).any()),
        ]

    def _idle(self, m: Module, abort: Signal) -> None:
        """A run is busy until every engine has been idle, and after an abort they still are. Engines are cleared while
        they are idle, and have heard of an abort for two cycles or of no run since the last clear.
        """
        supervisor, busy = self.supervisor, self.registers.ro.status.busy
        idle, begun = Cat(*self.engines).all(), Signal()
        m.d.sync += begun.eq((begun | supervisor.run) & ~supervisor.clear)
        state, cleared = supervisor.state, supervisor.cleared
        m.d.comb += [
            Assert((state != State.IDLE) | ~(begun | self.went.any())),
            *(Assert((state != State.CLEARING) | (cleared <= k) | ~self.went[k]) for k in range(LATE)),
            Assert((state != State.CLEARING) | (cleared == 0) | abort),
        ]
        falls, settled = self._before(m, busy) & ~busy, self._before(m, abort) | ~begun
        m.d.comb += [
            Assert(~falls | self._before(m, idle, cycles=2), "busy until the buses are idle"),
            Assert(~falls | ~supervisor.abort | idle, "after an abort they stay so"),
            Assert(~supervisor.clear | (idle & abort & settled & ~supervisor.run), "clear only while idle"),
        ]

    def _settings(self, m: Module) -> None:
        """What a run was started with holds until it ends."""
        registers, busy = self.registers, self.registers.ro.status.busy
        locked = [r.value_name for r in registers.table if r.locked]
        stored = Cat(*(registers.storage[name] for name in dict.fromkeys(locked)))
        starts = self._before(m, registers.pulse.ctrl.start)
        holds = self._before(m, busy | starts | self.supervisor.started)
        m.d.comb += Assert(~holds | (stored == self._before(m, stored)), "registers of a run are locked")

    def _errors(self, m: Module) -> None:
        """The first error is what the host reads, until the next run or a soft reset."""
        ro = self.registers.ro
        seen = Cat(ro.error_code.value, ro.error_addr.value, ro.error_instruction.as_value())
        failed, was = ro.status.error, self._before(m, ro.status.error)
        forgets = self._before(m, self.supervisor.begun | (self.supervisor.state == State.CLEARING))
        m.d.comb += [
            Assert(failed == (ro.error_code.value != 0), "a code is there with the error"),
            Assert(failed | (seen == 0), "and nothing else without"),
            Assert(~(failed & was) | (seen == self._before(m, seen)), "it does not change"),
            Assert(~was | failed | forgets),
        ]

    def _reads(self, m: Module) -> None:
        """A read gives what the register was two cycles before it is answered."""
        registers = self.registers
        inner = self.slave
        m.d.comb += [
            *flight(registers),
            *(Assert(place == registers.read_address[: len(place)]) for place in registers.places.values()),
        ]
        for name in READ:
            register = registers.table[name]
            was = self._before(m, registers.current(register), cycles=2)
            its = registers.picked & (registers.read_address == register.offset)
            m.d.comb += Assert(~its | (inner["answer"] == was), "a register is read as it was")


def test_status(tmp_path: Path) -> None:
    top = StatusProof()
    prove(top, free=top.free, work=tmp_path, depth=5)


class LockIsLate(Accelerator):
    """Registers are locked a cycle later."""

    def _supervise(self, m: Module, units: _Units, abort: Signal, *, in_buffers: Value) -> None:
        super()._supervise(m, units, abort, in_buffers=in_buffers)
        busy = [Signal(name=f"busy_{k}") for k in range(2)]
        m.d.sync += [busy[0].eq(units.supervisor.busy), busy[1].eq(busy[0]), units.registers.lock.eq(busy[1])]


class DoesNotWait(Accelerator):
    """The writers' bus is not waited for."""

    def _supervise(self, m: Module, units: _Units, abort: Signal, *, in_buffers: Value) -> None:
        super()._supervise(m, units, abort, in_buffers=in_buffers)
        m.d.sync += signals(m)["quiet"].eq(units.fetch.idle & units.weights.idle)


class TooSoonIdle(Accelerator):
    """What engines said before they heard of an abort counts."""

    def _supervise(self, m: Module, units: _Units, abort: Signal, *, in_buffers: Value) -> None:
        super()._supervise(m, units, abort, in_buffers=in_buffers)
        m.d.comb += units.supervisor.bus_idle.eq(signals(m)["quiet"])


class ClearsAll(Accelerator):
    """Clearing one event clears the other."""

    def _supervise(self, m: Module, units: _Units, abort: Signal, *, in_buffers: Value) -> None:
        super()._supervise(m, units, abort, in_buffers=in_buffers)
        cleared = signals(m)["pulse"][-2:]
        m.d.comb += units.supervisor.irq_clear.eq(cleared.any().replicate(2))


class ShowsNextError(Accelerator):
    """The code of an error is that of the last one."""

    def _show(self, m: Module, units: _Units) -> None:
        super()._show(m, units)
        source = units.supervisor.errors[0]
        with m.If(source.valid & units.supervisor.error):
            m.d.comb += units.registers.ro.error_code.value.eq(source.code)


class EndsTwice(Planted, Supervisor):
    """An error while a run drains after an error is an event, too."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["live"] & inner["failed"] & ~inner["resetting"]):
            m.d.comb += inner["error_event"].eq(1)


class StartsInADrain(Planted, Supervisor):
    """A start is taken while an error drains."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.start & self.bus_idle & self.draining & self.error):
            m.d.comb += self.started.eq(1)


FOUND = (LockIsLate, DoesNotWait)
LONG = (TooSoonIdle, ShowsNextError, EndsTwice, StartsInADrain, ClearsAll)  # those that show in long runs only


def find(bug: type[Accelerator] | type[Supervisor], work: Path, *, skip: int = 0) -> list[str]:
    """What a mistake violates."""
    top = StatusProof(bug, Accelerator) if issubclass(bug, Supervisor) else StatusProof(Supervisor, bug)
    return refute(top, free=top.control, work=work, depth=17, skip=skip, timeout=600)


@pytest.mark.parametrize("bug", FOUND)
def test_status_bug_is_found(tmp_path: Path, bug: type[Accelerator]) -> None:
    assert find(bug, tmp_path)
