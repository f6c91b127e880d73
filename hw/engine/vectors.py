"""Vectors on their way from the feeder to the array, places in an expert's queue, and copies for the memories."""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from moesaic.hw.decode.operation import operation_layout
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["TapSignature", "queue_address", "queued_layout", "total_layout", "vector_layout", "waiting_layout"]


def vector_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A streamed vector with its operation; if its values are probabilities, their sum and that of the extra key."""
    return data.StructLayout({**dict(waiting_layout(config).members), **dict(total_layout(config).members)})


def waiting_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A vector in the queue, which its sum enters later."""
    return data.StructLayout(
        {"op": operation_layout(), "x": data.ArrayLayout(signed(config.streamed_bits), config.lanes)}
    )


def total_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The sum of a vector's probabilities, and that of the extra key, which it counts."""
    extra = {"extra": unsigned(config.probability_width)} if config.extra_key else {}
    return data.StructLayout({"total": unsigned(config.total_bits), **extra})


def queue_address() -> data.StructLayout:
    """A place in an expert's queue."""
    return data.StructLayout({"expert": unsigned(6), "slot": unsigned(12)})


def queued_layout() -> data.StructLayout:
    """What stands there."""
    return data.StructLayout({"token": unsigned(12), "score": unsigned(16)})


class TapSignature(wiring.Signature):
    """Copies of normalised vectors for the activation memory.

    Members
    -------
    due, write : Out(1)
        There is one in the next cycle, in this cycle.
    address : Out(16)
    data, low : Out([lanes] unsigned(8))
        Bytes, and the lower bytes of 16-bit values.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        word = data.ArrayLayout(unsigned(8), config.lanes)
        super().__init__({"due": Out(1), "write": Out(1), "address": Out(16), "data": Out(word), "low": Out(word)})
