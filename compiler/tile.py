"""Token chunks: operations whose buffers do not fit for all tokens are repeated over parts of them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from moesaic.compiler.alloc import place
from moesaic.compiler.ir import CompileError, Graph, Op, Ref, Space, Tensor, live_ranges
from moesaic.compiler.layers.room import chunk_sizes
from moesaic.compiler.layers.rooms import room_of_stage
from moesaic.compiler.order import order_stage
from moesaic.compiler.verify import verify
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode

__all__ = ["tile"]

_LOCAL = (Space.ACTIVATION, Space.STATE)


def _chunks(tokens: int, size: int) -> list[tuple[int, int]]:
    """(first token, tokens) of each chunk."""
    return [(first, min(size, tokens - first)) for first in range(0, tokens, size)]


class _Chunk:
    """Part `number` of the tokens: renames and narrows what is local to the stage, but for the buffers in `kept`."""

    def __init__(
        self, tensors: dict[str, Tensor], kept: set[str], number: int, first: int, count: int, *, only: bool
    ) -> None:
        self.kept, self.tensors, self.number, self.first, self.count = kept, tensors, number, first, count
        self.suffix = "" if only else f"[{number}]"
        self.made: dict[str, Tensor] = {}

    def name(self, name: str) -> str:
        tensor = self.tensors[name]
        if tensor.space not in _LOCAL or name in self.kept:
            return name
        first, tokens = (0, self.count) if tensor.queued else self.part(tensor.first_token, tensor.tokens)
        self.made[name + self.suffix] = replace(tensor, name=name + self.suffix, tokens=tokens, first_token=first)
        return name + self.suffix

    def part(self, first: int, tokens: int) -> tuple[int, int]:
        """First, and number, of the `tokens` tokens from `first` on that belong to the chunk."""
        low, high = max(first, self.first), min(first + tokens, self.first + self.count)
        return low, high - low

    def ref(self, ref: Ref | None) -> Ref | None:
        return None if ref is None else Ref(self.name(ref.tensor), ref.word)

    def op(self, op: Op, *, overlap: bool, config: AcceleratorConfig) -> Op:
        token, tokens = self.part(op.token, op.tokens)
        macs = op.macs if op.expert is not None else op.macs * tokens // op.tokens
        part = replace(
            op,
            name=op.name + self.suffix,
            token=token,
            tokens=tokens,
            chunk=self.number,
            overlap=overlap,
            macs=macs,
            source=self.ref(op.source),
            target=self.ref(op.target),
            tap=self.ref(op.tap),
            state=None if op.state is None else self.name(op.state),
        )
        if op.opcode is Opcode.COPY and op.target is not None:
            # Chunk boundaries are multiples of load_rows, so that each chunk starts a stream word.
            words = self.tensors[op.target.tensor].words
            part = replace(
                part,
                weight_offset=(token - op.token) * words // config.load_rows,
                weight_words=-(-tokens * words // config.load_rows),
            )
        return part


def _split(
    ops: list[Op], tensors: dict[str, Tensor], size: int, overlap: bool, config: AcceleratorConfig
) -> tuple[list[Op], dict[str, Tensor]]:
    """A stage's operations over chunks of `size` tokens, and the buffers they use."""
    tokens = max(op.tokens for op in ops)
    spans = _chunks(tokens, size)
    result = [op for op in ops if op.whole]
    kept = {name for op in result for name in (*op.reads(), *op.writes())}
    made: dict[str, Tensor] = {}
    for number, (first, count) in enumerate(spans):
        chunk = _Chunk(tensors, kept, number, first, count, only=len(spans) == 1)
        result += [
            chunk.op(op, overlap=overlap, config=config)
            for op in ops
            if not op.whole and chunk.part(op.token, op.tokens)[1] > 0
        ]
        made |= chunk.made
    named = {name for op in result for name in (*op.reads(), *op.writes())} - made.keys()
    return order_stage(result), {name: tensors[name] for name in tensors if name in named} | made


def _candidates(stage: str, tokens: int, config: AcceleratorConfig, group: int | None) -> Iterator[tuple[int, bool]]:
    """Chunk sizes and whether to overlap neighbours, best first."""
    room = room_of_stage(stage)
    if room is None:
        yield from ((size, overlap) for size in chunk_sizes(tokens, config) for overlap in (True, False))
    elif group is not None and room.groupable:
        yield from ((min(group, tokens), True), (min(group, tokens), False))
    else:
        yield from room.chunks(tokens, config)


def _tile_stage(
    graph: Graph, ops: list[Op], config: AcceleratorConfig, group: int | None
) -> tuple[list[Op], dict[str, Tensor]]:
    tensors = dict(graph.tensors)
    problem: CompileError | None = None
    tokens = max(op.tokens for op in ops)
    # What all tokens write at once, and chunks read, cannot be cut.
    undivided = any(op.whole and any(tensors[name].space in _LOCAL for name in op.writes()) for op in ops)
    sizes = list(_candidates(ops[0].stage, tokens, config, group))
    room = room_of_stage(ops[0].stage)
    once = None if room is None or undivided else room.once(ops)
    tries = [(ops, *size) for size in sizes if size[0] >= tokens]
    if once is not None:  # shorter chunks would wait for their stationary blocks
        tries += [(once, *size) for size in sizes if config.lanes <= size[0] < tokens]
    tries += [(ops, *size) for size in sizes if size[0] < tokens]
    for mine, size, overlap in tries:
        if size < tokens and undivided:
            raise CompileError(
                f"op '{ops[-1].name}': a LayerNorm pass of its own needs buffers for all tokens at once: {problem}"
            )
        split, made = _split(mine, tensors, size, overlap, config)
        local = {name: tensor for name, tensor in made.items() if tensor.space in _LOCAL}
        try:
            _fit(graph.task, split, local, config)
        except CompileError as error:
            problem = error
        else:
            return split, made
    raise CompileError(f"op '{ops[-1].name}': no chunk of tokens is small enough: {problem}")


def _fit(task: str, ops: list[Op], local: dict[str, Tensor], config: AcceleratorConfig) -> None:
    """Allocate the local buffers of a stage by themselves: nothing else lives in their memories meanwhile."""

    def keep(ref: Ref | None) -> Ref | None:
        return ref if ref is not None and ref.tensor in local else None

    trial = Graph(
        task,
        local,
        tuple(replace(op, source=keep(op.source), target=keep(op.target), tap=keep(op.tap), kv=None) for op in ops),
    )
    place(local, live_ranges(trial), config)


def tile(graph: Graph, config: AcceleratorConfig, *, token_group: int | None = None) -> Graph:
    """Split stages over as few token chunks as their buffers need; keys and values stay whole.

    `token_group` sets the size of the chunks of mixtures (see :class:`CompileOptions`).
    """
    ops: list[Op] = []
    tensors: dict[str, Tensor] = {}
    for (_, stage, _), group in groupby(graph.ops, key=lambda op: (op.block, op.stage, op.layer)):
        members = list(group)
        if stage == "result":
            ops += members
            tensors |= {name: graph.tensors[name] for op in members for name in op.reads()}
            continue
        split, made = _tile_stage(graph, members, config, token_group)
        ops += split
        tensors |= made
    return verify(Graph(graph.task, tensors, tuple(ops)))
