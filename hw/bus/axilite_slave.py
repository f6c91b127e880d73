"""AXI4-Lite register file built from the register map."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.bus.axi import AxiLiteSignature, Response
from moesaic.hw.bus.axi_rules import AxiLiteRules
from moesaic.hw.spec.registers import MAP_BYTES, Access, Register, RegisterMap

__all__ = ["AxiLiteSlave", "value_layout"]

GROUP_LOG2 = 6  # of the bytes of registers among which a read chooses in one cycle


def value_layout(registers: tuple[Register, ...]) -> data.FlexibleLayout:
    """Shape of one value: its fields if it has any, else a number under the name ``value``."""
    width = sum(register.width for register in registers)
    fields: dict[int | str, data.Field] = {
        field.name: data.Field(unsigned(field.width), field.lsb) for field in registers[0].fields
    }
    return data.FlexibleLayout(width, fields or {"value": data.Field(unsigned(width), 0)})


class AxiLiteSlave(wiring.Component):
    """Registers of one ``RegisterMap`` over AXI4-Lite.

    Takes address and data of a write in either order, holds one write and one read, and accepts any stall. A write
    takes effect (``rw``, ``pulse``) two cycles after its address or one after its data, whichever is later, if no
    response is waiting; its response is valid one cycle later. A read's data is valid four cycles after its address and
    is the register as it was three cycles before. Sustained, one write per three cycles and one read per four cycles.
    Bad addresses and writes that are not allowed answer SLVERR (beyond the map: DECERR) and change nothing. Reset
    state: nothing held, ``rw`` as in the table.

    Parameters
    ----------
    table : RegisterMap
    addr_bits : int
        Width of the bus address in bits, 12 or more.

    Members
    -------
    bus : In(AxiLiteSignature(addr_bits=addr_bits))
    lock : In(1)
        Refuse writes to registers marked ``locked``.
    rw : Out(struct)
        A member per RW value, 64-bit ones joined: ``rw.load_base.value``, ``rw.irq_enable.done``.
    pulse : Out(struct)
        A member per W1S and W1C register, each bit 1 in the cycle in which a 1 is written: ``pulse.ctrl.start``.
    ro : In(struct)
        A member per RO and W1C value that is not a constant: ``ro.status.busy``, ``ro.cycles.value``.

    Raises
    ------
    ValueError
        If ``addr_bits`` is less than 12.
    """

    bus: Any
    lock: Signal
    rw: data.View
    pulse: data.View
    ro: data.View

    def __init__(self, table: RegisterMap, *, addr_bits: int = 16) -> None:
        if 1 << addr_bits < MAP_BYTES:
            raise ValueError(f"addr_bits must be 12 or more, not {addr_bits!r}")
        self.table, self.addr_bits = table, addr_bits

        def struct(*kinds: Access) -> data.StructLayout:
            return data.StructLayout(
                {
                    name: value_layout(words)
                    for name, words in table.values.items()
                    if words[0].access in kinds and not words[0].constant
                }
            )

        super().__init__(
            {
                "bus": In(AxiLiteSignature(addr_bits=addr_bits)),
                "lock": In(1),
                "rw": Out(struct(Access.RW)),
                "pulse": Out(struct(Access.W1S, Access.W1C)),
                "ro": In(struct(Access.RO, Access.W1C)),
            }
        )
        self.rules = AxiLiteRules(self.bus, max_outstanding=2, name="register file")
        # Proofs name these.
        self.storage = {
            name: Signal(sum(word.width for word in words), name=name, init=join(words))
            for name, words in table.values.items()
            if words[0].access is Access.RW
        }
        self.write_full = Signal()
        self.data_full = Signal()
        self.read_full = Signal()
        self.write_address = Signal(addr_bits)
        self.read_address = Signal(addr_bits)
        # a copy of the latter's place for every group of registers, for each of their bits asks for it
        self.places = {
            number: Signal(GROUP_LOG2, name=f"place_{number}", attrs={"keep": "true"})
            for number in sorted({register.offset >> GROUP_LOG2 for register in table})
        }
        # the held write, the held read, a cycle later
        self.decoded = Signal()
        self.looked = Signal()
        self.picked = Signal()  # the held read, two cycles later
        self.chosen = {
            register.name: Signal(name=f"chosen_{register.name.lower()}")
            for register in table
            if register.access is not Access.RO
        }
        self.looked_response = Signal(2)
        self.answer_response = Signal(2)
        self.commit = Signal()
        self.accepted = Signal()  # the write of this commit changes something

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rules = self.rules
        bus = self.bus
        write_data = Signal(32)
        write_strobe = Signal(4)
        mask = Signal(32)
        m.d.comb += mask.eq(Cat(bit.replicate(8) for bit in write_strobe))

        m.d.comb += [bus.aw.ready.eq(~self.write_full), bus.w.ready.eq(~self.data_full)]
        with m.If(bus.aw.valid & bus.aw.ready):
            m.d.sync += [self.write_full.eq(1), self.write_address.eq(bus.aw.p.addr)]
        with m.If(bus.w.valid & bus.w.ready):
            m.d.sync += [self.data_full.eq(1), write_data.eq(bus.w.p.data), write_strobe.eq(bus.w.p.strb)]

        response = Signal(2)
        with m.If(bus.b.ready):
            m.d.sync += bus.b.valid.eq(0)
        # Addresses are compared in a cycle of their own, before what they choose.
        m.d.sync += self.decoded.eq(self.write_full & ~self.commit)
        m.d.comb += self.commit.eq(self.decoded & self.data_full & (~bus.b.valid | bus.b.ready))
        with m.If(self.commit):
            m.d.sync += [self.write_full.eq(0), self.data_full.eq(0), bus.b.valid.eq(1), bus.b.p.resp.eq(response)]

        read_data = Signal(32)
        m.d.comb += bus.ar.ready.eq(~self.read_full)
        with m.If(bus.ar.valid & bus.ar.ready):
            m.d.sync += [self.read_full.eq(1), self.read_address.eq(bus.ar.p.addr)]
            m.d.sync += [place.eq(bus.ar.p.addr) for place in self.places.values()]
        with m.If(bus.r.ready):
            m.d.sync += bus.r.valid.eq(0)
        answer = Signal(32)
        answered = Signal()
        m.d.comb += answered.eq(self.picked & (~bus.r.valid | bus.r.ready))
        m.d.sync += [
            self.looked.eq(self.read_full & ~answered),
            self.picked.eq(self.looked & ~answered),
            answer.eq(read_data),
            self.answer_response.eq(self.looked_response),
        ]
        with m.If(answered):
            m.d.sync += [self.read_full.eq(0), bus.r.valid.eq(1)]
            m.d.sync += [bus.r.p.data.eq(answer), bus.r.p.resp.eq(self.answer_response)]

        self.decode_write(m, response, write_data, mask)
        self.decode_read(m, read_data)
        return m

    def decode_write(self, m: Module, response: Signal, write_data: Signal, mask: Signal) -> None:
        """What the held write does when it commits."""
        m.d.comb += response.eq(Response.SLVERR)
        with m.If(self.write_address >= MAP_BYTES):
            m.d.comb += response.eq(Response.DECERR)
        for name, storage in self.storage.items():
            m.d.comb += Value.cast(self.rw[name]).eq(storage)
        for name, chosen in self.chosen.items():
            register = self.table[name]
            m.d.sync += chosen.eq(self.write_address == register.offset)
            with m.If(chosen):
                refused = self.lock if register.locked else Const(0)
                with m.If(~refused):
                    m.d.comb += [response.eq(Response.OKAY), self.accepted.eq(self.commit)]
                low = self.bit_of(register)
                bits = Const(register.mask, register.width)
                with m.If(self.accepted):
                    if register.access is Access.RW:
                        held = self.storage[register.value_name][low : low + register.width]
                        m.d.sync += held.eq((write_data & mask & bits) | (held & ~mask))
                    else:
                        m.d.comb += Value.cast(self.pulse[register.value_name]).eq(write_data & mask & bits)

    def decode_read(self, m: Module, read_data: Signal) -> None:
        """What the held read answers: in the first cycle the register of each group that it may be, in the second the
        group's.
        """
        beyond = Signal()
        m.d.sync += beyond.eq(self.read_address >= MAP_BYTES)
        m.d.comb += self.looked_response.eq(Mux(beyond, Response.DECERR, Response.SLVERR))
        group = self.read_address[GROUP_LOG2:]
        found = {
            register.offset >> GROUP_LOG2: Signal(32, name=f"group_{register.offset >> GROUP_LOG2}")
            for register in self.table
        }
        known = {number: Signal(name=f"known_{number}") for number in found}
        for number, value in found.items():
            m.d.sync += [value.eq(0), known[number].eq(0)]
            with m.Switch(self.places[number]):
                for register in self.table:
                    if register.offset >> GROUP_LOG2 == number:
                        with m.Case(register.offset & (1 << GROUP_LOG2) - 1):
                            m.d.sync += [value.eq(self.current(register)), known[number].eq(1)]
        with m.Switch(group):
            for number, value in found.items():
                with m.Case(number):
                    m.d.comb += read_data.eq(value)
                    with m.If(known[number]):
                        m.d.comb += self.looked_response.eq(Response.OKAY)

    def bit_of(self, register: Register) -> int:
        """Position of the register's bit 0 in its value."""
        words = self.table.values[register.value_name]
        return sum(word.width for word in words[: words.index(register)])

    def current(self, register: Register) -> Value:
        """What a read of the register gives, 32 bits."""
        if register.constant:
            return Const(register.reset, 32)
        if register.access is Access.W1S:
            return Const(0, 32)
        low = self.bit_of(register)
        if register.access is Access.RW:
            return self.storage[register.value_name][low : low + register.width]
        value: Value = Value.cast(self.ro[register.value_name])[low : low + register.width]
        return value & register.mask


def join(words: tuple[Register, ...]) -> int:
    """Reset value of a value from its words, low word first."""
    value, position = 0, 0
    for word in words:
        value |= word.reset << position
        position += word.width
    return value
