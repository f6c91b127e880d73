"""Runs the load stream: waits, asks the router's queues, and starts transfers of the weight stream."""

from amaranth.hdl import Array as HdlArray
from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.engine.payloads import INDEX_BITS, instruction_layout
from moesaic.hw.memory.window import inside_window
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS, Base, Opcode
from moesaic.hw.spec.registers import ErrorCode

__all__ = ["LoadUnit"]


class LoadUnit(wiring.Component):
    """One FETCH at a time: a handful of cycles each, then the weight stream works on its own.

    A refused instruction raises ``error`` until reset; nothing after it is started.

    Members
    -------
    i : In(stream of unsigned(256))
    cmd : Out(stream), transfers for the WeightStream
    retired : In(24), counts : In(experts x 13)
        Compute instructions retired; lengths of the expert queues.
    bases : In(3 x ports x addr_bits)
        Base addresses, by `isa.Base`.
    window_base, window_bytes : In(64)
    done : Out(24)
        FETCH instructions finished (their transfer is started, or they were skipped).
    waiting_router, waiting_space : Out(1)
        For the counters.
    error, error_code, error_index, error_address : Out
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        addresses = data.ArrayLayout(unsigned(config.addr_bits), config.ports)
        super().__init__({
            "i": In(stream.Signature(INSTRUCTION_BITS)),
            "cmd": Out(stream.Signature(data.StructLayout({"addr": addresses, "beats": unsigned(24)}))),
            "retired": In(INDEX_BITS),
            "counts": In(data.ArrayLayout(unsigned(13), config.experts)),
            "bases": In(data.ArrayLayout(addresses, len(Base))),
            "window_base": In(64),
            "window_bytes": In(64),
            "done": Out(INDEX_BITS),
            "waiting_router": Out(1),
            "waiting_space": Out(1),
            "error": Out(1),
            "error_code": Out(8),
            "error_index": Out(INDEX_BITS),
            "error_address": Out(64),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        port_log2 = (config.port_bits // 8 - 1).bit_length()
        op = Signal(instruction_layout(Opcode.FETCH))
        address = Signal(data.ArrayLayout(unsigned(config.addr_bits), config.ports))
        port = Signal(range(config.ports + 1))
        code = Signal(8)
        wanted, waits = Signal(), Signal()
        m.d.comb += [
            waits.eq(op.wait > self.retired),
            wanted.eq(~op.expert_valid | op.speculative | (self.counts[op.expert] != 0)),
            self.cmd.p.addr.eq(address),
            self.cmd.p.beats.eq(op.beats),
            self.error_index.eq(self.done),
            self.error_code.eq(code),
        ]
        current = Signal(config.addr_bits)
        m.d.comb += current.eq(HdlArray(address[p] for p in range(config.ports))[port])
        inside = inside_window(m, address=current, size=op.beats << port_log2, base=self.window_base, window=self.window_bytes, name="fetch")
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [op.eq(self.i.payload), port.eq(0)]
                with m.If(self.i.valid):
                    m.next = "decode"
            with m.State("decode"):
                for p in range(config.ports):
                    base = Mux(op.base == Base.IMAGE, self.bases[Base.IMAGE][p],
                               Mux(op.base == Base.TASK, self.bases[Base.TASK][p], self.bases[Base.WEIGHT][p]))
                    m.d.sync += address[p].eq(base + (op.offset << port_log2))
                bad = ((op.base > max(Base)) | (op.unused != 0) | (op.beats == 0) | ((op.beats & (config.beats_per_word - 1)) != 0)
                       | (op.expert_valid & (op.expert >= config.experts)))
                m.next = "wait"
                with m.If(op.opcode != Opcode.FETCH):
                    m.d.sync += code.eq(ErrorCode.BAD_OPCODE)
                    m.next = "refused"
                with m.Elif(bad):
                    m.d.sync += code.eq(ErrorCode.BAD_FIELD)
                    m.next = "refused"
            with m.State("wait"):
                m.d.comb += self.waiting_router.eq(waits)
                with m.If(~waits):
                    m.next = "check"
                    with m.If(~wanted):
                        m.d.sync += self.done.eq(self.done + 1)
                        m.next = "idle"
            with m.State("check"):
                m.d.sync += port.eq(port + 1)
                with m.If(~inside):
                    m.d.sync += [code.eq(ErrorCode.ADDRESS_RANGE), self.error_address.eq(current)]
                    m.next = "refused"
                with m.Elif(port == config.ports - 1):
                    m.next = "start"
            with m.State("start"):
                m.d.comb += [self.cmd.valid.eq(1), self.waiting_space.eq(~self.cmd.ready)]
                with m.If(self.cmd.ready):
                    m.d.sync += self.done.eq(self.done + 1)
                    m.next = "idle"
            with m.State("refused"):
                m.d.comb += self.error.eq(1)
        return m
