"""What comes with a vector of results to every function unit, and how results leave."""

from amaranth.hdl import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from moesaic.hw.decode.operation import context_layout, operation_layout
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["CompanionSignature", "ResultSignature", "companion_layout", "place_layout"]


def place_layout(config: AcceleratorConfig) -> data.StructLayout:
    """Where a result goes. ``address``: word. ``group``: of channels in it. ``mask``: the channels that count. With
    `packed_keys`, ``beyond``: of a block of packed keys, which takes two groups, the second half of those that exist.
    """
    return data.StructLayout(
        {
            "address": unsigned(16),
            "group": unsigned(max(1, (config.groups - 1).bit_length())),
            "mask": unsigned(config.rows),
            **({"beyond": unsigned(config.rows)} if config.packed_keys else {}),
        }
    )


def companion_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A vector's operation, its instruction's context, and where its results go."""
    return data.StructLayout(
        {"op": operation_layout(), "context": context_layout(config), "place": place_layout(config)}
    )


def CompanionSignature(config: AcceleratorConfig) -> stream.Signature:
    """Companions of vectors, one per cycle."""
    return stream.Signature(companion_layout(config), always_ready=True)


class ResultSignature(wiring.Signature):
    """Results of 8 or 16 bits on their way to activation or key/value memory.

    Members
    -------
    activation_due, write : Out(1)
        There is one for the activation memory in the next cycle; there is one in this cycle.
    memory : Out(2)
    place : Out(place_layout(config))
    data, low : Out([rows] unsigned(8))
        Bytes, and the lower bytes of 16-bit results.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        row_bytes = data.ArrayLayout(unsigned(8), config.rows)
        super().__init__(
            {
                "activation_due": Out(1),
                "write": Out(1),
                "memory": Out(2),
                "place": Out(place_layout(config)),
                "data": Out(row_bytes),
                "low": Out(row_bytes),
            }
        )


class WordsSignature(wiring.Signature):
    """Writes of words with some of their channels, to activation or key/value memory.

    Members
    -------
    activation_due : Out(1)
        The activation memory is written in the next cycle.
    write : Out(1)
        One of them is written.
    memory : Out(2)
    address : Out(16)
    data, low : Out([lanes] unsigned(8))
        Bytes, and the lower bytes of 16-bit results.
    mask : Out(lanes)
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        word = data.ArrayLayout(unsigned(8), config.lanes)
        super().__init__(
            {
                "activation_due": Out(1),
                "write": Out(1),
                "memory": Out(2),
                "address": Out(16),
                "data": Out(word),
                "low": Out(word),
                "mask": Out(config.lanes),
            }
        )
