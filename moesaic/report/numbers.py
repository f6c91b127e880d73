"""Formulas of the report: what an image needs, and what the process took."""

import math
import resource
from collections.abc import Mapping

from moesaic.golden.network import Network
from moesaic.report.model import PeakMemory
from moesaic.report.task_model import Roofline

__all__ = ["array_products", "needed_weight_bytes", "peak_memory", "roofline"]


def needed_weight_bytes(model: Network, blocks: int, experts_used: Mapping[str, int], *, expert_bits: int = 8) -> int:
    """Matrices that one image must stream, bytes: the experts that have tokens, no biases, no padding.

    Parameters
    ----------
    model : Network
    blocks : int
        Blocks that are run.
    experts_used : mapping of block name to int
        Experts with tokens; a block that is not named uses all.
    expert_bits : int
        Of an expert's weight; all others have 8, or 16 with 16.
    """
    if expert_bits > 8:
        return 2 * needed_weight_bytes(model, blocks, experts_used)
    total = model.embed_weight_bytes
    for number in range(blocks):
        total += model.block_weight_bytes(number)
        _, experts = model.mixtures.get(number, (0, 0))
        used, expert = experts_used.get(model.blocks[number].name, experts), model.block_expert_bytes(number)
        total += used * expert * expert_bits // 8 - experts * expert
    return total


def array_products(model: Network, blocks: int, *, expert_bits: int = 8) -> int:
    """Products of bytes that one image takes: of 16-bit operands four each, two where pixels or probabilities have 8
    bits.
    """
    macs = sum(model.block_macs(number) for number in range(blocks))
    context = sum(model.block_probability_macs(number) for number in range(blocks))
    return model.embed_macs + macs if expert_bits <= 8 else 2 * model.embed_macs + 4 * macs - 2 * context


def roofline(
    macs: int, weight_bytes: int, *, macs_per_cycle: int, bytes_per_cycle: float, cycles: int | None
) -> Roofline:
    """Cycles that arithmetic alone and weights alone would take, and the fraction of the larger that was reached."""
    arithmetic, ddr = math.ceil(macs / macs_per_cycle), math.ceil(weight_bytes / bytes_per_cycle)
    bound = max(arithmetic, ddr)
    return Roofline(arithmetic, ddr, bound, None if not cycles else round(bound / cycles, 4))


def peak_memory() -> PeakMemory:
    """Largest resident sizes, bytes: of this process, and of the largest of its children (compilers, the simulator)."""
    return PeakMemory(
        this_process=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        largest_child=1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    )
