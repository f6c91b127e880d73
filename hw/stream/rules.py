"""The rules of a stream: a connection that checks payload types, and the transfer contract as assertions."""

from enum import Enum
from typing import Any

from amaranth.hdl import Assert, Assume, Elaboratable, Module, ResetSignal, Shape, ShapeLike, Signal, Value, ValueLike

__all__ = ["Check", "StreamContract", "connect_stream", "payload_shape", "require"]


class Check(Enum):
    """What becomes of a rule."""

    OFF = "off"
    ASSERT = "assert"
    ASSUME = "assume"  # in a proof, for the side that is not proved


def require(m: Module, check: Check, condition: ValueLike, message: str) -> None:
    """Assert or assume a condition outside reset, under the ``m.If`` that is open.

    Assertions are clocked, so that a simulation judges settled values. Assumptions are combinational: they must
    already hold in the cycle that the assertions look at.
    """
    with m.If(~ResetSignal(allow_reset_less=True)):
        if check is Check.ASSERT:
            m.d.sync += Assert(condition, message, src_loc_at=1)
        elif check is Check.ASSUME:
            m.d.comb += Assume(condition, message, src_loc_at=1)


def payload_shape(port: Any) -> ShapeLike:
    """Shape of the payload of a stream interface; plain shapes are normalised to :class:`Shape`."""
    shape = port.signature.members["payload"].shape
    if isinstance(shape, int | range):
        return Shape.cast(shape)
    return shape


def connect_stream(m: Module, src: Any, dst: Any) -> None:
    """Connect two streams, comparing payload types and not merely widths.

    Ports of the component itself are passed as they are: the sides are told apart by position, not by flow.

    Parameters
    ----------
    m : Module
        Receives the connections.
    src : stream interface
        Where payloads come from: an output of a submodule, or an input of this component.
    dst : stream interface
        Where payloads go to: an input of a submodule, or an output of this component.

    Raises
    ------
    TypeError
        If the payload shapes differ, or one side cannot honour the other's handshake.
    """
    if payload_shape(src) != payload_shape(dst):
        raise TypeError(f"payload of the destination must be {payload_shape(src)!r}, not {payload_shape(dst)!r}")
    src_signature, dst_signature = _stream_signature(src), _stream_signature(dst)
    if src_signature.always_ready and not dst_signature.always_ready:
        raise TypeError(f"destination must be always ready, not {dst_signature!r}")
    if dst_signature.always_valid and not src_signature.always_valid:
        raise TypeError(f"source must be always valid, not {src_signature!r}")
    m.d.comb += Value.cast(dst.payload).eq(Value.cast(src.payload))
    if not dst_signature.always_valid:
        m.d.comb += dst.valid.eq(src.valid)
    if not src_signature.always_ready:
        m.d.comb += src.ready.eq(dst.ready)


def _stream_signature(port: Any) -> Any:
    signature = port.signature
    return signature if hasattr(signature, "always_valid") else signature.flip()


class StreamContract(Elaboratable):
    """Watches that a stalled stream holds its ``valid`` and its payload until the transfer.

    Observes only; one copy of the payload in registers. Nothing is stalled after reset.

    Parameters
    ----------
    port : stream interface
        The stream to watch.
    check : Check
        Assert for a stream that is driven by the design, assume for an input of a proof.
    unless : ValueLike
        While 1, a payload may be withdrawn (such as by an abort).
    name : str
        Name of the stream in messages.
    """

    def __init__(self, port: Any, *, check: Check = Check.ASSERT, unless: ValueLike = 0, name: str = "stream") -> None:
        self.port, self.check, self.unless, self.name = port, check, unless, name
        self.stalled = Signal()
        self.held = Signal(len(Value.cast(port.payload)), reset_less=True)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waived = Value.cast(self.unless).any()
        m.d.sync += self.held.eq(Value.cast(self.port.payload))
        m.d.sync += self.stalled.eq(self.port.valid & ~self.port.ready & ~waived)
        with m.If(self.stalled & ~waived):
            require(m, self.check, self.port.valid, f"{self.name}: valid must hold until the transfer")
            require(
                m,
                self.check,
                Value.cast(self.port.payload) == self.held,
                f"{self.name}: payload must hold until the transfer",
            )
        return m
