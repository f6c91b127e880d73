"""Whether an instruction packs two keys in each row: `hw.spec.packing.packs` in hardware."""

from amaranth.hdl import Const, Mux, Value
from amaranth.lib import data

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Stationary, Stream

__all__ = ["block_rows", "packing"]


def packing(op: data.View, config: AcceleratorConfig) -> Value:
    """1 if a MATMUL, a view of its instruction_layout, packs its keys."""
    if not config.packed_keys:
        return Const(0, 1)
    half = config.lanes // 2
    return (
        (op.stationary == Stationary.KEYS)
        & (op.stream == Stream.ACTIVATION)
        & (op.in_blocks == 1)
        & ((op.lane_low >= half) | (op.lane_low + op.lane_count <= half))
    )


def block_rows(packs: Value, config: AcceleratorConfig) -> Value | int:
    """Outputs of a block: rows, or keys of a block of packed ones."""
    return Mux(packs, 2 * config.rows, config.rows) if config.packed_keys else config.rows
