"""Scheduled graph to the three instruction streams."""

from collections.abc import Mapping
from dataclasses import dataclass

from moesaic.compiler.ir import CompileError, Graph, Op, Ref, Space
from moesaic.compiler.weights import Piece
from moesaic.hw.spec import isa
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Base, Function, Memory, Opcode, Stationary
from moesaic.hw.spec.legal import refusal

__all__ = ["IMAGE_PIECE", "Program", "emit"]

IMAGE_PIECE = "image"  # name of the piece that lies at the image's base instead of the weights'


@dataclass(frozen=True)
class Program:
    """Instructions of one task.

    Parameters
    ----------
    load, compute, store : tuple of bytes
        Encoded instructions.
    names : mapping of stream name to tuple of str
        For each instruction, the operations it comes from.
    """

    load: tuple[bytes, ...]
    compute: tuple[bytes, ...]
    store: tuple[bytes, ...]
    names: Mapping[str, tuple[str, ...]]

    def streams(self) -> dict[str, tuple[bytes, ...]]:
        """The three streams by name."""
        return {"load": self.load, "compute": self.compute, "store": self.store}


@dataclass(frozen=True)
class _Fetch:
    name: str
    base: Base
    offset: int  # weight-stream words
    words: int
    expert: int | None
    speculative: bool
    wait: int

    def merged(self, other: "_Fetch") -> "_Fetch | None":
        """One FETCH for both, if the second continues the first under the same condition."""
        same = (self.base, self.expert, self.speculative, self.wait) == (
            other.base,
            other.expert,
            other.speculative,
            other.wait,
        )
        if not same or other.offset != self.offset + self.words:
            return None
        return _Fetch(
            f"{self.name}, {other.name}",
            self.base,
            self.offset,
            self.words + other.words,
            self.expert,
            self.speculative,
            self.wait,
        )


def _address(graph: Graph, op: Op, ref: Ref) -> int:
    """First word of `ref` as the instruction gives it: of vector 0, or, in a buffer addressed by token number, of
    token 0.
    """
    tensor = graph.tensors[ref.tensor]
    if tensor.address is None:
        raise CompileError(f"op '{op.name}': buffer '{ref.tensor}' has no address yet")
    if tensor.queued or (op.kv is not None and ref is op.kv):
        return tensor.address + ref.first * tensor.words + ref.word
    first = -tensor.first_token if op.expert is not None else op.token - tensor.first_token
    return tensor.address + first * tensor.words + ref.word


def _compute_fields(graph: Graph, op: Op, words: int) -> dict[str, int]:
    fields = dict(op.fields) | {"mark": int(op.mark), "feed_wait": op.feed_wait, "load_wait": op.load_wait}
    if op.opcode is Opcode.COPY and op.target is not None:
        return fields | {"addr": _address(graph, op, op.target), "words": words}
    if op.opcode is not Opcode.MATMUL or op.source is None:
        return fields
    fields |= {"src_addr": _address(graph, op, op.source), "src_stride": graph.tensors[op.source.tensor].words}
    if op.expert is None:
        fields |= {"token_count": op.tokens, "token_base": op.token + op.moved}
    else:
        fields |= {
            "expert_valid": 1,
            "expert": op.expert,
            "speculative": int(op.speculative),
            "gather": int(not graph.tensors[op.source.tensor].queued),
        }
    if op.stationary is not Stationary.WEIGHTS and op.kv is not None and op.state is not None:
        fields |= {"kv_addr": _address(graph, op, op.kv), "token_base": _address(graph, op, Ref(op.state))}
    if op.target is not None:
        target = graph.tensors[op.target.tensor]
        moved = op.moved * target.words
        fields |= {"dst_addr": _address(graph, op, op.target) + moved, "dst_stride": target.words}
        if moved:
            fields["scalar"] = -moved % (1 << isa.FORMATS[Opcode.MATMUL].field("scalar").bits)
        if op.function is not Function.ADD:
            fields["dst_memory"] = Memory.KV if target.space is Space.KV else Memory.ACTIVATION
    if op.tap is not None:
        fields |= {"tap": 1, "tap_addr": _address(graph, op, op.tap)}
    return fields


def _fetch_instruction(fetch: _Fetch, config: AcceleratorConfig) -> bytes:
    values = {
        "base": int(fetch.base),
        "offset": fetch.offset * config.beats_per_word,
        "beats": fetch.words * config.beats_per_word,
        "wait": fetch.wait,
    }
    if fetch.expert is not None:
        values |= {"expert_valid": 1, "expert": fetch.expert, "speculative": int(fetch.speculative)}
    return _encode(Opcode.FETCH, values, config)


def _encode(opcode: Opcode, fields: Mapping[str, int], config: AcceleratorConfig) -> bytes:
    """An instruction's bytes; ValueError if it means nothing on this configuration."""
    data = isa.encode(opcode, fields)
    reason = refusal(*isa.decode(data), config)
    if reason is not None:
        raise ValueError(reason)
    return data


def emit(graph: Graph, pieces: Mapping[str, Piece], config: AcceleratorConfig, *, prefetch: bool = True) -> Program:
    """Encode a scheduled graph.

    Parameters
    ----------
    graph : Graph
        With addresses and waits.
    pieces : mapping of name to Piece
        Where each piece lies in the weight region, or, for `IMAGE_PIECE`, in the image's.
    prefetch : bool
        Fetch ahead; off, a FETCH waits until everything before its operation has retired.

    Raises
    ------
    CompileError
        If a value does not fit its field, or an instruction means nothing on this configuration; the message names the
        operation.
    """
    fetches: list[_Fetch] = []
    compute: list[bytes] = []
    store: list[bytes] = []
    routed = 0
    for op in graph.ops:
        try:
            if op.opcode is Opcode.STORE and op.source is not None:
                low, high = graph.word_range(op, op.source.tensor)
                fields = {"src_addr": low, "words": high - low, "wait": len(compute)}
                store.append(_encode(Opcode.STORE, fields, config))
                continue
            words = 0
            if op.weights is not None:
                piece = pieces[op.weights]
                words = piece.words if op.weight_words is None else op.weight_words
                base = Base.IMAGE if op.weights == IMAGE_PIECE else Base.WEIGHT
                wait = routed if op.expert is not None and not op.speculative else 0
                wait = wait if prefetch else len(compute)
                fetch = _Fetch(op.name, base, piece.offset + op.weight_offset, words, op.expert, op.speculative, wait)
                joined = fetches[-1].merged(fetch) if fetches else None
                if joined is None:
                    fetches.append(fetch)
                else:
                    fetches[-1] = joined
            compute.append(_encode(op.opcode, _compute_fields(graph, op, words), config))
            if op.opcode is Opcode.MATMUL and op.function is Function.ROUTE:
                routed = len(compute)
        except (ValueError, KeyError) as error:
            raise CompileError(f"op '{op.name}': {error}") from error
    load = tuple(_fetch_instruction(fetch, config) for fetch in fetches)
    return Program(
        load,
        tuple(compute),
        tuple(store),
        {
            "load": tuple(fetch.name for fetch in fetches),
            "compute": tuple(op.name for op in graph.ops if op.opcode is not Opcode.STORE),
            "store": tuple(op.name for op in graph.ops if op.opcode is Opcode.STORE),
        },
    )
