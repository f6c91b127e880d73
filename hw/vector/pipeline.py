"""Registers of rigid pipelines: every cycle one item moves one stage on, and nothing holds it back."""

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import memory

__all__ = ["delay", "delay_valid", "lookup"]


def delay(m: Module, value: Value, cycles: int, *, name: str) -> Value:
    """`value`, `cycles` cycles later. The registers have no reset, so that they can become shift-register LUTs."""
    if cycles < 0:
        raise ValueError(f"cycles of {name} must not be negative, not {cycles!r}")
    for stage in range(1, cycles + 1):
        register = Signal(value.shape(), name=f"{name}_{stage}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def delay_valid(m: Module, valid: Value, cycles: int, *, name: str = "valid") -> Value:
    """A valid bit, `cycles` cycles later; 0 after reset."""
    for stage in range(1, cycles + 1):
        register = Signal(name=f"{name}_{stage}")
        m.d.sync += register.eq(valid)
        valid = register
    return valid


def lookup(m: Module, table: tuple[int, ...], address: Value, *, bits: int, name: str) -> Value:
    """``table[address]``, one cycle later, from a ROM in LUTs of `bits`-bit words."""
    # No style attribute: Yosys takes one for a request for LUT RAM, which cannot be a ROM; left alone, it uses LUTs.
    rom: memory.Memory = memory.Memory(shape=unsigned(bits), depth=len(table), init=table)
    m.submodules[name] = rom
    port = rom.read_port()
    m.d.comb += port.addr.eq(address)
    return port.data
