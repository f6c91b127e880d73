"""What each unit does for each operation of a program, counted from the program and what the router decided."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from moesaic.compiler.cost import Cost
from moesaic.compiler.ir import Graph, Op
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream

__all__ = ["Activity", "op_activity", "program_activity", "total"]


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Work of an operation, or of many: `+` adds.

    Parameters
    ----------
    vectors : int
        Streamed past the array: cycles in which it works.
    results : int
        Vectors of `rows` sums, or of twice as many scores of packed keys, that leave the accumulators: cycles in which
        the write-back works.
    normalised : int
        Words through LayerNorm.
    routed : int
        Vectors of gate logits.
    stationary_words : int
        Words of the key/value memory that fill the array.
    activation_words : int
        Words read from the activation memory.
    stream_bytes : int
        Of the weight stream, into and out of the prefetch buffer; all of it comes from DDR.
    stored_bytes : int
        Written to DDR.
    activation_bits, kv_bits, residual_bits, accumulator_bits, prefetch_bits, gate_bits : int
        Read from and written to the memories on chip.
    """

    vectors: int = 0
    results: int = 0
    normalised: int = 0
    routed: int = 0
    stationary_words: int = 0
    activation_words: int = 0
    stream_bytes: int = 0
    stored_bytes: int = 0
    activation_bits: int = 0
    kv_bits: int = 0
    residual_bits: int = 0
    accumulator_bits: int = 0
    prefetch_bits: int = 0
    gate_bits: int = 0

    def __add__(self, other: "Activity") -> "Activity":
        return Activity(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def total(activities: Iterable[Activity]) -> Activity:
    """The sum."""
    result = Activity()
    for activity in activities:
        result = result + activity
    return result


def op_activity(op: Op, tokens: int, stream_bytes: int, config: AcceleratorConfig) -> Activity:
    """Work of one operation.

    Parameters
    ----------
    op : Op
    tokens : int
        Vectors that it streams.
    stream_bytes : int
        Of the weight stream that it uses, or drops.
    config : AcceleratorConfig
    """
    prefetch_bits = 2 * 8 * stream_bytes  # in and out
    halves = (
        1 + config.wide_operands
    )  # of a value in activation and key/value memory: read and written together, needed or not
    if op.opcode is Opcode.COPY:
        if op.fields["memory"] == Memory.RESIDUAL:
            return Activity(stream_bytes=stream_bytes, prefetch_bits=prefetch_bits, residual_bits=8 * stream_bytes)
        return Activity(
            stream_bytes=stream_bytes, prefetch_bits=prefetch_bits, activation_bits=halves * 8 * stream_bytes
        )
    if op.opcode is not Opcode.MATMUL or not tokens:
        return Activity(stream_bytes=stream_bytes, prefetch_bits=prefetch_bits)
    word = 8 * config.lanes
    out_count, in_blocks = op.fields["out_count"], op.fields["in_blocks"]
    outputs = op.block_outputs(config)
    blocks, extra = -(-out_count // outputs), op.fields.get("extra", 0)
    vectors, results = tokens * blocks * in_blocks, tokens * blocks
    stationary = {
        Stationary.WEIGHTS: 0,
        Stationary.KEYS: (out_count + extra) * in_blocks,
        Stationary.VALUES: blocks * (op.fields.get("key_count", 0) + extra) * (1 + op.fields.get("wide_stationary", 0)),
    }[op.stationary]
    normalised = vectors if op.stream is Stream.NORMALISED else 0
    gated = op.fields.get("gated", 0)
    written = 8 * outputs * (results >> gated)  # of a gate and its values, one
    adds, routes = op.function is Function.ADD, op.function is Function.ROUTE
    to_kv = not adds and not routes and op.fields.get("dst_memory", Memory.ACTIVATION) == Memory.KV
    to_activation = not adds and not routes and not to_kv
    # In two planes the same words are streamed twice, and copied once.
    tapped = tokens * (op.fields.get("shift_block") or in_blocks) * word if op.tap is not None else 0
    sums = config.rows * config.acc_bits
    gates = gated * 2 * 16 * config.rows * (results >> 1)  # kept, and read again
    return Activity(
        vectors=vectors,
        results=results,
        normalised=normalised,
        routed=tokens if routes else 0,
        stationary_words=stationary,
        activation_words=vectors - normalised,
        stream_bytes=stream_bytes,
        activation_bits=halves * ((vectors - normalised) * word + to_activation * written + tapped),
        kv_bits=halves * (stationary * word + to_kv * written),
        residual_bits=normalised * 2 * word + adds * 2 * 2 * written,  # 16 bits a value; added to: read and written
        accumulator_bits=(2 * vectors - results) * sums
        + results * sums,  # first pass writes, the others add; read at the end
        prefetch_bits=prefetch_bits,
        gate_bits=gates,
    )


def program_activity(
    graph: Graph, costs: Sequence[Cost], tokens: Callable[[Op], int], config: AcceleratorConfig
) -> list[Activity]:
    """Work of each operation of a scheduled graph.

    Parameters
    ----------
    graph : Graph
    costs : sequence of Cost
        The analytic model's, of the same operations in the same order: the bytes that each takes from the stream.
    tokens : callable
        As for `compiler.cost.estimate`.
    config : AcceleratorConfig
    """
    result = []
    for op, cost in zip(graph.ops, costs, strict=True):
        if op.opcode is Opcode.STORE:
            words = 0
            if op.source is not None:
                low, high = graph.word_range(op, op.source.tensor)
                words = high - low
            bits = 16 * config.lanes * words
            result.append(Activity(stored_bytes=bits // 8, residual_bits=bits))
        else:
            count = tokens(op) if op.opcode is Opcode.MATMUL else 0
            result.append(op_activity(op, count, cost.bytes, config))
    return result
