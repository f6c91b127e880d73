"""Runs the load stream: waits, asks the router's queues, and starts transfers of the weight stream."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.instruction import INDEX_BITS, instruction_layout
from moesaic.hw.decode.legality import refused
from moesaic.hw.memory.window import WindowGuard
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
    bases : In(3 x ports x addr_bits)
        Base addresses, by `isa.Base`.
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
                "bases": In(data.ArrayLayout(addresses, len(Base))),
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
        target = Signal(64)
        port = Signal(range(config.ports + 1))
        code = Signal(8)
        wanted = Signal()
        waits = Signal()
        # Judged a cycle late: two long comparisons. What was retired, and counted, stays so.
        m.d.sync += [
            waits.eq(op.wait > self.retired),
            wanted.eq(~op.expert_valid | op.speculative | (self.counts[op.expert] != 0)),
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
            m.d.sync += [op.eq(self.i.payload), port.eq(0)]
            with m.If(self.i.valid):
                states.to("decode")
        with states.state("decode"):
            states.to("wait")
            with m.If(op.opcode != Opcode.FETCH):
                m.d.sync += code.eq(ErrorCode.BAD_OPCODE)
                states.to("refused")
            with m.Elif(refused(Opcode.FETCH, op, config)):
                m.d.sync += code.eq(ErrorCode.BAD_FIELD)
                states.to("refused")
        with states.state("wait"):
            m.d.comb += self.waiting_router.eq(waits)
            with m.If(~waits):
                states.to("address")
                with m.If(~wanted):
                    m.d.sync += self.done.eq(self.done + 1)
                    states.to("idle")
        with states.state("address"):
            with m.Switch(port):
                for p in range(config.ports):
                    with m.Case(p):
                        m.d.sync += target.eq(
                            (op.offset << port_log2)
                            + Mux(
                                op.base == Base.IMAGE,
                                self.bases[Base.IMAGE][p],
                                Mux(op.base == Base.TASK, self.bases[Base.TASK][p], self.bases[Base.WEIGHT][p]),
                            )
                        )
            m.d.sync += asked.eq(0)
            states.to("check")
        with states.state("check"):
            m.d.comb += [guard.i.valid.eq(~asked), guard.o.ready.eq(1)]
            m.d.sync += address[port].eq(guard.o.p.addr)  # whether or not it is there: an abort comes a long way
            with m.If(guard.i.valid & guard.i.ready):
                m.d.sync += asked.eq(1)
            with m.If(guard.error):
                m.d.sync += [code.eq(ErrorCode.ADDRESS_RANGE), self.error_address.eq(guard.error_addr)]
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
