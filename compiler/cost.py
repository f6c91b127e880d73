"""Estimated cycles and bytes of every operation, before anything runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.layout import words_for
from moesaic.compiler.pack import Piece
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary

__all__ = ["DDR_LATENCY", "DRAIN_CYCLES", "Cost", "estimate", "mean_tokens"]

DRAIN_CYCLES = 60  # from the last streamed vector to retirement
DDR_LATENCY = 100  # cycles from a decision of the router to the first byte that waited for it


@dataclass(frozen=True)
class Cost:
    """Of one operation, in cycles from the start of the program.

    Parameters
    ----------
    name : str
    start, end : float
        When its first vector is streamed, and its last.
    array_cycles : int
        Vectors streamed.
    starved_cycles, blocked_cycles : float
        Array idle for want of stationary blocks, and because of a wait.
    bytes : int
        Read from DDR.
    """

    name: str
    start: float
    end: float
    array_cycles: int
    starved_cycles: float
    blocked_cycles: float
    bytes: int


def mean_tokens(top_k: int, experts: int) -> Callable[[Op], int]:
    """Tokens that an operation streams if every expert gets as many."""
    return lambda op: op.tokens if op.expert is None else max(1, op.tokens * top_k // experts)


class _Stream:
    """The weight stream: words arrive in order, no faster than DDR and no further ahead than the prefetch buffer."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config, self.time, self.words = config, 0.0, 0
        self._freed: list[tuple[int, float]] = []  # (words consumed in total, when)
        self._oldest = 0

    def arrive(self, words: int, earliest: float) -> float:
        """When the next `words` words are in the buffer."""
        self.words += words
        start = max(self.time, earliest)
        while (
            self._oldest < len(self._freed) and self._freed[self._oldest][0] < self.words - self.config.prefetch_words
        ):
            self._oldest += 1
        if self.words > self.config.prefetch_words and self._oldest < len(self._freed):
            start = max(start, self._freed[self._oldest][1])
        self.time = start + words * self.config.beats_per_word
        return self.time

    def consumed(self, time: float) -> None:
        """All words that have arrived are used at `time`."""
        self._freed.append((self.words, time))


def _passes(op: Op, words: int, config: AcceleratorConfig) -> list[tuple[int, int]]:
    """(weight-stream words, cycles to load) of each stationary block."""
    if op.opcode is Opcode.COPY:
        # Moved in pieces, so that a copy larger than the prefetch buffer is no obstacle.
        step = max(1, config.prefetch_words // 4)
        return [(min(step, words - done), min(step, words - done)) for done in range(0, words, step)]
    if op.opcode is not Opcode.MATMUL:
        return []
    blocks, in_blocks = words_for(op.fields["out_count"], config.rows), op.fields["in_blocks"]
    if op.stationary is Stationary.WEIGHTS:
        first, other = config.param_words + config.block_words, config.block_words
        return [(w, w) for _ in range(blocks) for w in (first, *[other] * (in_blocks - 1))]
    return [(0, config.rows if op.stationary is Stationary.KEYS else config.lanes)] * (blocks * in_blocks)


def estimate(
    graph: Graph, pieces: Mapping[str, Piece], config: AcceleratorConfig, tokens: Callable[[Op], int]
) -> list[Cost]:
    """Time of each compute operation, from a model of three units: DDR, loader (two stationary blocks ahead) and array.

    Parameters
    ----------
    graph : Graph
        Scheduled.
    pieces : mapping of name to Piece
    config : AcceleratorConfig
    tokens : callable
        Vectors that an operation streams; 0 skips an expert (see :func:`mean_tokens`).
    """
    stream = _Stream(config)
    loader = array = routed = 0.0
    freed = [0.0, 0.0]  # when the two stationary buffers were last streamed
    retired: list[float] = []
    result = []
    for index, op in enumerate(op for op in graph.ops if op.stage != "result"):
        vectors, ready = tokens(op), array
        words = 0
        if op.weights is not None:
            words = pieces[op.weights].words if op.weight_words is None else op.weight_words
        if vectors == 0 and not op.speculative:
            words = 0
        may_load = retired[index - op.load_wait] if op.load_wait else 0.0
        may_feed = retired[index - op.feed_wait] if op.feed_wait else 0.0
        earliest = routed + DDR_LATENCY if op.expert is not None and not op.speculative else 0.0
        start, starved, streamed = 0.0, 0.0, 0
        for part, load in _passes(op, words, config):
            arrived = stream.arrive(part, earliest) if words else 0.0
            if vectors == 0:
                loader = max(loader, may_load, arrived) if words else max(loader, may_load)
            else:
                loader = max(loader + load, freed[0] + load, may_load + load, arrived)
            if words:
                stream.consumed(loader)
            if op.opcode is not Opcode.MATMUL or vectors == 0:
                continue
            begin = max(array, loader, may_feed)
            starved += max(0.0, loader - max(array, may_feed))
            start = start or begin
            array = begin + vectors
            streamed += vectors
            freed = [freed[1], array]
        if op.opcode is Opcode.COPY:
            array = max(array, loader)
        start = start or array
        drain = DRAIN_CYCLES if op.opcode is Opcode.MATMUL and vectors else 0
        retired.append(max(array + drain, retired[-1] if retired else 0.0))
        if op.opcode is Opcode.MATMUL and op.function is Function.ROUTE:
            routed = retired[-1]
        blocked = max(0.0, may_feed - ready) if vectors else 0.0
        result.append(Cost(op.name, start, array, streamed, starved, blocked, words * config.word_bytes))
    return result
