"""Ports of the memories on chip, as their users see them, and how they are connected."""

from typing import Any

from amaranth.hdl import Module, Shape, ShapeLike, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Port", "ReadSignature", "WriteSignature", "connect_read", "connect_write", "operand_address"]

Port = Any  # an interface, with the members of its signature


def operand_address() -> data.StructLayout:
    """A word of activations, keys or values; ``low`` asks for the lower bytes of 16-bit values."""
    return data.StructLayout({"word": unsigned(16), "low": 1})


class ReadSignature(wiring.Signature):
    """Reads a word per cycle.

    Parameters
    ----------
    address, words : shape

    Members
    -------
    enable : Out(1)
        Data are kept until the next cycle with it.
    address : Out(address)
    data : In(words)
        One cycle later, unless the memory's owner says: in the same cycle.
    """

    def __init__(self, address: ShapeLike, words: ShapeLike) -> None:
        super().__init__({"enable": Out(1), "address": Out(address), "data": In(words)})


class WriteSignature(wiring.Signature):
    """Writes a word, or parts of it, per cycle.

    Parameters
    ----------
    address, words : shape
    parts : int
        Of a word that are written or left alone each.

    Members
    -------
    address : Out(address)
    data : Out(words)
    mask : Out(parts)
        0: nothing is written.
    """

    def __init__(self, address: ShapeLike, words: ShapeLike, *, parts: int = 1) -> None:
        super().__init__({"address": Out(address), "data": Out(words), "mask": Out(parts)})


def connect_read(m: Module, user: Any, port: memory.ReadPort) -> None:
    """A memory's port to the port of its user; the upper bits of an address outside the memory are lost."""
    _compare(user.signature.members["data"].shape, port.data.shape())
    m.d.comb += [port.addr.eq(user.address), user.data.eq(port.data)]
    if port.domain != "comb":
        m.d.comb += port.en.eq(user.enable)


def connect_write(m: Module, user: Any, port: memory.WritePort) -> None:
    """A memory's port to the port of its user; the upper bits of an address outside the memory are lost."""
    _compare(user.signature.members["data"].shape, port.data.shape())
    m.d.comb += [port.addr.eq(user.address), port.data.eq(user.data), port.en.eq(user.mask)]


def _compare(given: ShapeLike, wanted: ShapeLike) -> None:
    if Shape.cast(given) != Shape.cast(wanted) or (not isinstance(given, int | Shape) and given != wanted):
        raise TypeError(f"words of the port must be {wanted!r}, not {given!r}")
