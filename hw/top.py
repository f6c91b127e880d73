"""The accelerator as a board sees it: clock, reset, interrupt, AXI4-Lite registers and AXI4 masters with AMBA names."""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import ClockDomain, DomainRenamer, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import (
    Axi4ReadSignature,
    Axi4WriteSignature,
    AxiLiteSignature,
    Response,
    connect_flat,
    flat_ports,
)
from moesaic.hw.bus.axilite_slave import AxiLiteSlave
from moesaic.hw.control.fetch import STREAMS, InstructionFetch
from moesaic.hw.control.supervisor import Supervisor
from moesaic.hw.engine.core import Core
from moesaic.hw.memory.load_unit import LoadUnit
from moesaic.hw.memory.result_writers import ResultWriters
from moesaic.hw.memory.store_unit import StoreUnit
from moesaic.hw.memory.weight_stream import WeightStream
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Base
from moesaic.hw.spec.latency import WRITES_IN_FLIGHT
from moesaic.hw.spec.registers import COUNTERS, ErrorCode, ErrorUnit, register_map
from moesaic.hw.stream.buffer import SkidBuffer
from moesaic.hw.stream.rules import StreamContract, connect_stream

__all__ = ["REGISTER_ADDR_BITS", "Accelerator", "accelerator_ports"]

REGISTER_ADDR_BITS = 16


def accelerator_ports(config: AcceleratorConfig) -> dict[str, wiring.Member]:
    """Members of an accelerator's signature, with AMBA names."""
    read = Axi4ReadSignature(addr_bits=config.addr_bits, data_bits=config.port_bits)
    write = Axi4WriteSignature(addr_bits=config.addr_bits, data_bits=config.port_bits)
    lite = AxiLiteSignature(addr_bits=REGISTER_ADDR_BITS)
    ports: dict[str, wiring.Member] = {"aclk": In(1), "aresetn": In(1), "irq": Out(1)}
    ports |= flat_ports("s_axil", lite.flip())
    for p in range(config.ports):
        ports |= flat_ports(f"m_axi_w{p}", read) | flat_ports(f"m_axi_w{p}", write)
    return ports | flat_ports("m_axi_c", read)


@dataclass(frozen=True)
class _Units:
    """Everything below the top."""

    registers: AxiLiteSlave
    supervisor: Supervisor
    fetch: InstructionFetch
    weights: WeightStream
    writers: ResultWriters
    core: Core
    load: LoadUnit
    store: StoreUnit

    @classmethod
    def of(cls, config: AcceleratorConfig) -> "_Units":
        """New ones."""
        return cls(
            registers=AxiLiteSlave(
                register_map(config.ports, config_hash=int(config.hash[-8:], 16)), addr_bits=REGISTER_ADDR_BITS
            ),
            supervisor=Supervisor(errors=6),
            fetch=InstructionFetch(
                addr_bits=config.addr_bits, data_bits=config.port_bits, instruction_bytes=INSTRUCTION_BYTES
            ),
            weights=WeightStream(
                ports=config.ports,
                addr_bits=config.addr_bits,
                port_bits=config.port_bits,
                word_bytes=config.word_bytes,
                depth_words=config.prefetch_words,
                max_burst=config.max_burst,
                max_outstanding=config.max_outstanding,
                ram_style=config.ram_style("prefetch"),
            ),
            writers=ResultWriters(
                ports=config.ports,
                addr_bits=config.addr_bits,
                data_bits=config.port_bits,
                max_burst=config.max_burst,
                max_outstanding=WRITES_IN_FLIGHT,
            ),
            core=Core(config),
            load=LoadUnit(config),
            store=StoreUnit(config),
        )


class Accelerator(wiring.Component):
    """A whole accelerator.

    Ports: ``aclk``, ``aresetn`` (synchronous), ``irq``; ``s_axil_*`` (AXI4-Lite registers, `hw.spec.registers`);
    ``m_axi_w{p}_*`` (AXI4: the weight stream in, results out, each over all of them); ``m_axi_c_*`` (AXI4 reads of
    instructions). After reset it is idle.

    Parameters
    ----------
    config : AcceleratorConfig
    """

    # Not the buses: `flat_ports` makes theirs, `connect_flat` connects them.
    aclk: Signal
    aresetn: Signal
    irq: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(accelerator_ports(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        domain: Any = ClockDomain("sync")
        core_domain: Any = ClockDomain("core")  # same clock; also reset between runs
        m.domains += [domain, core_domain]
        units = _Units.of(self.config)
        m.d.comb += [
            domain.clk.eq(self.aclk),
            domain.rst.eq(~self.aresetn),
            core_domain.clk.eq(self.aclk),
            core_domain.rst.eq(units.supervisor.clear_core | ~self.aresetn),
        ]
        for name in ("registers", "supervisor", "fetch", "weights", "writers"):
            m.submodules[name] = getattr(units, name)
        for name in ("core", "load", "store"):
            m.submodules[name] = DomainRenamer("core")(getattr(units, name))
        abort = Signal()
        m.d.sync += abort.eq(units.supervisor.abort)  # it has far to go
        self._connect_buses(m, units)
        buffers = self._connect_streams(m, units)
        self._watch(m, units, abort)
        self._configure(m, units)
        self._control(m, units, abort)
        self._supervise(m, units, abort, in_buffers=reduce(or_, [buffer.o.valid for buffer in buffers]))
        self._report(m, units)
        self._show(m, units)
        self._count(m, units)
        return m

    def _connect_buses(self, m: Module, units: _Units) -> None:
        """The ports with AMBA names."""
        connect_flat(m, self, "s_axil", units.registers.bus)
        for p in range(self.config.ports):
            connect_flat(m, self, f"m_axi_w{p}", units.weights.axi[p])
            connect_flat(m, self, f"m_axi_w{p}", units.writers.axi[p])
        connect_flat(m, self, "m_axi_c", units.fetch.axi)

    def _connect_streams(self, m: Module, units: _Units) -> list[SkidBuffer]:
        """Instructions, transfers, words and results; the buffers on the way."""
        load, core, store, weights = units.load, units.core, units.store, units.weights
        for instructions, port in zip(units.fetch.o, (load.i, core.i, store.i), strict=True):
            connect_stream(m, instructions, port)
        # Both ways cut: an abort, and the bus engines' readiness, have far to go.
        transfer = SkidBuffer(load.cmd.p.shape())
        buffers = {"transfer": transfer}
        for p, (cmd, o) in enumerate(zip(units.writers.cmd, units.writers.i, strict=True)):
            for name, given, taken in (("result_transfer", store.cmd[p], cmd), ("result", store.o[p], o)):
                buffers[f"{name}_{p}"] = buffer = SkidBuffer(given.p.shape())
                connect_stream(m, given, buffer.i)
                connect_stream(m, buffer.o, taken)
        for name, buffer in buffers.items():
            m.submodules[f"{name}_buffer"] = DomainRenamer("core")(buffer)
        connect_stream(m, load.cmd, transfer.i)
        m.d.comb += [
            weights.cmd.payload.as_value().eq(transfer.o.payload.as_value()),
            weights.cmd.valid.eq(transfer.o.valid),
            transfer.o.ready.eq(weights.cmd.ready),
        ]
        connect_stream(m, weights.o, core.weights)
        connect_stream(m, core.skip, weights.skip)
        return list(buffers.values())

    def _watch(self, m: Module, units: _Units, abort: Signal) -> None:
        """The rules of streams, in simulation."""
        load, core, store = units.load, units.core, units.store
        watched = {
            "load instructions": load.i,
            "compute instructions": core.i,
            "store instructions": store.i,
            "skip": core.skip,
            "transfers": load.cmd,
        }
        for p in range(self.config.ports):
            watched |= {f"result transfers {p}": store.cmd[p], f"results {p}": store.o[p]}
        for name, port in watched.items():
            m.submodules[f"{name.replace(' ', '_')}_contract"] = StreamContract(port, unless=abort, name=name)

    def _configure(self, m: Module, units: _Units) -> None:
        """Registers to units."""
        rw, fetch, load, store = units.registers.rw, units.fetch, units.load, units.store
        for number, name in enumerate(STREAMS):
            m.d.comb += [
                fetch.base[number].eq(rw[f"{name}_base"].value),
                fetch.count[number].eq(rw[f"{name}_count"].value),
            ]
        for guarded in (fetch, load, store):
            m.d.comb += [guarded.window_base.eq(rw.window_base.value), guarded.window_bytes.eq(rw.window_bytes.value)]
        for p in range(self.config.ports):
            for base, name in ((Base.WEIGHT, "weight"), (Base.IMAGE, "image"), (Base.TASK, "task")):
                m.d.comb += load.bases[base][p].eq(rw[f"{name}_base{p}"].value)
        m.d.comb += [store.result_base.eq(rw.result_base.value), store.result_bytes.eq(rw.result_bytes.value)]

    def _control(self, m: Module, units: _Units, abort: Signal) -> None:
        """What units say to each other, and the supervisor to all of them."""
        core, load, store = units.core, units.load, units.store
        m.d.comb += [
            load.retired.eq(core.retired),
            store.retired.eq(core.retired),
            load.counts.eq(core.counts),
            core.result.enable.eq(store.read_enable),
            core.result.address.eq(store.read_address),
            store.read_data.eq(core.result.data),
            store.read_ready.eq(core.result_ready),
            units.fetch.run.eq(units.supervisor.run),
        ]
        # The writers have a register of their own behind it.
        for drained, stop in ((units.fetch, abort), (units.weights, abort), (units.writers, units.supervisor.abort)):
            m.d.comb += [drained.abort.eq(stop), drained.clear.eq(units.supervisor.clear)]
        m.d.comb += [load.abort.eq(abort), store.abort.eq(abort)]

    def _supervise(self, m: Module, units: _Units, abort: Signal, *, in_buffers: Value) -> None:
        """How far the run is, and what the host asks for."""
        registers, supervisor, core = units.registers, units.supervisor, units.core
        fetch, weights, writers, load, store = units.fetch, units.weights, units.writers, units.load, units.store
        rw = registers.rw
        # What the units say is registered on its way: it comes from everywhere, and a cycle later is soon enough.
        finished, retired_all = Signal(name="finished"), Signal(name="retired_all")
        nothing_left = Signal()
        m.d.sync += retired_all.eq(
            (core.retired == rw.compute_count.value)
            & (load.done == rw.load_count.value)
            & (store.done == rw.store_count.value)
        )
        # Words left over would be a program's mistake: it then ends by the watchdog.
        m.d.sync += [
            nothing_left.eq(
                supervisor.run
                & fetch.exhausted.all()
                & weights.idle
                & (weights.level == 0)
                & ~weights.o.valid
                & ~in_buffers
            ),
            finished.eq(retired_all & nothing_left),
        ]
        # Until it hears of an abort a bus engine may still begin something: what it said before does not count.
        quiet, aborting = Signal(name="quiet"), Signal(name="aborting")
        m.d.sync += [quiet.eq(fetch.idle & weights.idle & writers.idle), aborting.eq(abort)]
        pulse: Any = Signal(registers.pulse.shape())
        # The host cannot write again before the lock is there.
        m.d.sync += [pulse.eq(registers.pulse), registers.lock.eq(supervisor.busy)]
        previous = Signal(len(core.retired))
        m.d.sync += previous.eq(core.retired)
        transfers = [axi.r.valid & axi.r.ready for axi in weights.axi]
        transfers += [fetch.axi.r.valid & fetch.axi.r.ready, writers.moves]
        m.d.sync += supervisor.progress.eq(
            reduce(or_, transfers) | core.activity.busy | core.activity.loader_busy | (previous != core.retired)
        )
        m.d.comb += [
            supervisor.start.eq(pulse.ctrl.start),
            supervisor.abort_request.eq(pulse.ctrl.abort),
            supervisor.soft_reset.eq(pulse.ctrl.soft_reset),
            supervisor.watchdog.eq(rw.watchdog.value),
            supervisor.finished.eq(finished),
            supervisor.bus_idle.eq(quiet & (aborting | ~supervisor.abort)),
            supervisor.irq_enable.eq(rw.irq_enable.as_value()),
            supervisor.irq_clear.eq(pulse.irq_status.as_value()),
            self.irq.eq(supervisor.irq),
        ]

    def _report(self, m: Module, units: _Units) -> None:
        """Errors to the supervisor."""
        supervisor, weights, writers = units.supervisor, units.weights, units.writers
        load, core, store = units.load, units.core, units.store

        def report(number: int, *, valid, code, unit: ErrorUnit, index, address=0) -> None:
            source = supervisor.errors[number]
            m.d.sync += [
                source.valid.eq(valid),
                source.code.eq(code),
                source.unit.eq(int(unit)),
                source.index.eq(index),
                source.address.eq(address),
            ]

        slave = Response.SLVERR
        m.d.sync += supervisor.errors[0].eq(units.fetch.report)
        report(
            1,
            valid=weights.error,
            code=Mux(weights.error_resp == slave, ErrorCode.READ_SLVERR, ErrorCode.READ_DECERR),
            unit=ErrorUnit.LOAD,
            index=load.done,
            address=weights.error_addr,
        )
        report(
            2,
            valid=writers.error,
            code=Mux(writers.error_resp == slave, ErrorCode.WRITE_SLVERR, ErrorCode.WRITE_DECERR),
            unit=ErrorUnit.STORE,
            index=store.done,
            address=writers.error_addr,
        )
        report(
            3,
            valid=load.error,
            code=load.error_code,
            unit=ErrorUnit.LOAD,
            index=load.error_index,
            address=load.error_address,
        )
        report(4, valid=core.error, code=core.error_code, unit=ErrorUnit.COMPUTE, index=core.error_index)
        report(
            5,
            valid=store.error,
            code=store.error_code,
            unit=ErrorUnit.STORE,
            index=store.error_index,
            address=store.error_address,
        )

    def _show(self, m: Module, units: _Units) -> None:
        """Status for the host."""
        ro, supervisor = units.registers.ro, units.supervisor
        latched = supervisor.report
        m.d.comb += [
            ro.status.busy.eq(supervisor.busy),
            ro.status.done.eq(supervisor.done),
            ro.status.error.eq(supervisor.error),
            ro.status.draining.eq(supervisor.draining),
            ro.status.start_refused.eq(supervisor.start_refused),
            ro.irq_status.as_value().eq(supervisor.irq_status),
            ro.error_code.value.eq(latched.code),
            ro.error_addr.value.eq(latched.address),
            ro.error_instruction.index.eq(latched.index),
            ro.error_instruction.unit.eq(latched.unit),
        ]

    def _count(self, m: Module, units: _Units) -> None:
        """Counters."""
        ro, supervisor, fetch, weights = units.registers.ro, units.supervisor, units.fetch, units.weights
        started, counting, ran = (Signal(name=name) for name in ("started", "counting", "ran"))  # a cycle late
        core, load, store, seen = units.core, units.load, units.store, units.core.activity
        steps = {
            "CYCLES": 1,
            "ARRAY_BUSY": seen.busy,
            "ARRAY_STARVED": seen.starved,
            "ARRAY_LOADING": seen.loading,
            "ARRAY_BLOCKED": seen.blocked,
            "ARRAY_IDLE": ran & ~(seen.busy | seen.starved | seen.loading | seen.blocked),
            "LOADER_BUSY": seen.loader_busy,
            "LOADER_STARVED": seen.loader_starved,
            "LOADER_BLOCKED": seen.loader_blocked,
            "LOAD_BLOCKED_ROUTER": load.waiting_router,
            "LOAD_BLOCKED_SPACE": load.waiting_space,
            "ACTIVATION_WORDS_READ": seen.activation_reads,
            "ATTENTION_CYCLES": seen.attention,
            "ATTENTION_WORDS_READ": seen.attention_read,
            "STATIONARY_WORDS_READ": seen.stationary_read,
            "MARKS": seen.mark,
        }
        values = {
            "FETCH_BYTES": fetch.bytes_read,
            "WEIGHT_BYTES": weights.bytes_read,
            "SPECULATED_BYTES_DROPPED": weights.bytes_skipped,
            "INSTRUCTIONS_RETIRED": core.retired + load.done + store.done,
            "STORE_BYTES": store.bytes,
        }
        m.d.sync += [started.eq(supervisor.started), counting.eq(supervisor.counting), ran.eq(supervisor.run)]
        for counter in COUNTERS:
            name = counter.name.lower()
            if counter.name in steps:
                count = Signal(counter.bits, name=f"count_{name}")
                step = Signal(2, name=f"step_{name}")
                m.d.sync += step.eq(steps[counter.name])
                with m.If(started):
                    m.d.sync += count.eq(0)
                with m.Elif(counting):
                    m.d.sync += count.eq(count + step)
                m.d.comb += ro[name].value.eq(count)
            else:
                value = Signal(counter.bits, name=f"value_{name}")
                m.d.sync += value.eq(values[counter.name])
                m.d.comb += ro[name].value.eq(value)
