"""Estimated cycles and bytes of every operation, before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.layout import words_for
from moesaic.compiler.pack import Piece
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode, Stationary

__all__ = ["DRAIN_CYCLES", "Cost", "estimate", "total_cycles"]

DRAIN_CYCLES = 60  # from the last streamed vector to retirement, what a wait on the instruction before costs


@dataclass(frozen=True)
class Cost:
    """Of one operation.

    Parameters
    ----------
    name : str
    array_cycles : int
        Vectors streamed, or the loading of stationary blocks where that takes longer.
    ddr_cycles : int
        Bytes over what all ports deliver in a cycle.
    wait_cycles : int
        Pipeline drained because the instruction just before must retire first.
    bytes : int
        Read from DDR.
    """

    name: str
    array_cycles: int
    ddr_cycles: int
    wait_cycles: int
    bytes: int


def _array_cycles(op: Op, tokens: int, config: AcceleratorConfig) -> int:
    if op.opcode is not Opcode.MATMUL:
        return 0
    blocks, in_blocks = words_for(op.fields["out_count"], config.rows), op.fields["in_blocks"]
    load = {Stationary.WEIGHTS: config.block_words, Stationary.KEYS: config.rows, Stationary.VALUES: config.lanes}[
        op.stationary
    ]
    return blocks * in_blocks * max(tokens, load)


def estimate(
    graph: Graph, pieces: Mapping[str, Piece], config: AcceleratorConfig, *, top_k: int = 1, experts: int = 1
) -> list[Cost]:
    """Cost of each operation if every expert gets the mean number of tokens.

    Parameters
    ----------
    graph : Graph
        Scheduled.
    pieces : mapping of name to Piece
    config : AcceleratorConfig
    top_k, experts : int
        Of the mixtures: an expert's queue holds ``tokens * top_k / experts`` tokens.
    """
    result = []
    for op in graph.ops:
        tokens = op.tokens if op.expert is None else max(1, op.tokens * top_k // experts)
        words = 0
        if op.weights is not None:
            words = pieces[op.weights].words if op.weight_words is None else op.weight_words
        array = words if op.opcode is Opcode.COPY else _array_cycles(op, tokens, config)
        result.append(
            Cost(
                op.name,
                array,
                words * config.beats_per_word,
                DRAIN_CYCLES if op.feed_wait == 1 else 0,
                words * config.word_bytes,
            )
        )
    return result


def total_cycles(costs: list[Cost]) -> int:
    """Lower estimate of a whole program: array and weight stream overlap perfectly, waits do not."""
    return max(sum(c.array_cycles + c.wait_cycles for c in costs), sum(c.ddr_cycles for c in costs))
