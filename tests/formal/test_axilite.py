"""The register file keeps AXI4-Lite and its own rules, whatever a lawful host does."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Cat, Const, Elaboratable, Module, Mux, Signal, Value
from prove import free_inputs, prove, refute

from moesaic.hw.bus.axi import Response
from moesaic.hw.bus.axilite_slave import AxiLiteSlave
from moesaic.hw.spec.registers import MAP_BYTES, Access, Field, Register, RegisterMap
from moesaic.hw.stream.rules import Check, StreamContract

TABLE = RegisterMap(
    1,
    (
        Register("FIXED", 0x000, Access.RO, 8, 0x5A, (), "", constant=True),
        Register("LOCKED_LO", 0x004, Access.RW, 32, 1, (), "", locked=True),
        Register("LOCKED_HI", 0x008, Access.RW, 4, 0, (), "", locked=True),
        Register("FREE", 0x00C, Access.RW, 10, 0x3, (Field("a", 0, 2, ""), Field("b", 8, 2, "")), ""),
        Register("GO", 0x010, Access.W1S, 2, 0, (Field("x", 0, 1, ""), Field("y", 1, 1, "")), ""),
        Register("EVENTS", 0x014, Access.W1C, 1, 0, (Field("z", 0, 1, ""),), ""),
        Register("STATE", 0x020, Access.RO, 6, 0, (), ""),
    ),
)


def flight(dut: AxiLiteSlave) -> list[Assert]:
    """Invariants: accesses that are held, and those that wait to be taken."""
    bus, rules = dut.bus, dut.rules
    return [
        Assert(~dut.decoded | dut.write_full),
        Assert(~dut.looked | dut.read_full),
        Assert(~dut.picked | dut.looked),
        Assert(rules.addressed == dut.write_full + bus.b.valid),
        Assert(rules.written == dut.data_full + bus.b.valid),
        Assert(rules.reads == dut.read_full + bus.r.valid),
    ]


class SlaveProof(Elaboratable):
    """The host may send and take at any time; it only holds what it offers until it is accepted."""

    def __init__(self, dut: AxiLiteSlave, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.free = free_inputs(dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        bus = dut.bus
        for channel in ("aw", "w", "ar"):
            m.submodules[channel] = StreamContract(getattr(bus, channel), check=Check.ASSUME)

        # What the held write may do, from the table alone.
        address = dut.write_address
        writable, read_known = Const(0), Const(0)
        for register in TABLE:
            if register.access is not Access.RO:
                writable = writable | ((address == register.offset) & ~(dut.lock & register.locked))
            read_known = read_known | (dut.read_address == register.offset)
        lawful, asked = Signal(), Signal()
        refusal = Signal(2)
        m.d.comb += lawful.eq(writable)
        m.d.comb += refusal.eq(Mux(address >= MAP_BYTES, Response.DECERR, Response.SLVERR))

        known = Signal()  # the cycle before was not a reset
        m.d.sync += known.eq(1)
        stored = Cat(Value.cast(dut.storage[name]) for name in dut.storage)
        before = Signal(len(stored))
        was_lawful, was_commit, was_refusal = Signal(), Signal(), Signal(2)
        m.d.sync += [before.eq(stored), was_commit.eq(dut.commit), was_lawful.eq(lawful), was_refusal.eq(refusal)]
        complete = dut.decoded & dut.data_full
        was_held, was_asked = Signal(), Signal()
        free = ~bus.b.valid | bus.b.ready
        m.d.comb += Assert(dut.commit == (complete & free), "a complete write waits for nothing else")
        m.d.comb += Assert(~Value.cast(dut.pulse).any() | (dut.commit & lawful), "a pulse is a lawful write")
        was_looked = Signal()
        m.d.sync += [
            was_held.eq(dut.write_full & ~dut.commit),
            was_asked.eq(dut.read_full & ~asked),
            was_looked.eq(dut.looked & ~asked),
        ]
        with m.If(known):
            m.d.comb += Assert(dut.decoded == was_held, "an address is compared within a cycle")
            m.d.comb += Assert(dut.looked == was_asked, "a read is looked up within a cycle")
            m.d.comb += Assert(dut.picked == was_looked, "its answer is chosen in the next")
            m.d.comb += Assert((stored == before) | (was_commit & was_lawful), "only lawful writes change a register")
            with m.If(was_commit):
                m.d.comb += Assert(bus.b.valid)
                m.d.comb += Assert(bus.b.p.resp == Mux(was_lawful, Response.OKAY, was_refusal))

        was_known, was_beyond, answered = Signal(), Signal(), Signal()
        m.d.comb += asked.eq(dut.picked & (~bus.r.valid | bus.r.ready))
        m.d.sync += [
            answered.eq(asked),
            was_known.eq(read_known),
            was_beyond.eq(dut.read_address >= MAP_BYTES),
        ]
        with m.If(known & answered):
            m.d.comb += Assert(bus.r.valid)
            refused = Mux(was_beyond, Response.DECERR, Response.SLVERR)
            m.d.comb += Assert(bus.r.p.resp == Mux(was_known, Response.OKAY, refused))

        if self.invariants:
            refused_now = Mux(dut.read_address >= MAP_BYTES, Response.DECERR, Response.SLVERR)
            m.d.comb += [
                *flight(dut),
                Assert(~dut.looked | (dut.looked_response == Mux(read_known, Response.OKAY, refused_now))),
                Assert(~dut.picked | (dut.answer_response == Mux(read_known, Response.OKAY, refused_now))),
                *(
                    Assert(~dut.decoded | (chosen == (address == TABLE[name].offset)))
                    for name, chosen in dut.chosen.items()
                ),
            ]
        return m


def test_register_file(tmp_path: Path) -> None:
    top = SlaveProof(AxiLiteSlave(TABLE, addr_bits=13), invariants=True)
    prove(top, free=top.free, work=tmp_path)


class WithdrawsResponse(AxiLiteSlave):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.bus.b.valid):
            m.d.sync += self.bus.b.valid.eq(0)
        return m


class AnswersWithoutData(AxiLiteSlave):
    """Commits as soon as the address is there."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.commit.eq(self.decoded & (~self.bus.b.valid | self.bus.b.ready))
        return m


class ReadDataMoves(AxiLiteSlave):
    """Shows the live value while the host stalls."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.bus.r.valid):
            m.d.sync += self.bus.r.p.data.eq(Value.cast(self.ro))
        return m


class IgnoresLock(AxiLiteSlave):
    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.commit & (self.write_address == 0x008)):
            m.d.sync += self.storage["locked"].eq(~self.storage["locked"])
        return m


class WritesWhereItShouldNot(AxiLiteSlave):
    """Looks at the low bits of the address only."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.commit & (self.write_address[:5] == 0x010)):
            m.d.comb += Value.cast(self.pulse.go).eq(1)
        return m


class TakesTooMuch(AxiLiteSlave):
    """Overwrites the address it holds."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.bus.aw.ready.eq(1)
        return m


@pytest.mark.parametrize(
    "bug",
    [
        WithdrawsResponse,
        AnswersWithoutData,
        ReadDataMoves,
        IgnoresLock,
        WritesWhereItShouldNot,
        TakesTooMuch,
    ],
)
def test_register_file_bug_is_found(tmp_path: Path, bug: type[AxiLiteSlave]) -> None:
    top = SlaveProof(bug(TABLE, addr_bits=13), invariants=False)
    assert refute(top, free=top.free, work=tmp_path)
