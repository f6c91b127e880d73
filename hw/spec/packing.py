"""Two keys in one row: with which instructions, and for which heads."""

from collections.abc import Mapping

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Stationary, Stream

__all__ = ["key_block", "packs"]


def packs(fields: Mapping[str, int], config: AcceleratorConfig) -> bool:
    """Whether a MATMUL's rows hold two keys each: its head is one word, lies in one half of the lanes, and is streamed
    from the activation memory.

    Row r of a block then holds key 2r in the lower lanes and key 2r + 1 in the upper ones, and the head's half of a
    streamed word is there twice. The block has ``2 * rows`` keys, and begins at an even `group`: the lowest bit of the
    field is not looked at.
    """
    half, low = config.lanes // 2, fields["lane_low"]
    return (
        config.packed_keys
        and fields["stationary"] == Stationary.KEYS
        and fields["stream"] == Stream.ACTIVATION
        and fields["in_blocks"] == 1
        and (low >= half or low + fields["lane_count"] <= half)
    )


def key_block(config: AcceleratorConfig, head_dim: int) -> int:
    """Keys that the softmax of a head of `head_dim` channels takes at a time: part of the integer arithmetic."""
    return config.rows * (2 if config.packed_keys and 2 * head_dim <= config.lanes else 1)
