"""Runs the load stream: waits, asks the router's queues, and starts transfers of the weight stream."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.decode.legality import refused
from moesaic.hw.memory.window import ADDRESS_BITS, WindowGuard
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS, Base, Opcode
from moesaic.hw.spec.registers import ErrorCode
from moesaic.hw.stream.states import States

__all__ = ["LoadUnit"]


class LoadUnit(wiring.Component):
    """One FETCH at a time: about six cycles a port, then the weight stream works on its own.

    A refused instruction raises ``error`` until reset; nothing after it is started.

    Members
    -------
    i : In(stream of unsigned(256))
    cmd : Out(stream), transfers for the WeightStream
    retired : In(24), counts : In(experts x 13)
        Compute instructions retired; lengths of the expert queues.
    bases : In(3 x ports x 64)
        Base addresses, by `isa.Base`; what lies beyond the bus's addresses is refused.
    window_base, window_bytes : In(64), abort : In(1)
    done : Out(24)
        FETCH instructions finished (their transfer is started, or they were skipped).
    waiting_router, waiting_space : Out(1)
        For the counters.
    error, error_code, error_index, error_address : Out
    """

    i: stream.Interface
    cmd: stream.Interface
    retired: Signal
    counts: data.View
    bases: data.View
    window_base: Signal
    window_bytes: Signal
    abort: Signal
    done: Signal
    waiting_router: Signal
    waiting_space: Signal
    error: Signal
    error_code: Signal
    error_index: Signal
    error_address: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.guard = WindowGuard(addr_bits=config.addr_bits, data_bits=config.port_bits)
        addresses = data.ArrayLayout(unsigned(config.addr_bits), config.ports)
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION_BITS)),
                "cmd": Out(stream.Signature(data.StructLayout({"addr": addresses, "beats": unsigned(24)}))),
                "retired": In(INDEX_BITS),
                "counts": In(data.ArrayLayout(unsigned(13), config.experts)),
                "bases": In(data.ArrayLayout(data.ArrayLayout(unsigned(ADDRESS_BITS), config.ports), len(Base))),
                "window_base": In(64),
                "window_bytes": In(64),
                "abort": In(1),
                "done": Out(INDEX_BITS),
                "waiting_router": Out(1),
                "waiting_space": Out(1),
                "error": Out(1),
                "error_code": Out(8),
                "error_index": Out(INDEX_BITS),
                "error_address": Out(64),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        port_log2 = (config.port_bits // 8 - 1).bit_length()
        op: Any = Signal(instruction_layout(Opcode.FETCH))
        address: Any = Signal(data.ArrayLayout(unsigned(config.addr_bits), config.ports))
        target = Signal(ADDRESS_BITS)
        beyond = Signal(ADDRESS_BITS + 1)  # of a base near the end of 64 bits
        wraps = Signal()
        # The base, decoded for each port: many bits are chosen by it.
        chosen = [Signal(len(Base), name=f"chosen_{p}", attrs={"keep": "true"}) for p in range(config.ports)]
        m.d.sync += [bits.eq(Cat(op.base == base for base in Base)) for bits in chosen]
        port = Signal(range(config.ports + 1))
        code = Signal(8)
        wanted = Signal()
        waits = Signal()
        # Judged a cycle late: two long comparisons. What was retired, and counted, stays so.
        experts = Signal(config.experts)  # the instruction's, decoded as it arrives
        used = [experts[e] & (self.counts[e] != 0) for e in range(config.experts)]
        m.d.sync += [
            waits.eq(op.wait > self.retired),
            wanted.eq(~op.expert_valid | op.speculative | reduce(or_, used)),
        ]
        m.d.comb += [
            self.cmd.p.addr.eq(address),
            self.cmd.p.beats.eq(op.beats),
            self.error_index.eq(self.done),
            self.error_code.eq(code),
        ]
        m.submodules.guard = guard = self.guard
        asked = Signal()
        m.d.comb += [
            guard.window_base.eq(self.window_base),
            guard.window_bytes.eq(self.window_bytes),
            guard.abort.eq(self.abort),
            guard.i.p.addr.eq(target),
            guard.i.p.beats.eq(op.beats),
        ]
        states = States(m, "idle", "decode", "wait", "address", "check", "start", "refused")
        with states.state("idle"):
            m.d.comb += self.i.ready.eq(1)
            arriving = data.View(instruction_layout(Opcode.FETCH), self.i.payload)
            m.d.sync += [op.eq(self.i.payload), port.eq(0)]
            m.d.sync += experts.eq(Cat(arriving.expert == e for e in range(config.experts)))
            with m.If(self.i.valid):
                states.to("decode")
        # The judgement is a register: many comparisons.
        foreign, bad = Signal(), Signal()
        m.d.sync += [foreign.eq(op.opcode != Opcode.FETCH), bad.eq(refused(Opcode.FETCH, op, config))]
        with states.state("decode"):
            states.to("wait")
        with states.state("wait"):
            m.d.comb += self.waiting_router.eq(waits & ~foreign & ~bad)
            with m.If(foreign | bad):
                m.d.sync += code.eq(Mux(foreign, ErrorCode.BAD_OPCODE, ErrorCode.BAD_FIELD))
                states.to("refused")
            with m.Elif(~waits):
                states.to("address")
                with m.If(~wanted):
                    m.d.sync += self.done.eq(self.done + 1)
                    states.to("idle")
        with states.state("address"):
            with m.Switch(port):
                for p in range(config.ports):
                    with m.Case(p):
                        of = [Mux(chosen[p][base], self.bases[base][p], 0) for base in Base]
                        m.d.comb += beyond.eq((op.offset << port_log2) + reduce(or_, of))
            m.d.sync += [asked.eq(0), target.eq(beyond), wraps.eq(beyond[-1])]
            states.to("check")
        with states.state("check"):
            # An address of more bits must not lead into the window from its other end.
            m.d.comb += [guard.i.valid.eq(~asked & ~wraps), guard.o.ready.eq(1)]
            m.d.sync += address[port].eq(guard.o.p.addr)  # whether or not it is there: an abort comes a long way
            with m.If(guard.i.valid & guard.i.ready):
                m.d.sync += asked.eq(1)
            with m.If(guard.error | wraps):
                m.d.sync += [code.eq(ErrorCode.ADDRESS_RANGE), self.error_address.eq(target)]
                states.to("refused")
            with m.Elif(guard.o.valid):
                m.d.sync += port.eq(port + 1)
                states.to("address")
                with m.If(port == config.ports - 1):
                    states.to("start")
        with states.state("start"):
            m.d.comb += [self.cmd.valid.eq(1), self.waiting_space.eq(~self.cmd.ready)]
            with m.If(self.cmd.ready):
                m.d.sync += self.done.eq(self.done + 1)
                states.to("idle")
        with states.state("refused"):
            m.d.comb += self.error.eq(1)
        states.close()
        return m
