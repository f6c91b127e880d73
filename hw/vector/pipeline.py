"""Registers of rigid pipelines: every cycle one item moves one stage on, and nothing holds it back."""

from typing import Any, TypeVar

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import data, memory

__all__ = ["copies", "delay", "delay_valid", "lookup", "stages"]

COPY_ROWS = 16  # rows that share a copy of a control bit

Item = TypeVar("Item", Value, data.View)


def stages(m: Module, value: Item, count: int, *, name: str, first: int = 0, reset_less: bool = True) -> list[Item]:
    """`value` and the `count` registers behind it: entry k is `value`, k cycles later.

    Registers are named by stage, from ``first + 1`` on. Without reset they can become shift-register LUTs; valid bits
    need one.
    """
    if count < 0:
        raise ValueError(f"cycles of {name} must not be negative, not {count!r}")
    result = [value]
    for stage in range(first + 1, first + count + 1):
        register: Any = Signal(value.shape(), name=f"{name}_{stage}", reset_less=reset_less)
        m.d.sync += register.eq(result[-1])
        result.append(register)
    return result


def delay(m: Module, value: Item, cycles: int, *, name: str) -> Item:
    """`value`, `cycles` cycles later, from registers without reset."""
    return stages(m, value, cycles, name=name)[-1]


def delay_valid(m: Module, valid: Value, cycles: int, *, name: str = "valid") -> Value:
    """A valid bit, `cycles` cycles later; 0 after reset."""
    return stages(m, valid, cycles, name=name, reset_less=False)[-1]


def copies(m: Module, early: Value, count: int, *, name: str) -> list[Value]:
    """`early`, a cycle later, for every one of `count` rows or lanes: one register for every few of them, so that none
    drives them all.
    """
    groups = []
    for g in range(-(-count // COPY_ROWS)):
        register = Signal(early.shape(), name=f"{name}_group_{g}", reset_less=True, attrs={"keep": "true"})
        m.d.sync += register.eq(early)
        groups.append(register)
    return [groups[r // COPY_ROWS] for r in range(count)]


def lookup(m: Module, table: tuple[int, ...], address: Value, *, bits: int, name: str) -> Value:
    """``table[address]``, one cycle later, from a ROM in LUTs of `bits`-bit words."""
    # No style attribute: Yosys takes one for a request for LUT RAM, which cannot be a ROM; left alone, it uses LUTs.
    rom: memory.Memory = memory.Memory(shape=unsigned(bits), depth=len(table), init=table)
    m.submodules[name] = rom
    port = rom.read_port()
    m.d.comb += port.addr.eq(address)
    return port.data
