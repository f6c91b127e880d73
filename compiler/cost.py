"""Estimated cycles and bytes of every operation, before anything runs: the analytic model of the accelerator."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.layout import words_for
from moesaic.compiler.memory import IDEAL, DdrTiming
from moesaic.compiler.timeline import ArrayTime, Instructions, LoadTime, Sequencer
from moesaic.compiler.weights import Piece
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS, Function, Memory, Opcode, Stationary
from moesaic.hw.spec.latency import (
    CONTEXTS,
    DECODE_CYCLES,
    DROP_CYCLES,
    SHARE_CYCLES,
    STORE_CYCLES,
    WRITES_IN_FLIGHT,
    Timing,
)

__all__ = ["Cost", "estimate", "mean_tokens", "part_cycles", "pass_loads"]


@dataclass(frozen=True)
class Cost:
    """Of one operation, in cycles from the start of the program.

    Parameters
    ----------
    name : str
    part : str
        What it belongs to: `embed`, `blocks.N` or `result`.
    start, end : float
        When its first vector enters the array, and when it is retired.
    array_cycles : int
        Vectors streamed.
    starved_cycles, blocked_cycles : float
        Array idle for want of stationary blocks, and because of a wait.
    bytes : int
        Read from DDR.
    """

    name: str
    part: str
    start: float
    end: float
    array_cycles: int
    starved_cycles: float
    blocked_cycles: float
    bytes: int


def mean_tokens(op: Op) -> int:
    """Tokens that an operation streams if every expert of its mixture gets as many."""
    chosen, experts = op.routed
    return op.tokens if op.expert is None else max(1, op.tokens * chosen // experts)


def part_cycles(costs: list[Cost]) -> dict[str, float]:
    """Cycles of each part of the network, in order: from the retirement of the part before to its own."""
    ends: dict[str, float] = {}
    for cost in costs:
        ends[cost.part] = max(cost.end, ends.get(cost.part, 0.0))
    return {part: end - before for (part, end), before in zip(ends.items(), [0.0, *ends.values()], strict=False)}


def _part(op: Op) -> str:
    if op.stage == "result":
        return op.stage
    return "embed" if op.block < 0 else f"blocks.{op.block}"


def pass_loads(op: Op, config: AcceleratorConfig) -> Iterator[tuple[int, int]]:
    """(weight-stream words, cycles to load once the array has let go) of each pass of a MATMUL."""
    outputs, in_blocks, stationary = op.block_outputs(config), op.fields["in_blocks"], op.stationary
    blocks = words_for(op.fields["out_count"], outputs)
    extra = op.fields.get("extra", 0)  # a cycle more to load, with each first block
    block_words, param_words = config.stationary_words(4 if op.fields.get("narrow") else 8), config.param_words
    for block in range(blocks):
        for k in range(in_blocks):
            if stationary is Stationary.WEIGHTS:
                yield block_words + (param_words if k == 0 else 0), block_words
            elif stationary is Stationary.KEYS:
                here = extra if block == 0 else 0
                yield 0, min(outputs, op.fields["out_count"] - block * outputs) + 2 + here
            else:
                of_plane = k % words_for(op.fields["key_count"], config.lanes)
                here = extra if k == 0 else 0
                yield 0, min(config.lanes, op.fields["key_count"] - of_plane * config.lanes) + 2 + here


def stream_words(graph: Graph, op: Op, config: AcceleratorConfig) -> int:
    """Weight-stream words that an operation takes: the size of its piece of the stream, or of its part of it."""
    if op.weights is None or op.weight_words is not None:
        return op.weight_words or 0
    if op.opcode is Opcode.COPY and op.target is not None:
        width = 2 if op.fields["memory"] == Memory.RESIDUAL else 1
        return words_for(op.tokens * graph.tensors[op.target.tensor].words * width, config.load_rows)
    return sum(words for words, _ in pass_loads(op, config))


def _copy_cycles(op: Op, config: AcceleratorConfig) -> int:
    """Cycles that a weight-stream word takes on its way into an on-chip memory: one for each word there."""
    if op.opcode is not Opcode.COPY:
        return 0  # dropped
    return config.load_rows // (2 if op.fields["memory"] == Memory.RESIDUAL else 1)


def _store_cycles(words: int, config: AcceleratorConfig, ddr_latency: int) -> float:
    """From the last retirement to the last response of a STORE of residual words, over all ports."""
    beats = -(-words // config.ports) * (16 * config.lanes // config.port_bits)
    round_trip = config.max_burst + ddr_latency + 4  # of a burst: its beats, and its response
    return (
        beats * max(1.0, round_trip / (WRITES_IN_FLIGHT * config.max_burst))
        + ddr_latency
        + STORE_CYCLES
        + SHARE_CYCLES * config.ports
    )


def estimate(
    graph: Graph,
    pieces: Mapping[str, Piece],
    config: AcceleratorConfig,
    tokens: Callable[[Op], int],
    *,
    timing: Timing,
    ddr: DdrTiming = IDEAL,
    prefetch: bool = True,
) -> list[Cost]:
    """Time of each compute operation, from a model of DDR, prefetch buffer, loader, feeder and array.

    Every pass of every instruction is placed in time: the instruction arrives, its words arrive, its block is loaded
    when the array has let go of the one before, its vectors are issued when what they wait for has retired, and the
    pass starts when both are there. An expert without tokens is an instruction all the same: it passes through, alone,
    and what was fetched for it in vain is dropped. A DRAM delivers its mean: rows, turns, and
    when a refresh comes are left out, as are bursts and ports that drift apart.

    Parameters
    ----------
    graph : Graph
        Scheduled.
    pieces : mapping of name to Piece
    config : AcceleratorConfig
    tokens : callable
        Vectors that an operation streams; 0 skips an expert (see :func:`mean_tokens`).
    timing : Timing
        Of the accelerator's pipelines.
    ddr : DdrTiming
    prefetch : bool
        As in :class:`CompileOptions`.
    """
    stream, array = LoadTime(config, ddr), ArrayTime(timing)
    sequencer = Sequencer(Instructions(config, ddr.latency, turn=0))
    loader = (
        0.0  # when the loader is idle: the cycle after the last word left the weight stream, or the last key was read
    )
    let_go = 0.0  # when the array took over the last block
    retired: list[float] = []
    routed = 0.0
    fetching: tuple[int | None, bool] | None = None
    ready = 0.0  # when the first word of the running FETCH may arrive
    result = []
    for index, op in enumerate(graph.ops):
        if op.opcode is Opcode.STORE and op.source is not None:
            low, high = graph.word_range(op, op.source.tensor)
            end = retired[-1] + _store_cycles(high - low, config, ddr.latency)
            result.append(Cost(op.name, _part(op), retired[-1], end, 0, 0.0, 0.0, 0))
            continue
        vectors = tokens(op) if op.opcode is Opcode.MATMUL else 0
        words = 0
        if op.weights is not None:
            words = pieces[op.weights].words if op.weight_words is None else op.weight_words
            kind = (op.expert, op.speculative)
            skipped = op.opcode is Opcode.MATMUL and vectors == 0 and not op.speculative
            if words and (kind != fetching or not prefetch):
                waits = op.expert is not None and not op.speculative
                before = retired[-1] if retired and not prefetch else 0.0
                ready = stream.fetch(max(before, routed if waits else 0.0), skipped=skipped)
                fetching = kind
            words = 0 if skipped else words
        units = ("feeder",) if op.opcode is Opcode.NORM else ("loader", "feeder")
        offered = sequencer.issue(*units)
        if "loader" in units:
            loader = max(loader, offered)
            sequencer.take("loader", loader)
            loader = max(loader + DECODE_CYCLES, retired[index - op.load_wait] + 1 if op.load_wait else 0.0)
        array.issued = max(array.issued, offered)
        sequencer.take("feeder", array.issued)
        may_feed = max(
            array.issued + DECODE_CYCLES,
            retired[index - op.feed_wait] + 1 if op.feed_wait else 0.0,
            retired[index - CONTEXTS] + 1 if index >= CONTEXTS else 0.0,
        )
        idle_from, entered, starved, streamed = array.time, 0.0, 0.0, 0
        stream.time += INSTRUCTION_BITS // 8 / ddr.bytes_per_cycle(config)  # instructions share DDR
        if op.opcode is Opcode.COPY or (words and vectors == 0):
            # Moved, or dropped, as it comes: in pieces, so that it may be larger than the prefetch buffer.
            if op.opcode is not Opcode.COPY:
                loader += words_for(op.fields["out_count"], config.rows) + DROP_CYCLES
            step = max(1, config.prefetch_words // 4)
            for done in range(0, words, step):
                part = min(step, words - done)
                loader = max(loader + part * _copy_cycles(op, config), stream.arrive(part, ready))
                stream.consumed(loader)
        elif vectors:
            for part, load in pass_loads(op, config):
                arrived = stream.arrive(part, ready) if part else 0.0
                if part:
                    loader = max(loader + part, arrived, let_go + load)
                    stream.consumed(loader)
                else:
                    loader = max(loader, let_go) + load
                begin, held = array.run(vectors, earliest=may_feed, full=loader)
                may_feed, let_go = 0.0, begin
                starved += held
                entered = entered or begin
                streamed += vectors
        if op.opcode is Opcode.COPY:
            may_feed = max(may_feed, loader)
        if op.opcode is Opcode.NORM:
            may_feed = max(may_feed, array.issued + timing.feed)  # vectors on their way still use the old constants
        if not streamed:
            entered = array.lone(may_feed)
        end = array.time + timing.drain
        if op.opcode is Opcode.MATMUL and op.function is Function.ROUTE:
            last_pass = array.time - vectors
            end = max(end, last_pass + op.fields["top_k"] * vectors + timing.route)
            routed = end
        retired.append(max(end, retired[-1] + 1 if retired else 0.0))
        result.append(
            Cost(
                op.name,
                _part(op),
                entered,
                retired[-1],
                streamed,
                starved,
                max(0.0, entered - idle_from - starved) if streamed else 0.0,
                words * config.word_bytes,
            )
        )
    return result
