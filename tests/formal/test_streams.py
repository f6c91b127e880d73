"""Stream blocks keep order, lose nothing and keep the contract, for any traffic: proved, and refuted on planted
bugs.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Elaboratable, Module, Mux, Signal
from prove import free_inputs, prove, refute

from moesaic.hw.stream.buffer import PairBuffer, SkidBuffer, StreamRegister
from moesaic.hw.stream.queue import Queue
from moesaic.hw.stream.rules import StreamContract

BITS = 4


class Follow:
    """One payload, picked freely, and the number of payloads ahead of it."""

    def __init__(self, m: Module, dut, *, held, capacity: int) -> None:
        self.pick = Signal()
        self.active = Signal()
        self.ahead = Signal(range(capacity + 1))
        self.value = Signal(BITS)
        push, pop = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        with m.If(~self.active):
            with m.If(push & self.pick):
                m.d.sync += [self.active.eq(1), self.value.eq(dut.i.payload), self.ahead.eq(held - pop)]
        with m.Elif(pop):
            m.d.sync += self.ahead.eq(self.ahead - 1)
            with m.If(self.ahead == 0):
                m.d.sync += self.active.eq(0)
        with m.If(self.active):
            m.d.comb += Assert(self.ahead < held, "the payload was lost")
            with m.If(self.ahead == 0):
                m.d.comb += Assert(dut.o.valid & (dut.o.payload == self.value), "the payload changed or came late")


class QueueProof(Elaboratable):
    def __init__(self, dut: Queue, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)
        self.pick = Signal()
        self.entry = dut.storage.read_port(domain="comb")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.contract = StreamContract(dut.o, unless=dut.clear)
        follow = Follow(m, dut, held=dut.level, capacity=dut.depth)
        m.d.comb += follow.pick.eq(self.pick)
        with m.If(dut.clear):
            m.d.sync += follow.active.eq(0)
        if not self.invariants:
            return m
        # The indices stay in range and a level apart; the followed payload is in its place.
        m.d.comb += [
            Assert(dut.level <= dut.depth),
            Assert(dut.some == (dut.level != 0)),
            Assert(dut.full == (dut.level == dut.depth)),
            Assert(dut.read_index < dut.depth),
            Assert(dut.write_index < dut.depth),
        ]
        end, place = Signal(8), Signal(8)
        m.d.comb += [end.eq(dut.read_index + dut.level), place.eq(dut.read_index + follow.ahead)]
        m.d.comb += Assert(dut.write_index == Mux(end >= dut.depth, end - dut.depth, end))
        m.d.comb += self.entry.addr.eq(Mux(place >= dut.depth, place - dut.depth, place))
        with m.If(follow.active):
            m.d.comb += Assert(self.entry.data == follow.value)
        return m


class FullQueueAccepts(Queue):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(~self.clear)
        return m


class PushAndPopMiscount(Queue):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.i.valid & self.i.ready & self.o.valid & self.o.ready):
            m.d.sync += self.level.eq(self.level + 1)
        return m


class ClearForgetsAnIndex(Queue):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.clear):
            m.d.sync += self.read_index.eq(self.read_index)
        return m


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_queue(tmp_path: Path, depth: int) -> None:
    top = QueueProof(Queue(BITS, depth=depth), invariants=True)
    prove(top, free=[*top.free, top.pick], work=tmp_path)


@pytest.mark.parametrize("bug", [FullQueueAccepts, PushAndPopMiscount, ClearForgetsAnIndex])
def test_queue_bug_is_found(tmp_path: Path, bug: type[Queue]) -> None:
    top = QueueProof(bug(BITS, depth=3), invariants=False)
    assert refute(top, free=[*top.free, top.pick], work=tmp_path)


class SkidProof(Elaboratable):
    def __init__(self, dut: SkidBuffer, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)
        self.pick = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.contract = StreamContract(dut.o)
        held = Signal(2)
        m.d.comb += held.eq(dut.o.valid + dut.spare_full)
        follow = Follow(m, dut, held=held, capacity=2)
        m.d.comb += follow.pick.eq(self.pick)
        if not self.invariants:
            return m
        m.d.comb += Assert(dut.o.valid | ~dut.spare_full)
        with m.If(follow.active & (follow.ahead == 1)):
            m.d.comb += Assert(dut.spare == follow.value)
        return m


class SkidDropsSpare(SkidBuffer):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.o.ready):
            m.d.sync += self.o.payload.eq(self.i.payload)
        return m


class SkidAlwaysReady(SkidBuffer):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


def test_skid_buffer(tmp_path: Path) -> None:
    top = SkidProof(SkidBuffer(BITS), invariants=True)
    prove(top, free=[*top.free, top.pick], work=tmp_path)


@pytest.mark.parametrize("bug", [SkidDropsSpare, SkidAlwaysReady])
def test_skid_buffer_bug_is_found(tmp_path: Path, bug: type[SkidBuffer]) -> None:
    top = SkidProof(bug(BITS), invariants=False)
    assert refute(top, free=[*top.free, top.pick], work=tmp_path)


class PairProof(Elaboratable):
    def __init__(self, dut: PairBuffer, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)
        self.pick = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.contract = StreamContract(dut.o)
        held = Signal(2)
        m.d.comb += held.eq(dut.full[0] + dut.full[1])
        follow = Follow(m, dut, held=held, capacity=2)
        m.d.comb += follow.pick.eq(self.pick)
        if not self.invariants:
            return m
        oldest_full = Mux(dut.read, dut.full[1], dut.full[0])
        m.d.comb += [
            Assert(dut.i.ready == (held != 2), "there is room, or a payload on offer"),
            Assert((held == 0) | oldest_full),
            Assert(dut.o.valid == oldest_full),
            Assert((dut.write == dut.read) == (held != 1)),
        ]
        with m.If(follow.active & (follow.ahead == 1)):
            m.d.comb += Assert(Mux(dut.read, dut.entries[0], dut.entries[1]) == follow.value)
        return m


class PairOverwrites(PairBuffer):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.sync += self.entries[0].eq(self.i.payload)
        return m


class PairForgetsItsTurn(PairBuffer):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.sync += self.read.eq(0)
        return m


class PairOffersWhatIsGone(PairBuffer):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.full[0] & self.full[1]):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.valid & self.o.ready & ~self.i.valid):
            m.d.sync += self.o.valid.eq(self.read)
        return m


def test_pair_buffer(tmp_path: Path) -> None:
    top = PairProof(PairBuffer(BITS), invariants=True)
    prove(top, free=[*top.free, top.pick], work=tmp_path)


@pytest.mark.parametrize("bug", [PairOverwrites, PairForgetsItsTurn, PairOffersWhatIsGone])
def test_pair_buffer_bug_is_found(tmp_path: Path, bug: type[PairBuffer]) -> None:
    top = PairProof(bug(BITS), invariants=False)
    assert refute(top, free=[*top.free, top.pick], work=tmp_path)


class RegisterProof(Elaboratable):
    def __init__(self, dut: StreamRegister, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)
        self.pick = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.contract = StreamContract(dut.o)
        follow = Follow(m, dut, held=dut.o.valid, capacity=1)
        m.d.comb += follow.pick.eq(self.pick)
        return m


class RegisterOverwrites(StreamRegister):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.i.valid):
            m.d.sync += self.o.payload.eq(self.i.payload)
        return m


def test_register(tmp_path: Path) -> None:
    top = RegisterProof(StreamRegister(BITS), invariants=True)
    prove(top, free=[*top.free, top.pick], work=tmp_path)


def test_register_bug_is_found(tmp_path: Path) -> None:
    top = RegisterProof(RegisterOverwrites(BITS), invariants=False)
    assert refute(top, free=[*top.free, top.pick], work=tmp_path)
