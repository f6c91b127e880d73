"""The compiler's intermediate form: buffers, operations and the graph of one task."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from moesaic.errors import InputError
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream
from moesaic.hw.spec.packing import packs

__all__ = ["CompileError", "Graph", "Op", "Ref", "Space", "Tensor", "live_ranges"]


class CompileError(InputError):
    """The model cannot be compiled for this configuration, or a pass broke the graph; the message names the node."""


class Space(enum.Enum):
    """On-chip memories that buffers live in."""

    ACTIVATION = "activation"
    KV = "kv"
    RESIDUAL = "residual"
    STATE = "softmax state"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A buffer of `tokens` vectors of `words` words, vector after vector.

    Parameters
    ----------
    name : str
    space : Space
    tokens : int
        Vectors held.
    words : int
        Words per vector (softmax state: 1).
    first_token : int
        Number of the token in the first vector; not 0 in a chunk.
    queued : bool
        Vectors are numbered by position in an expert's queue, not by token.
    gathered : bool
        Read by token number, so that the address of token 0, if it were there, may not be negative.
    spills : bool
        May lie in the key/value memory as well, where that goes on behind the activations (`joint_memories`): no keys
        are alive then.
    multiple : int, words
        The size is rounded up to this, and so is what a COPY writes.
    slack : int, words
        More of them behind: where a COPY begins inside a word of the stream, it ends behind the last vector.
    address : int or None
        First word, once allocated.
    """

    name: str
    space: Space
    tokens: int
    words: int
    first_token: int = 0
    queued: bool = False
    gathered: bool = False
    spills: bool = False
    multiple: int = 1
    slack: int = 0
    address: int | None = None

    @property
    def size(self) -> int:
        """Words occupied."""
        return -(-self.tokens * self.words // self.multiple) * self.multiple + self.slack

    @property
    def lowest_address(self) -> int:
        """Smallest address that every access can express."""
        return self.first_token * self.words if self.gathered else 0


@dataclass(frozen=True)
class Ref:
    """A buffer as an operation sees it, from word `word` of each vector on; of keys and values, from vector `first`."""

    tensor: str
    word: int = 0
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Op:
    """One instruction of the compute or store stream, with symbolic operands.

    Parameters
    ----------
    name : str
        Unique; the path of the layer it comes from, and the chunk.
    opcode : Opcode
    block : int
        Number of the transformer block, -1 for the embedding.
    stage : str
        Group that is tiled and ordered together, named for its room (`compiler.layers`); `result` is the last.
    layer : str
        Name of the layer's node; empty for what is no layer.
    role : str
        Part played in the stage; nobody's business but the room's.
    group : str
        Layer of the block that it is shown and counted under; empty outside blocks.
    whole : bool
        Always covers all tokens, whatever chunks the stage is cut into.
    token, tokens : int
        First token and number of tokens streamed (an expert: the tokens that its queue may hold).
    moved : int
        ADD: so many tokens behind those streamed are written, from the old residual of those streamed: a copy of it,
        with what is added.
    source, target, kv, tap : Ref or None
        Streamed buffer, written buffer, stationary keys or values, copy of the stream.
    state : str or None
        Softmax state.
    weights : str or None
        Piece of the weight stream consumed; `weight_offset` and `weight_words` select a part of it (None: all).
    head, expert : int or None
    routed : (int, int)
        Of a mixture: experts for each token, and experts.
    speculative : bool
        The expert's weights are fetched before the router has decided.
    chunk : int
        Number of the token chunk.
    overlap : bool
        Neighbours (heads, experts) are software-pipelined: two of their buffers are alive at once.
    fields : mapping
        Remaining fields of the instruction, by name.
    mark : bool
        Last instruction of its block.
    feed_wait, load_wait : int
        Distances, once scheduled.
    macs : int
        Useful multiply-accumulates if all its tokens are processed (an expert: of one token).
    """

    name: str
    opcode: Opcode
    block: int
    stage: str
    layer: str = ""
    role: str
    group: str = ""
    whole: bool = False
    token: int = 0
    tokens: int = 0
    moved: int = 0
    source: Ref | None = None
    target: Ref | None = None
    kv: Ref | None = None
    tap: Ref | None = None
    state: str | None = None
    weights: str | None = None
    weight_offset: int = 0
    weight_words: int | None = None
    head: int | None = None
    expert: int | None = None
    routed: tuple[int, int] = (1, 1)
    speculative: bool = False
    chunk: int = 0
    overlap: bool = False
    fields: Mapping[str, int] = field(default_factory=dict)
    mark: bool = False
    feed_wait: int = 0
    load_wait: int = 0
    macs: int = 0

    @property
    def function(self) -> Function:
        """Treatment of the result (MATMUL)."""
        return Function(self.fields.get("function", 0))

    @property
    def stationary(self) -> Stationary:
        """Source of the stationary blocks (MATMUL)."""
        return Stationary(self.fields.get("stationary", 0))

    @property
    def stream(self) -> Stream:
        """What is streamed (MATMUL)."""
        return Stream(self.fields.get("stream", 0))

    @property
    def keys(self) -> int:
        """Keys, or values, that are loaded (KEYS, VALUES)."""
        count = self.fields["out_count" if self.stationary is Stationary.KEYS else "key_count"]
        return count + self.fields.get("extra", 0)

    def block_outputs(self, config: AcceleratorConfig) -> int:
        """Outputs of a stationary block (MATMUL)."""
        return config.rows * (1 + (self.stationary is Stationary.KEYS and packs(self.fields, config)))

    def reads(self) -> Iterator[str]:
        """Names of the buffers read."""
        for ref in (self.source, self.kv):
            if ref is not None:
                yield ref.tensor
        if self.target is not None and self.function is Function.ADD and self.opcode is Opcode.MATMUL:
            yield self.target.tensor
        if self.state is not None and self.function is Function.ATTEND:
            yield self.state

    def writes(self) -> Iterator[str]:
        """Names of the buffers written."""
        for ref in (self.target, self.tap):
            if ref is not None:
                yield ref.tensor
        if self.state is not None and self.function is Function.SOFTMAX:
            yield self.state


@dataclass(frozen=True)
class Graph:
    """The program of one batch, which gives it its name: buffers, and operations in order."""

    task: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]

    def with_ops(self, ops: Iterator[Op] | list[Op] | tuple[Op, ...]) -> "Graph":
        """The same graph with other operations; buffers that no operation names are dropped."""
        ops = tuple(ops)
        used = {name for op in ops for name in (*op.reads(), *op.writes())}
        return replace(self, ops=ops, tensors={name: t for name, t in self.tensors.items() if name in used})

    def rows(self, op: Op, name: str, *, written: bool = False) -> tuple[int, int]:
        """First and one past the last vector of buffer `name` that `op` reads, or writes."""
        tensor = self.tensors[name]
        if op.kv is not None and name == op.kv.tensor:
            return op.kv.first, op.kv.first + op.keys
        if tensor.queued:
            return 0, op.tokens
        first = op.token - tensor.first_token + (op.moved if written else 0)
        return first, first + op.tokens

    def word_range(self, op: Op, name: str, *, written: bool = False) -> tuple[int, int]:
        """First and one past the last word of the memory that `op` may read, or write, in a buffer; needs addresses."""
        tensor = self.tensors[name]
        if tensor.address is None:
            raise CompileError(f"op '{op.name}': buffer '{name}' has no address yet")
        low, high = self.rows(op, name, written=written)
        words = (high - low) * tensor.words
        if op.opcode is Opcode.COPY:  # whole words of the weight stream
            words = -(-words // tensor.multiple) * tensor.multiple
        return tensor.address + low * tensor.words, tensor.address + low * tensor.words + words


def live_ranges(graph: Graph) -> dict[str, tuple[int, int]]:
    """Index of the first and the last operation that touches each buffer."""
    result: dict[str, tuple[int, int]] = {}
    for index, op in enumerate(graph.ops):
        for name in (*op.reads(), *op.writes()):
            first, _ = result.get(name, (index, index))
            result[name] = (first, index)
    return result
