"""The way out for results: an AXI4 writer on every port."""

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import Axi4WriteBus, Axi4WriteSignature
from moesaic.hw.memory.axi_writer import AxiWriter
from moesaic.hw.memory.bursts import BEATS_BITS
from moesaic.hw.stream.rules import connect_stream

__all__ = ["ResultWriters"]


class ResultWriters(wiring.Component):
    """One :class:`AxiWriter` for each port, each with commands and beats of its own; they stop and drain together.

    Parameters
    ----------
    ports : int
    addr_bits, data_bits, max_burst, max_outstanding : int
        Of each writer.
    check_slave : bool
        Also assert the rules that the slaves have to keep.

    Members
    -------
    cmd : In(stream of {addr, beats})[ports], i : In(stream of unsigned(data_bits))[ports]
    abort, clear : In(1)
        As in the writers; they hear of ``abort`` a cycle later.
    idle : Out(1)
        All are.
    moves : Out(1)
        A beat or a response passes.
    error : Out(1)
        In the cycle before, a burst was answered by another response than OKAY (pulse); of several ports the lowest
        reports.
    error_resp : Out(2), error_addr : Out(addr_bits)
        That response, and the address of the burst.
    axi : Out(Axi4WriteSignature)[ports]

    Raises
    ------
    ValueError
        If a parameter of the writers is not as there.
    """

    cmd: list[stream.Interface]
    i: list[stream.Interface]
    abort: Signal
    clear: Signal
    idle: Signal
    moves: Signal
    error: Signal
    error_resp: Signal
    error_addr: Signal
    axi: list[Axi4WriteBus]

    def __init__(
        self,
        *,
        ports: int,
        addr_bits: int,
        data_bits: int,
        max_burst: int,
        max_outstanding: int,
        check_slave: bool = True,
    ) -> None:
        self.writers = [
            AxiWriter(
                addr_bits=addr_bits,
                data_bits=data_bits,
                max_burst=max_burst,
                max_outstanding=max_outstanding,
                check_slave=check_slave,
            )
            for _ in range(ports)
        ]
        transfer = data.StructLayout({"addr": addr_bits, "beats": BEATS_BITS})
        super().__init__(
            {
                "cmd": In(stream.Signature(transfer)).array(ports),
                "i": In(stream.Signature(data_bits)).array(ports),
                "abort": In(1),
                "clear": In(1),
                "idle": Out(1),
                "moves": Out(1),
                "error": Out(1),
                "error_resp": Out(2),
                "error_addr": Out(addr_bits),
                "axi": Out(Axi4WriteSignature(addr_bits=addr_bits, data_bits=data_bits)).array(ports),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        moves = []
        for p, writer in enumerate(self.writers):
            m.submodules[f"writer_{p}"] = writer
            abort = Signal(name=f"abort_{p}", attrs={"keep": "true"})  # each its own: many bits hang on it
            m.d.sync += abort.eq(self.abort)
            m.d.comb += [writer.abort.eq(abort), writer.clear.eq(self.clear)]
            connect_stream(m, self.cmd[p], writer.cmd)
            connect_stream(m, self.i[p], writer.i)
            bus = self.axi[p]
            connect_stream(m, writer.axi.aw, bus.aw)
            connect_stream(m, writer.axi.w, bus.w)
            connect_stream(m, bus.b, writer.axi.b)
            moves += [bus.w.valid & bus.w.ready, bus.b.valid & bus.b.ready]
        m.d.comb += [
            self.idle.eq(reduce(and_, (writer.idle for writer in self.writers))),
            self.moves.eq(reduce(or_, moves)),
        ]
        for p, writer in reversed(list(enumerate(self.writers))):
            failed, resp = Signal(name=f"failed_{p}"), Signal(2, name=f"failed_resp_{p}")
            addr = Signal(len(self.error_addr), name=f"failed_addr_{p}", reset_less=True)
            m.d.sync += [failed.eq(writer.error), resp.eq(writer.error_resp), addr.eq(writer.error_addr)]
            with m.If(failed):
                m.d.comb += [self.error.eq(1), self.error_resp.eq(resp), self.error_addr.eq(addr)]
        return m
