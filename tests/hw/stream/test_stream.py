# amaranth: UnusedElaboratable=no
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from moesaic.hw.stream.buffer import PairBuffer, SkidBuffer, StreamRegister
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import StreamContract, connect_stream
from moesaic.sim.verilated import SimulationFailed, cocotb_test

BLOCKS = {
    "queue_1": (lambda: Queue(8, depth=1), 1, Queue.LATENCY),
    "queue_5": (lambda: Queue(8, depth=5), 5, Queue.LATENCY),
    "queue_8": (lambda: Queue(8, depth=8), 8, Queue.LATENCY),
    "skid": (lambda: SkidBuffer(8), 2, SkidBuffer.LATENCY),
    "pair": (lambda: PairBuffer(8), 2, PairBuffer.LATENCY),
    "register": (lambda: StreamRegister(8), 1, StreamRegister.LATENCY),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_rtl(tmp_path: Path, name: str) -> None:
    make, capacity, latency = BLOCKS[name]
    env = {"LATENCY": str(latency), "CAPACITY": str(capacity), "QUEUE": str(int(name.startswith("queue")))}
    cocotb_test(make(), name=name, module="tb_stream", tmp_path=tmp_path, env=env)


def test_depth_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"depth must be positive, not 0"):
        Queue(8, depth=0)


class Liar(wiring.Component):
    """Offers the numbers from 0, and breaks one rule of streams."""

    o: stream.Interface

    def __init__(self, *, breaks: str) -> None:
        self.breaks = breaks
        super().__init__({"o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.contract = StreamContract(self.o, name="liar")
        m.d.comb += self.o.valid.eq(1)
        with m.If(self.o.ready | (self.breaks == "payload")):
            m.d.sync += self.o.payload.eq(self.o.payload + 1)
        if self.breaks == "valid":
            beat = Signal(2)
            m.d.sync += beat.eq(beat + 1)
            m.d.comb += self.o.valid.eq(beat == 0)
        return m


@pytest.mark.parametrize("breaks", ["valid", "payload"])
def test_contract_stops_the_simulation(tmp_path: Path, breaks: str) -> None:
    with pytest.raises(SimulationFailed, match=f"{breaks} must hold"):
        cocotb_test(Liar(breaks=breaks), name=f"liar_{breaks}", module="tb_liar", tmp_path=tmp_path)


AB = data.StructLayout({"a": 4, "b": 4})
BA = data.StructLayout({"b": 4, "a": 4})


@pytest.mark.parametrize(("left", "right"), [(unsigned(8), signed(8)), (AB, 8), (AB, BA), (8, 9)])
def test_other_payload_is_refused(left: object, right: object) -> None:
    src, dst = stream.Signature(left).create(), stream.Signature(right).flip().create()
    with pytest.raises(TypeError, match="payload of the destination must be"):
        connect_stream(Module(), src, dst)


@pytest.mark.parametrize(("left", "right"), [(8, unsigned(8)), (range(16), 4), (AB, data.StructLayout(AB.members))])
def test_same_payload_is_connected(left: object, right: object) -> None:
    connect_stream(Module(), stream.Signature(left).create(), stream.Signature(right).flip().create())


def test_handshakes_must_agree() -> None:
    plain, ready = stream.Signature(8), stream.Signature(8, always_ready=True)
    with pytest.raises(TypeError, match="destination must be always ready"):
        connect_stream(Module(), ready.create(), plain.flip().create())
    with pytest.raises(TypeError, match="source must be always valid"):
        connect_stream(Module(), plain.create(), stream.Signature(8, always_valid=True).flip().create())
    connect_stream(Module(), plain.create(), ready.flip().create())
