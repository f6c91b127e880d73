"""AXI4 and AXI4-Lite as channels of streams, and their flat AMBA names at the top."""

from enum import IntEnum
from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Flow, In, Out

__all__ = [
    "PAGE_BYTES",
    "Axi4ReadBus",
    "Axi4ReadSignature",
    "Axi4WriteBus",
    "Axi4WriteSignature",
    "AxiLiteBus",
    "AxiLiteSignature",
    "Burst",
    "Response",
    "connect_flat",
    "flat_ports",
]

PAGE_BYTES = 4096  # no burst may cross a multiple of this

# Normal, non-cacheable, bufferable memory: nothing on this bus shares a cache with the host.
CACHE = 0b0011
PROT = 0b000


class Burst(IntEnum):
    """Values of ``AxBURST``."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Response(IntEnum):
    """Values of ``RRESP`` and ``BRESP``."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


def _check_widths(addr_bits: int, data_bits: int, choices: tuple[int, ...]) -> None:
    if not 12 <= addr_bits <= 64:
        raise ValueError(f"addr_bits must be in 12..64, not {addr_bits!r}")
    if data_bits not in choices:
        raise ValueError(f"data_bits must be one of {', '.join(map(str, choices))}, not {data_bits!r}")


def _burst_layout(addr_bits: int) -> data.StructLayout:
    return data.StructLayout({"addr": addr_bits, "len": 8, "size": 3, "burst": 2, "cache": 4, "prot": 3})


_AXI4_DATA_BITS = (8, 16, 32, 64, 128, 256, 512, 1024)


class Axi4ReadBus(wiring.PureInterface):
    """Read channels, as made by :class:`Axi4ReadSignature`."""

    ar: stream.Interface
    r: stream.Interface


class Axi4ReadSignature(wiring.Signature):
    """Read channels of AXI4 without identifiers, seen from the master.

    Parameters
    ----------
    addr_bits : int
        Width of an address, 12..64.
    data_bits : int
        Width of a beat, a power of two in 8..1024.

    Members
    -------
    ar : Out(stream of {addr, len, size, burst, cache, prot})
    r : In(stream of {data, resp, last})

    Raises
    ------
    ValueError
        If a width is not one of those.
    """

    def __init__(self, *, addr_bits: int, data_bits: int) -> None:
        _check_widths(addr_bits, data_bits, _AXI4_DATA_BITS)
        self.addr_bits, self.data_bits = addr_bits, data_bits
        super().__init__(
            {
                "ar": Out(stream.Signature(_burst_layout(addr_bits))),
                "r": In(stream.Signature(data.StructLayout({"data": data_bits, "resp": 2, "last": 1}))),
            }
        )

    def create(self, *, path: tuple[str | int, ...] = (), src_loc_at: int = 0) -> Axi4ReadBus:
        return Axi4ReadBus(self, path=path, src_loc_at=1 + src_loc_at)


class Axi4WriteBus(wiring.PureInterface):
    """Write channels, as made by :class:`Axi4WriteSignature`."""

    aw: stream.Interface
    w: stream.Interface
    b: stream.Interface


class Axi4WriteSignature(wiring.Signature):
    """Write channels of AXI4 without identifiers, seen from the master.

    Parameters
    ----------
    addr_bits : int
        Width of an address, 12..64.
    data_bits : int
        Width of a beat, a power of two in 8..1024.

    Members
    -------
    aw : Out(stream of {addr, len, size, burst, cache, prot})
    w : Out(stream of {data, strb, last})
    b : In(stream of {resp})

    Raises
    ------
    ValueError
        If a width is not one of those.
    """

    def __init__(self, *, addr_bits: int, data_bits: int) -> None:
        _check_widths(addr_bits, data_bits, _AXI4_DATA_BITS)
        self.addr_bits, self.data_bits = addr_bits, data_bits
        super().__init__(
            {
                "aw": Out(stream.Signature(_burst_layout(addr_bits))),
                "w": Out(stream.Signature(data.StructLayout({"data": data_bits, "strb": data_bits // 8, "last": 1}))),
                "b": In(stream.Signature(data.StructLayout({"resp": 2}))),
            }
        )

    def create(self, *, path: tuple[str | int, ...] = (), src_loc_at: int = 0) -> Axi4WriteBus:
        return Axi4WriteBus(self, path=path, src_loc_at=1 + src_loc_at)


class AxiLiteBus(wiring.PureInterface):
    """All channels, as made by :class:`AxiLiteSignature`."""

    aw: stream.Interface
    w: stream.Interface
    b: stream.Interface
    ar: stream.Interface
    r: stream.Interface


class AxiLiteSignature(wiring.Signature):
    """AXI4-Lite, seen from the master; a slave has ``In`` of it.

    Parameters
    ----------
    addr_bits : int
        Width of an address, 12..64.
    data_bits : int
        Width of a register, 32 or 64.

    Members
    -------
    aw, ar : Out(stream of {addr, prot})
    w : Out(stream of {data, strb})
    b : In(stream of {resp})
    r : In(stream of {data, resp})

    Raises
    ------
    ValueError
        If a width is not one of those.
    """

    def __init__(self, *, addr_bits: int, data_bits: int = 32) -> None:
        _check_widths(addr_bits, data_bits, (32, 64))
        self.addr_bits, self.data_bits = addr_bits, data_bits
        address = data.StructLayout({"addr": addr_bits, "prot": 3})
        super().__init__(
            {
                "aw": Out(stream.Signature(address)),
                "w": Out(stream.Signature(data.StructLayout({"data": data_bits, "strb": data_bits // 8}))),
                "b": In(stream.Signature(data.StructLayout({"resp": 2}))),
                "ar": Out(stream.Signature(address)),
                "r": In(stream.Signature(data.StructLayout({"data": data_bits, "resp": 2}))),
            }
        )

    def create(self, *, path: tuple[str | int, ...] = (), src_loc_at: int = 0) -> AxiLiteBus:
        return AxiLiteBus(self, path=path, src_loc_at=1 + src_loc_at)


def _channels(signature: wiring.Signature | wiring.FlippedSignature) -> list[tuple[str, Flow, data.StructLayout]]:
    """Name, flow of the payload, and layout of each channel."""
    result = []
    for channel, member in signature.members.items():
        inner = member.signature
        plain = inner if hasattr(inner, "always_valid") else inner.flip()
        # The payload of a flipped signature already has its flow turned round.
        flow = member.flow if plain is inner else member.flow.flip()
        result.append((channel, flow, plain.members["payload"].shape))
    return result


def flat_ports(prefix: str, signature: wiring.Signature | wiring.FlippedSignature) -> dict[str, wiring.Member]:
    """Members with AMBA names for one bus of a top-level component.

    Parameters
    ----------
    prefix : str
        Beginning of every name, such as ``m_axi_w0``.
    signature : wiring.Signature
        One of the signatures of this file; flipped for the slave side.

    Returns
    -------
    dict of str to Member
        Such as ``m_axi_w0_araddr: Out(addr_bits)``.
    """
    ports: dict[str, wiring.Member] = {}
    for channel, flow, layout in _channels(signature):
        for field, shape in layout.members.items():
            ports[f"{prefix}_{channel}{field}"] = wiring.Member(flow, shape)
        ports[f"{prefix}_{channel}valid"] = wiring.Member(flow, 1)
        ports[f"{prefix}_{channel}ready"] = wiring.Member(flow.flip(), 1)
    return ports


def connect_flat(m: Module, top: Any, prefix: str, bus: Any) -> None:
    """Connect the bus of a submodule to the flat ports of the component around it.

    Parameters
    ----------
    m : Module
        Receives the connections.
    top : Component
        Has the members of ``flat_ports(prefix, bus.signature)``.
    prefix : str
        As given to :func:`flat_ports`.
    bus : interface
        Port of the submodule, as seen from outside it.
    """
    for channel, flow, layout in _channels(bus.signature):
        port = getattr(bus, channel)
        pairs = [(getattr(port.payload, field), f"{channel}{field}", flow) for field in layout.members]
        pairs += [(port.valid, f"{channel}valid", flow), (port.ready, f"{channel}ready", flow.flip())]
        for inner, name, direction in pairs:
            outer = getattr(top, f"{prefix}_{name}")
            src, dst = (inner, outer) if direction == Out else (outer, inner)
            m.d.comb += Value.cast(dst).eq(Value.cast(src))
